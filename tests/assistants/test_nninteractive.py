"""An nnInteractive server, there, gone, full, of another kind, or behind a key."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest

pytest.importorskip("nnInteractive.inference.remote")

from assistants.nninteractive_server import Server, serving
from napari_semiseg.assistants.prompts import Prompt
from napari_semiseg.assistants.propose import propose
from napari_semiseg.assistants.shipped import nninteractive
from napari_semiseg.assistants.shipped.nninteractive import KEY, URL
from napari_semiseg.errors import ConfigError

SPACING = (2.0, 1.0, 1.0)


def picture() -> np.ndarray:
    z, y, x = np.indices((20, 40, 40))
    ball = (2 * (z - 10)) ** 2 + (y - 18) ** 2 + (x - 22) ** 2 < 11**2
    noise = np.random.default_rng(0).normal(0, 2, ball.shape)
    return (100 * ball + noise).astype(np.float32)


def ask(*prompts: Prompt, image: np.ndarray | None = None) -> np.ndarray:
    image = picture() if image is None else image
    return propose(image, SPACING, prompts, assistant="nninteractive")


POINT = Prompt("point", np.array([[10, 18, 22]]))


def test_every_kind_of_mark_is_sent_and_the_last_one_answered(monkeypatch) -> None:
    truth = picture() > 50
    line = np.array([[10, 18, x] for x in range(16, 28)])
    off = np.array([[10, y, 30] for y in range(12, 24)])
    box = Prompt("box", np.array([[4, 8, 12], [16, 28, 32]]))
    marks = (POINT, Prompt("scribble", line), Prompt("scribble", off, False), box)
    with serving(Server(key="secret")) as server:
        monkeypatch.setenv(URL, server.url)
        monkeypatch.setenv(KEY, "secret")
        mask = ask(*marks)
    both = (mask & truth).sum()
    assert 2 * both / (mask.sum() + truth.sum()) > 0.9
    assert not mask[tuple(off.T)].any()
    asked = [(path, meta) for path, meta in server.asked if path.startswith("/add")]
    assert [path.split("_")[1] for path, _ in asked] == [
        "point", "scribble", "scribble", "bbox"
    ]  # fmt: skip
    assert [meta["run_prediction"] for _, meta in asked] == [False, False, False, True]
    assert [meta["include_interaction"] for _, meta in asked] == [
        True, True, False, True
    ]  # fmt: skip
    assert asked[3][1]["bbox_coords"] == [[10, 11], [8, 29], [12, 33]]
    assert server.asked[-1][0] == "/release"


def test_a_large_scan_is_cut_and_made_coarser(monkeypatch) -> None:
    monkeypatch.setattr(nninteractive, "MOST_VOXELS", 40_000)
    monkeypatch.setattr(nninteractive, "AROUND_MM", 16.0)
    with serving(Server()) as server:
        monkeypatch.setenv(URL, server.url)
        mask = ask(POINT)
    assert server.image.size <= 40_000
    assert server.image.shape[1:] != (20, 40, 40)
    truth = picture() > 50
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.85


class Strange(BaseHTTPRequestHandler):
    """Some other server."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("unset", f"expected the address of a server, found none; set {URL}"),
        ("dead", r"expected a server at http://127.0.0.1:\d+, found none that answers"),
        ("key", f"expected the key of .*, found another or none; set {KEY}"),
        ("full", "expected a free session of .*server is at capacity"),
        ("strange", f"expected an nnInteractive server at .* correct {URL}"),
        ("no url", "expected a server at nowhere, found none that answers"),
        ("client", r"pip install 'napari-semiseg\[nninteractive\]'"),
    ],
)
def test_what_does_not_answer_is_one_line(monkeypatch, kind, words) -> None:
    monkeypatch.delenv(URL, raising=False)
    monkeypatch.delenv(KEY, raising=False)
    server = Server(key="secret" if kind == "key" else "", sessions=int(kind != "full"))
    strange = HTTPServer(("127.0.0.1", 0), Strange)
    Thread(target=strange.serve_forever, daemon=True).start()
    where = {
        "unset": "",
        "no url": "nowhere",
        "strange": f"http://127.0.0.1:{strange.server_port}",
    }
    monkeypatch.setenv(URL, where.get(kind, server.url))
    if kind == "client":
        monkeypatch.setitem(sys.modules, "nnInteractive.inference.remote", None)
    if kind == "dead":
        server.server_close()
    there = nullcontext() if kind == "dead" else serving(server)
    with there, pytest.raises(ConfigError, match=words) as caught:
        ask(POINT)
    assert "\n" not in str(caught.value)
    strange.shutdown()
    strange.server_close()


def test_its_client_is_loaded_without_torch() -> None:
    code = (
        "import sys\n"
        "from napari_semiseg.assistants.shipped.nninteractive import _client\n"
        "_client()\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'torch'])\n"
        "import importlib.util\n"
        "print(importlib.util.find_spec('torch') is not None)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.split("\n")[0] == "[]"
