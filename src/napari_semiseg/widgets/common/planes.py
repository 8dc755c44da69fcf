"""Show axial, coronal and sagittal planes the way radiologists look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.widgets.common.compat import camera_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.widgets.elements.connections import Connections

NAMES = ("Axial", "Coronal", "Sagittal")
ORDERS = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
"""Axis order of the viewer per plane: the first axis is sliced."""

LPS = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])
"""Growing directions of the axes (z, y, x) as (left, posterior, superior)."""


def show(viewer: Any, axis: int, index: int, geometry: Geometry) -> None:
    """Show a slice of a case across ``axis`` (0 axial, 1 coronal, 2 sagittal)."""
    viewer.dims.set_point(axis, index * geometry.spacing_mm[axis])
    set_plane(viewer, axis)  # last, so that no other slice of it is ever shown


def set_plane(viewer: Any, axis: int) -> None:
    """Show the plane across ``axis``, fitted into the canvas when it is another."""
    if tuple(viewer.dims.order) != ORDERS[axis]:
        viewer.dims.order = ORDERS[axis]
        viewer.reset_view()


def next_plane(viewer: Any) -> None:
    """Go from axial to coronal to sagittal and round again."""
    set_plane(viewer, (viewer.dims.order[0] + 1) % 3)


def orientation_of(order: Sequence[int]) -> tuple[str, str, str]:
    """Directions (depth, vertical, horizontal) in which the displayed axes grow.

    Superior is up, anterior is up or at the left, and patient left is at the right.
    The depth is chosen so that the 3D view is no mirror image.
    """
    depth, vertical, horizontal = order
    up = vertical == 0
    above = LPS[vertical] if up else -LPS[vertical]
    towards = np.cross(LPS[horizontal], above)
    near = int(towards @ LPS[depth]) > 0
    return "towards" if near else "away", "up" if up else "down", "right"


class Orientation:
    """Keeps the camera of a viewer to these directions, whichever plane it shows."""

    def __init__(self, viewer: Any, connections: Connections) -> None:
        self._viewer = viewer
        self._before = camera_of(viewer).orientation
        connections.at_close(self._restore)
        connections.add(self.apply, viewer.dims.events.order, viewer.dims.events.ndim)

    def apply(self, event: Any = None) -> None:
        """Turn the camera for the axes that are displayed now."""
        order = tuple(self._viewer.dims.order)
        if len(order) == 3:
            camera_of(self._viewer).orientation = orientation_of(order)

    def _restore(self) -> None:
        camera_of(self._viewer).orientation = self._before
