"""Draw outlines of what a tool would make of the mask on the slice shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.core.boxes import others
from napari_semiseg.widgets.canvas.overlays import Line, lines_around

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.assistants.prompts import Prompt
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.canvas.overlays import CanvasNotes, LegendEntry
    from napari_semiseg.widgets.elements.connections import Connections


COLOURS = {True: "#56B4E9", False: "#E8601C"}
"""Of marks on a structure, and off it."""


class Preview:
    """Draws outlines over the canvases, without a layer that would become active.

    Parameters
    ----------
    view : CaseView
        The case that is open.
    connections : Connections
        Of the widget that shows the preview.
    """

    def __init__(self, view: CaseView, connections: Connections) -> None:
        self._view = view
        self._slices: Callable[[int, int], NDArray[np.uint8]] | None = None
        self._marks: Sequence[Prompt] = ()
        self.lines: list[Line] = []
        dims = view.viewer.dims.events
        connections.add(self._draw, dims.point, dims.order, dims.ndisplay)

    def show_slices(self, slices: Callable[[int, int], NDArray[np.uint8]]) -> None:
        """Outline the classes of any slice, given by axis and index."""
        self._slices = slices
        self._draw()

    def show_marks(
        self, marks: Sequence[Prompt], legend: Sequence[LegendEntry]
    ) -> None:
        """Draw what is marked in the slice that is shown, with its sign."""
        self._marks = marks
        if (notes := self._view.canvases.main_notes) is not None:
            notes.set_legend(legend)
        self._draw()

    def clear(self) -> None:
        """Show no outlines."""
        if self._slices is not None:
            self._slices = None
            self._draw()

    def _draw(self, event: Any = None) -> None:
        view = self._view
        if self._slices is None and not self._marks and not self.lines:
            return
        self.lines = []
        flat = view.viewer.dims.ndisplay == 2 and view.viewer.dims.ndim == 3
        project, case = view.session.project, view.case
        if flat and project and case is not None:
            axis = int(view.viewer.dims.order[0])
            last = case.geometry.shape_zyx[axis] - 1
            index = int(np.clip(view.slice_index, 0, last))
            spacing = np.asarray(case.geometry.spacing_mm)
            if self._slices is not None:
                plane = self._slices(axis, index)
                for item in project.labels:
                    inside = plane == item.value
                    self.lines += lines_around(
                        inside, axis, index, case.geometry.spacing_mm, item.colour
                    )
            for mark in self._marks:
                if len(seen := seen_in(mark, axis, index)):
                    sign = "+" if mark.foreground else "\u2212"
                    colour = COLOURS[mark.foreground]
                    self.lines.append(Line(colour, seen * spacing, sign))
        for notes in self._notes():
            notes.set_outlines("preview", self.lines)

    def _notes(self) -> list[CanvasNotes]:
        canvases = self._view.canvases
        notes = [canvases.main_notes]
        if canvases.views is not None:
            notes.append(canvases.views.distance.notes)
        return [one for one in notes if one is not None]


def seen_in(mark: Prompt, axis: int, index: int) -> NDArray[np.float64]:
    """Places (N, 3) of a line that shows a mark in a slice, voxels; none elsewhere."""
    voxels = mark.voxels.astype(float)
    if mark.kind != "box" or not len(voxels):
        here: NDArray[np.float64] = voxels[mark.voxels[:, axis] == index]
        return here
    low, high = voxels.min(axis=0), voxels.max(axis=0)
    if not low[axis] <= index <= high[axis]:
        return voxels[:0]
    first, second = others(axis)
    line = np.tile(low, (5, 1))
    line[[1, 2], second], line[[2, 3], first] = high[second], high[first]
    return line
