from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_semiseg.widgets.canvas.case_view import CaseView
from napari_semiseg.widgets.canvas.prediction_views import zero_contour
from napari_semiseg.widgets.common import planes
from napari_semiseg.widgets.common.compat import camera_of
from napari_semiseg.widgets.common.connections import Connections
from widgets.viewing import Answers, store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session


@pytest.fixture
def view(
    make_napari_viewer: Callable[..., Any], session: Session, qtbot: QtBot
) -> Iterator[CaseView]:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 800)
    made = CaseView(session, viewer, Answers())
    yield made
    Connections.close_below(made)
    qtbot.wait(50)


@pytest.fixture
def shown(view: CaseView, project: Project, qtbot: QtBot) -> CaseView:
    store_prediction(project, "case_0")
    assert view.open("case_0")
    qtbot.waitUntil(lambda: not view.canvases._settle.isActive(), timeout=5000)
    qtbot.wait(200)
    return view


def picture(view: Any) -> np.ndarray:
    return np.asarray(view.screenshot(flash=False))[..., :3].astype(float)


def main_picture(view: CaseView) -> np.ndarray:
    shot = view.viewer.screenshot(canvas_only=True, flash=False)
    return np.asarray(shot)[..., :3].astype(float)


def centre_of(found: np.ndarray) -> tuple[float, float]:
    """Centre (row, column) of the pixels, in parts of the picture."""
    rows, columns = np.nonzero(found)
    assert len(rows) > 10
    return rows.mean() / found.shape[0], columns.mean() / found.shape[1]


def orange(shot: np.ndarray) -> np.ndarray:
    """Pixels of the first class: much more red than blue."""
    return (shot[..., 0] - shot[..., 2] > 60) & (shot[..., 1] - shot[..., 2] > 25)


def test_no_side_canvas_without_a_prediction(view: CaseView) -> None:
    view.open("case_0")
    assert not view.canvases.shown


def test_three_canvases_of_equal_width(shown: CaseView, qtbot: QtBot) -> None:
    canvases = shown.canvases
    assert canvases.shown
    sides = (canvases.views.distance, canvases.views.uncertainty)
    main = canvases.main_notes.width()
    for side in sides:
        assert not side.view.dims.isVisible()
        assert side.notes.width() == pytest.approx(main, rel=0.06)


def test_same_slice_plane_zoom_and_centre_both_ways(shown: CaseView) -> None:
    main = shown.viewer
    left = shown.canvases.views.distance.model
    right = shown.canvases.views.uncertainty.model
    main.dims.set_point(0, 8.0)
    assert left.dims.point[0] == right.dims.point[0] == 8.0
    left.dims.set_point(0, 4.0)
    assert main.dims.point[0] == right.dims.point[0] == 4.0
    planes.set_plane(main, 1)
    assert tuple(left.dims.order) == tuple(right.dims.order) == (1, 0, 2)
    assert camera_of(left).orientation == camera_of(main).orientation
    camera_of(right).zoom = 7.5
    camera_of(right).center = (0, 5, 6)
    for model in (main, left):
        assert camera_of(model).zoom == 7.5
        assert camera_of(model).center[-2:] == (5, 6)


def test_link_neither_loops_nor_drifts(shown: CaseView) -> None:
    changes: list[float] = []
    camera = camera_of(shown.viewer)
    camera.events.zoom.connect(lambda event: changes.append(camera.zoom))
    camera.zoom = 3.25
    assert changes == [3.25]
    camera_of(shown.canvases.views.distance.model).zoom = 4.5
    assert changes == [3.25, 4.5]


def test_3d_in_the_main_canvas_leaves_the_others_alone(shown: CaseView) -> None:
    side = shown.canvases.views.distance.model
    zoom = camera_of(side).zoom
    shown.viewer.dims.ndisplay = 3
    camera_of(shown.viewer).zoom = zoom * 3
    assert side.dims.ndisplay == 2
    assert camera_of(side).zoom == zoom
    shown.viewer.dims.ndisplay = 2


def test_contrast_is_followed(shown: CaseView) -> None:
    shown.image.contrast_limits = (90, 130)
    views = shown.canvases.views
    assert tuple(views.distance.image.contrast_limits) == (90, 130)
    assert tuple(views.uncertainty.image.contrast_limits) == (90, 130)


def test_contour_is_drawn_in_the_colour_of_the_class(shown: CaseView) -> None:
    side = shown.canvases.views.distance
    shown.go_to(0, 5)
    with_contour = picture(side.view)
    assert orange(with_contour).sum() > 40
    shown.go_to(0, 9)
    assert orange(picture(side.view)).sum() < 10


def test_contour_lies_around_the_mask(shown: CaseView) -> None:
    shown.go_to(0, 5)
    views = shown.canvases.views
    vectors = views._contour.data
    ends = vectors[:, 0, 1:]
    assert ends.min(axis=0) == pytest.approx([3.5, 3.5], abs=0.01)
    assert ends.max(axis=0) == pytest.approx([8.5, 7.5], abs=0.01)
    assert set(vectors[:, 0, 0] * views._contour.scale[0]) == {10.0}
    shown.go_to(2, 5)
    vectors = views._contour.data
    assert set(vectors[:, 0, 2]) == {5.0}
    top = (vectors[:, 0, 0] * views._contour.scale[0]).min()
    assert top == pytest.approx(5.0, abs=0.02)


def test_distance_is_blue_inside_and_red_outside(shown: CaseView) -> None:
    shown.go_to(0, 5)
    shown.image.contrast_limits = (0, 1000)
    side = shown.canvases.views.distance
    shot = picture(side.view)
    inside = side.notes.to_canvas((10.0, 6.0, 5.5))
    outside = side.notes.to_canvas((10.0, 1.0, 12.0))
    blue = shot[round(inside.y()), round(inside.x())]
    red = shot[round(outside.y()), round(outside.x())]
    assert blue[2] > blue[0] + 30
    assert red[0] > red[2] + 20


def test_uncertainty_is_seen_only_where_it_is(shown: CaseView) -> None:
    shown.go_to(0, 5)
    shown.image.contrast_limits = (0, 1e6)
    side = shown.canvases.views.uncertainty
    shot = picture(side.view)
    doubtful = side.notes.to_canvas((10.0, 6.0, 12.0))
    certain = side.notes.to_canvas((10.0, 6.0, 5.0))
    assert shot[round(doubtful.y()), round(doubtful.x())].sum() > 500
    assert shot[round(certain.y()), round(certain.x())].sum() < 60


def test_patient_left_is_at_the_right_and_anterior_at_the_top(
    view: CaseView, qtbot: QtBot
) -> None:
    view.open("case_0")
    view.mask.data[5, 0:3, 11:14] = 1
    view.mask.refresh()
    view.go_to(0, 5)
    qtbot.wait(100)
    row, column = centre_of(orange(main_picture(view)))
    assert column > 0.55
    assert row < 0.45


@pytest.mark.parametrize("axis", [1, 2])
def test_superior_is_at_the_top(view: CaseView, qtbot: QtBot, axis: int) -> None:
    view.open("case_0")
    view.mask.data[8:10, :3, 11:14] = 1
    view.mask.refresh()
    view.go_to(axis, 1 if axis == 1 else 12)
    qtbot.wait(100)
    row, column = centre_of(orange(main_picture(view)))
    assert row < 0.45
    assert column > 0.55 if axis == 1 else column < 0.45


def test_cursor_of_one_canvas_is_marked_on_the_others(shown: CaseView) -> None:
    views = shown.canvases.views
    shown.viewer.cursor.position = (10.0, 0.0, 0.0)  # as when a case is opened
    assert views.distance.notes._cursor is None
    shown.viewer.mouse_over_canvas = True
    shown.viewer.cursor.position = (10.0, 6.0, 5.0)
    assert views.distance.notes._cursor == (10.0, 6.0, 5.0)
    assert views.uncertainty.notes._cursor == (10.0, 6.0, 5.0)
    assert shown.canvases.main_notes._cursor is None
    views.uncertainty.model.mouse_over_canvas = True
    views.uncertainty.model.cursor.position = (10.0, 2.0, 3.0)
    assert shown.canvases.main_notes._cursor == (10.0, 2.0, 3.0)
    assert views.uncertainty.notes._cursor is None


def test_place_of_the_cursor_is_where_the_canvas_draws_it(
    shown: CaseView, qtbot: QtBot
) -> None:
    shown.mask.data[:] = 0
    shown.mask.data[5, 2, 11] = 1
    shown.mask.refresh()
    shown.go_to(0, 5)
    qtbot.wait(100)
    shot = main_picture(shown)
    row, column = centre_of(orange(shot))
    place = shown.canvases.main_notes.to_canvas((10.0, 2.0, 11.0))
    assert place.x() == pytest.approx(column * shot.shape[1], abs=3)
    assert place.y() == pytest.approx(row * shot.shape[0], abs=3)


def test_another_case_hides_and_shows_the_side_canvases(
    shown: CaseView, project: Project, qtbot: QtBot
) -> None:
    shown.open("case_1")
    assert not shown.canvases.shown
    shown.open("case_0")
    assert shown.canvases.shown
    assert shown.canvases.views.distance.overlay.data.shape == (10, 12, 14)


def test_a_case_without_a_prediction_has_the_slice_and_all_the_room(
    shown: CaseView, qtbot: QtBot
) -> None:
    narrow = camera_of(shown.viewer).zoom
    shown.open("case_1")
    qtbot.waitUntil(lambda: not shown.canvases._settle.isActive(), timeout=5000)
    assert shown.slice_index == 5  # the middle one of ten
    assert camera_of(shown.viewer).zoom > 1.5 * narrow


def test_side_canvases_come_back_after_the_dock_was_closed(
    shown: CaseView, qtbot: QtBot
) -> None:
    shown.canvases._dock.destroyOnClose()
    qtbot.waitUntil(lambda: shown.canvases._dock is None, timeout=3000)
    assert not shown.canvases.shown
    shown.open("case_0")
    assert shown.canvases.shown


def test_empty_slices_have_no_contour() -> None:
    assert zero_contour(np.ones((5, 5), np.float32)).shape == (0, 2, 2)
    assert zero_contour(-np.ones((5, 5), np.float32)).shape == (0, 2, 2)
    values = np.hypot(*np.mgrid[-8:9, -8:9]).astype(np.float32) - 5
    line = zero_contour(values)
    assert np.hypot(*(line[:, 0] - 8).T) == pytest.approx(5, abs=0.1)
    assert line[:, 1].sum(axis=0) == pytest.approx(0, abs=1e-6)


def test_scrolling_a_side_canvas_meets_every_slice(shown: CaseView) -> None:
    shown.go_to(0, 3)
    side = shown.canvases.views.distance.model
    side.dims.current_step = (
        side.dims.current_step[0] + 1,
        *side.dims.current_step[1:],
    )
    assert shown.viewer.dims.point[0] == 8.0
    assert shown.slice_index == 4


def test_maps_are_hidden_and_shown(shown: CaseView) -> None:
    shown.canvases.toggle()
    assert not shown.canvases.shown
    shown.canvases.toggle()
    assert shown.canvases.shown


def test_window_closed_over_an_open_prediction(
    make_napari_viewer: Callable[..., Any], session: Session, project: Project
) -> None:
    store_prediction(project, "case_0")
    viewer = make_napari_viewer(show=True)
    view = CaseView(session, viewer, Answers())
    assert view.open("case_0")
    viewer.close()
