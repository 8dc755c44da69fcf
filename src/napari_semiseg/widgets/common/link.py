"""Keep slice, plane, centre and field of view of several viewers the same."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.widgets.common.compat import camera_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from qtpy.QtWidgets import QWidget

    from napari_semiseg.widgets.elements.connections import Connections

SHARED_CAMERA = ("orientation", "center")
SHARED_DIMS = ("order", "point")


def watch_attention(
    viewer: Any, callback: Callable[..., object], connections: Connections
) -> None:
    """Call back when the user moves the mouse, the slice or the view."""
    camera = camera_of(viewer).events
    moved = (viewer.dims.events.point, viewer.cursor.events.position)
    connections.add(callback, *moved, camera.zoom, camera.center)


class ViewLink:
    """Keeps slice, plane, centre, orientation and field of view of viewers the same.

    A change in any of them is copied to the others; what that copying changes in
    turn is not copied back. Nothing is copied while a viewer shows 3D.

    Parameters
    ----------
    viewers : sequence of napari viewer models
        The first leads: whatever it shows can be seen in the others.
    canvases : sequence of QWidget
        Their canvases; the zooms are as their sizes.
    connections : Connections
        Ends the link.
    """

    def __init__(
        self,
        viewers: Sequence[Any],
        canvases: Sequence[QWidget],
        connections: Connections,
    ) -> None:
        self._viewers = list(viewers)
        self._canvases = list(canvases)
        self._copying = False
        for viewer in self._viewers:
            copy = partial(self._copy, viewer)
            connections.add(copy, *_shared_events(viewer))

    def copy_from(self, source: Any) -> None:
        """Bring every other viewer to what ``source`` shows."""
        if self._copying:
            return
        self._copying = True
        try:
            for viewer in self._viewers:
                if viewer is not source:
                    _copy_view(source, viewer, self._size(viewer) / self._size(source))
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

    def _size(self, viewer: Any) -> float:
        """Size of the canvas of a viewer, in canvases of the first."""
        own, first = self._canvases[self._viewers.index(viewer)], self._canvases[0]
        across = own.width() / max(first.width(), 1)
        return max(min(across, own.height() / max(first.height(), 1)), 0.01)

    def _copy(self, viewer: Any, event: Any = None) -> None:
        self.copy_from(viewer)


def _shared_events(viewer: Any) -> list[Any]:
    camera = camera_of(viewer)
    return [
        *(getattr(viewer.dims.events, name) for name in SHARED_DIMS),
        *(getattr(camera.events, name) for name in (*SHARED_CAMERA, "zoom")),
    ]


def _copy_view(source: Any, target: Any, zoom: float) -> None:
    if 3 in (source.dims.ndisplay, target.dims.ndisplay):
        return
    if source.dims.ndim != target.dims.ndim:
        return
    for name in SHARED_DIMS:
        assign(target.dims, name, getattr(source.dims, name))
    for name in SHARED_CAMERA:
        assign(camera_of(target), name, getattr(camera_of(source), name))
    assign(camera_of(target), "zoom", camera_of(source).zoom * zoom)


def assign(model: Any, name: str, value: Any) -> None:
    """Set a field of a viewer or layer that has another value: napari draws anew."""
    if not np.array_equal(getattr(model, name), value):
        setattr(model, name, value)
