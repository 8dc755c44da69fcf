"""Show the mask in three dimensions, in the main canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Surface
from qtpy.QtCore import QObject

from napari_semiseg.imaging.mesh import surface_mesh
from napari_semiseg.widgets.common import planes
from napari_semiseg.widgets.common.background import in_background
from napari_semiseg.widgets.common.compat import camera_of
from napari_semiseg.widgets.elements.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.widgets.canvas.case_layers import CaseLayers
    from napari_semiseg.widgets.canvas.case_model import CaseModel
    from napari_semiseg.widgets.common.session import Session

    Mesh = tuple[NDArray[np.float64], NDArray[np.int32]]

FINE_VOXELS = 8_000_000
"""Boxes with more voxels than that are drawn from every second one."""
FROM_THE_FRONT = 1
CAMERA = ("center", "zoom", "angles")


@dataclass(frozen=True, slots=True)
class Before:
    """What the canvas showed, to come back to."""

    order: tuple[int, ...]
    point: tuple[float, ...]
    camera: dict[str, Any]
    visible: dict[Any, bool]
    mode: str


class SurfaceView(QObject):
    """Shows each structure as a surface, and goes back to the very same slice.

    The surfaces lie in the coordinates of the slices, in mm, and are layers that go
    when the slices come back. What is painted is not touched.
    """

    def __init__(
        self,
        session: Session,
        viewer: Any,
        model: CaseModel,
        layers: CaseLayers,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._viewer = viewer
        self._model = model
        self._layers = layers
        self._before: Before | None = None
        self._asked = 0
        self.surfaces: list[Surface] = []
        connections = Connections(self)
        connections.at_close(self.leave)
        connections.add(self.leave, model.shown)
        connections.add(self._renew, model.counted)
        connections.add(self._turned, viewer.dims.events.ndisplay)

    @property
    def shown(self) -> bool:
        """Whether the canvas shows surfaces."""
        return bool(self.surfaces)

    def toggle(self) -> None:
        """Show the mask in three dimensions, or go back to the slices."""
        if self.shown:
            self.leave()
        else:
            self._ask()

    def leave(self, _: object = None) -> None:
        """Go back to the slice that was shown before."""
        self._asked += 1
        surfaces, self.surfaces = self.surfaces, []
        before, self._before = self._before, None
        for surface in surfaces:
            if surface in self._viewer.layers:
                self._viewer.layers.remove(surface)
        self._layers.shown_again = None
        if before is not None:
            self._restore(before)

    def _ask(self) -> None:
        current = self._model.current
        if current is None:
            self._session.say("Open a case first.")
            return
        self._asked += 1
        asked, spacing = self._asked, current.case.geometry.spacing_mm
        classes, values = current.editing.whole(), current.project.labels.values
        in_background(
            self._session,
            "Surface of the mask",
            lambda: meshes(classes, values, spacing),
            lambda made: self._show(made) if asked == self._asked else None,
            quiet=True,
        )

    def _show(self, made: Mapping[int, Mesh]) -> None:
        current, viewer = self._model.current, self._viewer
        if current is None or not made:
            self._session.say("Nothing to show in three dimensions: the mask is empty.")
            self.leave()
            return
        old = self.surfaces
        layers = [
            _surface(made[item.value], item.name, item.colour)
            for item in current.project.labels
            if item.value in made
        ]
        if self._before is None:
            self._before = self._noted()
            mask = self._layers.mask
            self._layers.shown_again = mask is None or bool(mask.visible)
            for layer in self._before.visible:
                layer.visible = False
        active = viewer.layers.selection.active
        for layer in layers:
            viewer.add_layer(layer)
        self.surfaces = layers
        for layer in old:
            viewer.layers.remove(layer)
        viewer.layers.selection.active = active
        if viewer.dims.ndisplay != 3:
            # In this order the canvases beside, which stay 2D, do not turn as well.
            viewer.dims.ndisplay = 3
            viewer.dims.order = planes.ORDERS[FROM_THE_FRONT]
            viewer.reset_view()
            self._session.say(
                "Drag to turn, scroll to zoom; press 3D again for the slices."
            )

    def _noted(self) -> Before:
        viewer, mask = self._viewer, self._layers.mask
        camera = camera_of(viewer)
        return Before(
            order=tuple(viewer.dims.order),
            point=tuple(viewer.dims.point),
            camera={name: getattr(camera, name) for name in CAMERA},
            visible={layer: layer.visible for layer in viewer.layers},
            mode="pan_zoom" if mask is None else str(mask.mode),
        )

    def _restore(self, before: Before) -> None:
        viewer, mask = self._viewer, self._layers.mask
        viewer.dims.order = before.order
        viewer.dims.ndisplay = 2
        viewer.dims.point = before.point
        camera = camera_of(viewer)
        for name, value in before.camera.items():
            setattr(camera, name, value)
        for layer, visible in before.visible.items():
            if layer in viewer.layers:
                layer.visible = visible
        if mask is not None:
            mask.mode = before.mode

    def _renew(self, _: object = None) -> None:
        """Draw the surfaces anew after an undo or a tool."""
        if self.shown:
            self._ask()

    def _turned(self, event: Any = None) -> None:
        """The user has left 3D by napari's own button."""
        if self.shown and self._viewer.dims.ndisplay == 2:
            self.leave()


def meshes(
    classes: NDArray[np.uint8], values: Sequence[int], spacing_mm: Sequence[float]
) -> dict[int, Mesh]:
    """Surface of each class that there is, corners (z, y, x) in mm.

    Parameters
    ----------
    classes : ndarray (Z, Y, X), uint8
        The mask.
    values : sequence of int
        Classes to look for.
    spacing_mm : (z, y, x)
        Voxel size.
    """
    found = {}
    step = 1 if classes.size <= FINE_VOXELS else 2
    for value in values:
        inside = classes == value
        if inside.any():
            corners, faces = surface_mesh(inside, step)
            found[value] = (corners * np.asarray(spacing_mm), faces)
    return found


def _surface(mesh: Mesh, name: str, colour: str) -> Surface:
    corners, faces = mesh
    return Surface(
        (corners, faces),
        name=f"{name} (3D)",
        colormap=[colour, colour],
        shading="smooth",
        units=("mm", "mm", "mm"),
    )
