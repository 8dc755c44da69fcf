"""A small server that speaks the protocol of nnInteractive, without a network.

It answers with what is connected to the marks on the structure and has their grey
value, without what is connected to those on background.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
from nnInteractive.inference.remote import _protocol as paths
from nnInteractive.inference.remote.serialization import pack_array, unpack_array
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPABILITIES = {
    "supported_interactions": {"points": True, "bbox2d": True, "scribble": True},
    "channel_mapping": {"points": [3, 4], "bbox2d": [1, 2], "scribble": [5, 6]},
    "num_interaction_channels": 7,
    "supports_initial_label": True,
    "supports_zero_shot_label_refinement": False,
    "preferred_scribble_thickness": [2, 2, 2],
    "interaction_decay": 0.98,
    "inference_session_version": 2,
}


class Server(ThreadingHTTPServer):
    """Serves one session at a time, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self, key: str = "", sessions: int = 1) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.key, self.sessions = key, sessions
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.image = np.zeros((1, 1, 1, 1), np.float32)
        self.marks: dict[bool, np.ndarray] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def mask(self) -> np.ndarray:
        """What is like the marks on the structure, and connected to them."""
        image = self.image[0]
        inside, outside = self.marks[True], self.marks[False]
        grey = image[inside]
        like = np.abs(image - np.median(grey)) < 3 * (grey.std() + 5)
        region = ndimage.binary_propagation(inside, mask=like | inside)
        return (region & ~outside).astype(np.uint8)


class Handler(BaseHTTPRequestHandler):
    """Answers as nnInteractive's server does."""

    server: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer_json(CAPABILITIES)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server, path = self.server, self.path
        binary = self.headers.get("Content-Type") == paths.CONTENT_TYPE_OCTET_STREAM
        text = self.headers.get(paths.META_HEADER) if binary else body.decode()
        asked = json.loads(text or "{}")
        server.asked.append((path, asked))
        if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
            self._answer_json({"detail": "Invalid bearer token"}, 401)
        elif path == paths.PATH_CLAIM and not server.sessions:
            self._answer_json({"detail": "server is at capacity (1 sessions)"}, 503)
        elif path == paths.PATH_CLAIM:
            self._answer_json({"lease_token": "a", "liveness_timeout_seconds": 60})
        elif path == paths.PATH_SET_IMAGE:
            server.image = unpack_array(body)
            shape = server.image.shape
            server.marks = {sign: np.zeros(shape[1:], bool) for sign in (True, False)}
            self._answer_json({"original_image_shape": shape})
        elif path.startswith("/add_"):
            self._mark(path, asked, body)
            self._answer_mask(ran=asked["run_prediction"])
        else:
            self._answer_json({})

    def _mark(self, path: str, asked: dict[str, Any], body: bytes) -> None:
        side = self.server.marks[asked["include_interaction"]]
        if path == paths.PATH_ADD_POINT:
            side[tuple(asked["coordinates"])] = True
        elif path == paths.PATH_ADD_BBOX:
            low, high = np.array(asked["bbox_coords"]).T
            assert (high - low).min() == 1
            side[tuple((low + high) // 2)] = True
        else:
            box = tuple(slice(*ends) for ends in asked["interaction_bbox"])
            side[box] |= unpack_array(body) > 0

    def _answer_mask(self, *, ran: bool) -> None:
        meta: dict[str, Any] = {"ran_prediction": ran}
        content = b""
        if ran:
            mask = self.server.mask()
            meta["bbox"] = [[0, size] for size in mask.shape]
            content = pack_array(mask)
        self._answer(content, paths.CONTENT_TYPE_OCTET_STREAM, json.dumps(meta))

    def _answer_json(self, value: Any, status: int = 200) -> None:
        self._answer(json.dumps(value).encode(), "application/json", "{}", status)

    def _answer(self, content: bytes, kind: str, meta: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header(paths.META_HEADER, meta)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Let it answer for the time of a block."""
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
