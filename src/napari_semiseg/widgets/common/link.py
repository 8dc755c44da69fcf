"""The same slice, plane, zoom and centre in several viewers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_semiseg.widgets.common.compat import camera_of
from napari_semiseg.widgets.common.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHARED_CAMERA = ("orientation", "center", "zoom")
SHARED_DIMS = ("order", "point")


def attention(viewer: Any, noticed: Any) -> Connections:
    """Call back when the user moves the mouse, the slice or the view."""
    made, camera = Connections(), camera_of(viewer)
    made.add(noticed, viewer.dims.events.point, viewer.cursor.events.position)
    made.add(noticed, camera.events.zoom, camera.events.center)
    return made


class ViewLink:
    """Keeps slice, plane, zoom, centre and orientation of viewers the same.

    A change in any of them is copied to the others; what that copying changes in
    turn is not copied back. Nothing is copied while a viewer shows 3D.
    """

    def __init__(self, viewers: Sequence[Any]) -> None:
        self._viewers = list(viewers)
        self._copying = False
        self._connected = Connections()
        for viewer in self._viewers:
            self._connected.add(self._follow(viewer), *_shared_events(viewer))

    def copy_from(self, source: Any) -> None:
        """Bring every other viewer to what ``source`` shows."""
        if self._copying:
            return
        self._copying = True
        try:
            for viewer in self._viewers:
                if viewer is not source:
                    _copy_view(source, viewer)
        finally:
            self._copying = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Copy nothing meanwhile: a viewer that gets other voxels goes elsewhere."""
        copying, self._copying = self._copying, True
        try:
            yield
        finally:
            self._copying = copying

    def close(self) -> None:
        """Stop following."""
        self._connected.close()
        self._viewers.clear()

    def _follow(self, viewer: Any) -> Any:
        return lambda event=None: self.copy_from(viewer)


def _shared_events(viewer: Any) -> list[Any]:
    camera = camera_of(viewer)
    return [
        *(getattr(viewer.dims.events, name) for name in SHARED_DIMS),
        *(getattr(camera.events, name) for name in SHARED_CAMERA),
    ]


def _copy_view(source: Any, target: Any) -> None:
    if 3 in (source.dims.ndisplay, target.dims.ndisplay):
        return
    if source.dims.ndim != target.dims.ndim:
        return
    for name in SHARED_DIMS:
        _assign(target.dims, name, getattr(source.dims, name))
    for name in SHARED_CAMERA:
        _assign(camera_of(target), name, getattr(camera_of(source), name))


def _assign(model: Any, name: str, value: Any) -> None:
    if getattr(model, name) != value:
        setattr(model, name, value)
