"""What is proposed is outlined in the slice in view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.widgets.canvas.case_view import CaseView
from napari_semiseg.widgets.elements.connections import Connections
from widgets.viewing import Answers, store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session


@pytest.fixture
def view(
    make_napari_viewer: Callable[[], Any],
    session: Session,
    project: Project,
) -> Iterator[CaseView]:
    store_prediction(project, "case_2")
    made = CaseView(session, make_napari_viewer(), Answers())
    assert made.open("case_2")
    yield made
    Connections.close_below(made)


def lines(view: CaseView) -> list[np.ndarray]:
    """Outlines on the main canvas, mm."""
    return [line.places for line in view.canvases.main_notes.outlines["proposals"]]


def occupied(view: CaseView) -> tuple[int, np.ndarray]:
    """An axial slice with a proposal, and the places (N, 2) of it."""
    values = np.asarray(view.mask.data)
    inside = (values != 0) & (values != UNANNOTATED)
    index = int(inside.sum(axis=(1, 2)).argmax())
    return index, np.argwhere(inside[index])


def test_a_proposal_is_outlined_in_each_slice_and_plane(view: CaseView) -> None:
    index, inside = occupied(view)
    view.go_to(0, index)
    (line,) = lines(view)
    spacing = view.case.geometry.spacing_mm
    assert (line[:, 0] == index * spacing[0]).all()
    for axis, size in enumerate(spacing[1:], 1):
        seen = inside[:, axis - 1]
        low, high = (seen.min() - 0.5) * size, (seen.max() + 0.5) * size
        assert (line[:, axis].min(), line[:, axis].max()) == (low, high)
    view.go_to(0, 0)
    assert not lines(view)
    view.go_to(2, int(inside[0, 1]))
    assert {round(x, 3) for x in lines(view)[0][:, 2]} == {inside[0, 1] * spacing[2]}


def test_what_is_painted_throughout_hidden_or_a_line_has_no_outline(
    view: CaseView, qtbot: QtBot
) -> None:
    index, _ = occupied(view)
    view.go_to(0, index)
    mask = view.mask
    mask.visible = False
    assert not lines(view)
    mask.visible = True
    mask.contour = 1
    assert not lines(view)
    mask.contour = 0
    assert lines(view)
    view.viewer.dims.ndisplay = 3
    assert not lines(view)
    view.viewer.dims.ndisplay = 2
    assert lines(view)
    view.editing.toggle_done(0, index)
    qtbot.waitUntil(lambda: not lines(view))
    view.clear()
    assert not lines(view)
