"""The sample of real scans, from an archive of the same layout on this machine."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread

import pytest

from fetch_scans import fetch

NAMES = (
    "Task04_Hippocampus/dataset.json",
    "Task04_Hippocampus/imagesTr/hippocampus_001.nii.gz",
    "Task04_Hippocampus/imagesTr/._hippocampus_001.nii.gz",
    "Task04_Hippocampus/imagesTr/hippocampus_003.nii.gz",
    "Task04_Hippocampus/labelsTr/hippocampus_001.nii.gz",
    "Task04_Hippocampus/imagesTs/hippocampus_002.nii.gz",
    "../labelsTr/hippocampus_004.nii.gz",
)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an archive, with an empty cache for downloads."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "server").mkdir()
    with tarfile.open(tmp_path / "server" / "scans.tar", "w") as packed:
        for name in NAMES:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            packed.addfile(member, BytesIO(name.encode()))
    handler = partial(Quiet, directory=str(tmp_path / "server"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/scans.tar"
        server.shutdown()


def md5_of(path: Path) -> str:
    return f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}"


def test_scans_and_masks_are_unpacked_and_nothing_else(
    served: str, tmp_path: Path
) -> None:
    known = md5_of(tmp_path / "server" / "scans.tar")
    target = tmp_path / "data" / "Hippocampus"
    assert fetch(target, served, known) == 1
    found = {
        path.relative_to(tmp_path / "data").as_posix()
        for path in (tmp_path / "data").rglob("*.gz")
    }
    assert found == {
        "Hippocampus/imagesTr/hippocampus_001.nii.gz",
        "Hippocampus/imagesTr/hippocampus_003.nii.gz",
        "Hippocampus/labelsTr/hippocampus_001.nii.gz",
        "Hippocampus/labelsTr/hippocampus_004.nii.gz",
    }
    image = target / "imagesTr" / "hippocampus_001.nii.gz"
    assert image.read_text() == NAMES[1]


def test_an_archive_that_was_changed_on_its_way_is_refused(
    served: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="hash of downloaded file"):
        fetch(tmp_path / "data", served, "md5:" + 32 * "0")
    assert not (tmp_path / "data").exists()
