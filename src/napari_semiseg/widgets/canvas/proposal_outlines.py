"""Draw around what is proposed in the slice in view, as it is filled only faintly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject

from napari_semiseg.widgets.canvas.overlays import lines_around
from napari_semiseg.widgets.elements.connections import Connections

if TYPE_CHECKING:
    from napari_semiseg.widgets.canvas.case_layers import CaseLayers
    from napari_semiseg.widgets.canvas.case_model import CaseModel
    from napari_semiseg.widgets.canvas.linked_canvases import LinkedCanvases
    from napari_semiseg.widgets.canvas.overlays import Line


class ProposalOutlines(QObject):
    """Keeps the outlines on the main canvas to the mask that is open.

    A class of which any voxel in the slice is proposed is outlined, with what is
    painted of it; a class that is painted throughout is not.
    """

    def __init__(
        self,
        viewer: Any,
        model: CaseModel,
        layers: CaseLayers,
        canvases: LinkedCanvases,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._model = viewer, model
        self._layers, self._canvases = layers, canvases
        self._mask = Connections(self)
        dims = viewer.dims.events
        moved = (dims.point, dims.order, dims.ndisplay)
        connections = Connections(self)
        connections.add(self._follow, model.shown)
        connections.add(self._draw, model.counted, *moved)

    def _follow(self) -> None:
        """Draw for another mask."""
        self._mask.close()
        if (mask := self._layers.mask) is not None:
            self._mask.add(self._draw, mask.events.visible, mask.events.contour)
        self._draw()

    def _draw(self, _: object = None) -> None:
        if (notes := self._canvases.main_notes) is not None:
            notes.set_outlines("proposals", self._lines())

    def _lines(self) -> list[Line]:
        mask, encoding = self._layers.mask, self._layers.encoding
        case, scheme = self._model.case, self._layers.scheme
        if mask is None or encoding is None or scheme is None or case is None:
            return []
        if not mask.visible or mask.contour or self._viewer.dims.ndisplay == 3:
            return []
        axis = int(self._viewer.dims.order[0])
        values = np.asarray(mask.data)
        spacing = case.geometry.spacing_mm
        index = round(float(self._viewer.dims.point[axis]) / spacing[axis])
        index = int(np.clip(index, 0, values.shape[axis] - 1))
        plane = np.moveaxis(values, axis, 0)[index]
        present = np.bincount(plane.ravel(), minlength=256)
        found = []
        for item in scheme:
            code = encoding.proposed[item.value]
            if present[code]:
                inside = (plane == item.value) | (plane == code)
                found += lines_around(inside, axis, index, spacing, item.colour)
        return found
