from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest
from qtpy.QtCore import QCoreApplication, QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QDockWidget

from napari_semiseg.widgets.canvas.case_layers import MASK_OPACITY
from napari_semiseg.widgets.canvas.case_view import CaseView
from napari_semiseg.widgets.canvas.left_column import DOCKS
from napari_semiseg.widgets.canvas.linked_canvases import LINE
from napari_semiseg.widgets.canvas.prediction_views import zero_contour
from napari_semiseg.widgets.canvas.slice_strip import SliceNumber
from napari_semiseg.widgets.common import planes
from napari_semiseg.widgets.common.compat import camera_of, scale_bar_of
from napari_semiseg.widgets.common.preferences import choose
from napari_semiseg.widgets.elements.connections import Connections
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
    viewer.window.resize(1600, 900)
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


def test_the_maps_have_a_column_and_the_image_the_rest(shown: CaseView) -> None:
    canvases = shown.canvases
    assert canvases.shown
    main = canvases.main_notes.width()
    assert main > 2 * canvases.views.width() > 600
    for side in canvases.views.sides:
        assert not side.view.dims.isVisible()
        assert side.notes.width() == pytest.approx(canvases.views.width(), abs=8)
        # The whole width of what the main canvas shows.
        zooms = camera_of(shown.viewer).zoom / camera_of(side.model).zoom
        assert main / side.notes.width() <= zooms + 0.01


def test_a_scale_bar_is_there_while_a_case_is_shown_unless_the_user_hides_it(
    shown: CaseView,
) -> None:
    bar = scale_bar_of(shown.viewer)
    assert bar.visible
    bar.visible = False
    assert shown.open("case_1")
    assert not bar.visible
    bar.visible = True
    Connections.close_below(shown)
    assert not bar.visible  # as before the first case


def test_same_slice_plane_view_and_centre_both_ways(shown: CaseView) -> None:
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
    before = camera_of(main).zoom
    camera_of(right).zoom *= 2
    camera_of(right).center = (0, 5, 6)
    assert camera_of(main).zoom == pytest.approx(2 * before)
    assert camera_of(left).zoom == pytest.approx(camera_of(right).zoom, rel=0.05)
    for model in (main, left):
        assert camera_of(model).center[-2:] == (5, 6)


def test_link_neither_loops_nor_drifts(shown: CaseView) -> None:
    changes: list[float] = []
    camera = camera_of(shown.viewer)
    camera.events.zoom.connect(lambda event: changes.append(camera.zoom))
    camera.zoom = 3.25
    assert changes == [3.25]
    camera_of(shown.canvases.views.distance.model).zoom *= 2
    assert changes == [3.25, pytest.approx(6.5)]


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
    shown.viewer.mouse_over_canvas = False
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
    narrow = shown.canvases.main_notes.width()
    shown.open("case_1")
    qtbot.waitUntil(lambda: shown.canvases.main_notes.width() > narrow + 300)
    assert shown.slice_index == 5  # the middle one of ten


def test_the_structure_that_is_painted_has_the_distance(
    shown: CaseView, project: Project
) -> None:
    """Two structures: the distance follows which of them is chosen."""
    from napari_semiseg.core.labels import LabelScheme

    image, prediction, _ = shown.canvases._shown
    sdm = np.concatenate([prediction.sdm_mm, prediction.sdm_mm + 3])
    both = replace(prediction, sdm_mm=sdm)
    scheme = LabelScheme.parse(["1=left atrium", "2=wall"])
    shown.canvases.show(image, both, scheme)
    overlay = shown.canvases.views.distance.overlay
    assert np.array_equal(overlay.data, sdm[0])
    with shown.mask.events.selected_label.blocker(shown.layers._keep_to_classes):
        shown.mask.selected_label = 2
    assert np.array_equal(overlay.data, sdm[1])
    shown.mask.selected_label = 0
    assert np.array_equal(overlay.data, sdm[1])


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


def test_maps_go_round_beside_over_and_off(shown: CaseView) -> None:
    canvases, layers = shown.canvases, list(shown.viewer.layers)
    for title in ("Uncertainty", "Signed distance"):
        canvases.toggle()
        assert not canvases.shown
        assert canvases.over
        (layer,) = [one for one in shown.viewer.layers if one not in layers]
        assert layer.name == title
        assert shown.viewer.layers.selection.active is shown.mask
        assert (shown.mask.contour, shown.mask.opacity) == LINE
    canvases.toggle()
    assert not canvases.shown
    assert list(shown.viewer.layers) == layers
    assert (shown.mask.contour, shown.mask.opacity) == (0, MASK_OPACITY)
    canvases.toggle()
    assert canvases.shown


def test_a_held_key_only_peeks(shown: CaseView) -> None:
    let_go = shown.canvases.toggle()
    assert shown.canvases.over
    let_go()
    assert shown.canvases.shown
    assert not shown.canvases.over
    assert not shown.mask.contour


def test_a_narrow_window_shows_the_maps_over_the_image_on_demand(
    shown: CaseView, project: Project, qtbot: QtBot
) -> None:
    canvases, window = shown.canvases, shown.canvases.window
    window.resize(1366, 768)
    qtbot.waitUntil(lambda: not canvases.shown)
    assert not canvases.over
    canvases.toggle()
    assert canvases.over
    assert canvases._overlay.legend.isVisible()
    for brief, values in (
        ("Distance", shown.prediction.sdm_mm[0]),
        ("Unsure", shown.prediction.uncertainty),
    ):
        button = canvases._overlay.legend.buttons[brief]
        assert not button.isChecked()
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(
            lambda values=values: np.array_equal(canvases._overlay.layer.data, values)
        )
    store_prediction(project, "case_1", shift=2)
    shown.open("case_1")
    assert canvases.over  # from case to case
    assert np.array_equal(canvases._overlay.layer.data, shown.prediction.uncertainty)
    shown.open("case_2")
    assert not canvases.over
    assert not shown.mask.contour
    shown.open("case_1")
    canvases.toggle()
    canvases.toggle()
    assert not canvases.over
    assert canvases._overlay.legend is None
    window.resize(1600, 900)
    canvases.toggle()
    qtbot.waitUntil(lambda: canvases.shown)


def test_the_column_of_layers_folds_and_comes_back(
    shown: CaseView, qtbot: QtBot
) -> None:
    window, column = shown.canvases.window, shown.canvases.column
    docks = [window.findChild(QDockWidget, name) for name in DOCKS]
    assert [dock.isHidden() for dock in docks] == [True, True]
    column.toggle()
    assert [dock.isHidden() for dock in docks] == [False, False]
    shown.open("case_1")
    assert [dock.isHidden() for dock in docks] == [False, False]
    column.toggle()
    assert [dock.isHidden() for dock in docks] == [True, True]
    shown.clear()
    assert [dock.isHidden() for dock in docks] == [False, False]
    docks[0].hide()
    shown.open("case_1")
    shown.clear()
    assert [dock.isHidden() for dock in docks] == [True, False]


def test_the_wheel_scrolls_slices_and_with_ctrl_it_zooms(
    shown: CaseView, qtbot: QtBot
) -> None:
    main, side = shown.canvases.main_notes.canvas, shown.canvases.views.distance.notes
    shown.go_to(0, 5)
    for canvas in (main, side.canvas):
        index, zoom = shown.slice_index, camera_of(shown.viewer).zoom
        turn(canvas, -120)
        assert shown.slice_index == index + 1
        assert camera_of(shown.viewer).zoom == zoom
        turn(canvas, 120, Qt.KeyboardModifier.ControlModifier)
        assert shown.slice_index == index + 1
        qtbot.waitUntil(lambda: camera_of(shown.viewer).zoom > zoom)  # noqa: B023
    choose("wheel_scrolls", False)
    index, zoom = shown.slice_index, camera_of(shown.viewer).zoom
    turn(main, 120)
    assert shown.slice_index == index
    qtbot.waitUntil(lambda: camera_of(shown.viewer).zoom > zoom)


def turn(canvas: Any, delta: int, keys: Any = Qt.KeyboardModifier.NoModifier) -> None:
    """Turn the wheel over the middle of a canvas."""
    at = QPointF(canvas.rect().center())
    none = QPoint()
    event = QWheelEvent(
        at,
        QPointF(canvas.mapToGlobal(canvas.rect().center())),
        none,
        QPoint(0, delta),
        Qt.MouseButton.NoButton,
        keys,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QCoreApplication.sendEvent(canvas, event)


def test_slices_are_counted_from_one(shown: CaseView, qtbot: QtBot) -> None:
    sliders = shown.canvases.sliders
    shown.go_to(0, 5)
    qtbot.waitUntil(lambda: sliders.findChild(SliceNumber) is not None)
    number = sliders.slider_widgets[0].findChild(SliceNumber)
    assert number.text() == "6 / 10"
    assert not sliders.slider_widgets[0].curslice_label.isVisible()
    number.setValue(1)
    assert shown.slice_index == 0
    shown.clear()
    Connections.close_below(shown)
    assert not sliders.slider_widgets[0].curslice_label.isHidden()


def test_window_closed_over_an_open_prediction(
    make_napari_viewer: Callable[..., Any], session: Session, project: Project
) -> None:
    store_prediction(project, "case_0")
    viewer = make_napari_viewer(show=True)
    view = CaseView(session, viewer, Answers())
    assert view.open("case_0")
    viewer.close()


def test_ctrl_s_offers_nifti_first_for_the_mask_alone(view: CaseView) -> None:
    manager = PluginManager.instance()
    manifest = PluginManifest.from_distribution("napari-semiseg")
    if manifest.name not in manager:
        manager.register(manifest)
    view.open("case_0")
    for layer, first in ((view.mask, ".nii.gz"), (view.image, ".tif")):
        view.viewer.layers.selection.active = layer
        writers = list(manager.iter_compatible_writers(["labels"]))
        assert len(writers) > 2
        assert writers[0].filename_extensions[0] == first


def test_directions_in_3d_are_where_the_surfaces_lie(
    view: CaseView, qtbot: QtBot
) -> None:
    """A blue body in the middle and an orange one towards each direction."""
    view.open("case_0")
    view.viewer.dims.ndisplay = 3
    view.viewer.dims.order = planes.ORDERS[1]
    for layer in view.layers.all:
        layer.visible = False
    camera = camera_of(view.viewer)
    # Before napari 0.9 the third is 90 at first, and 0 since.
    first = tuple(camera.angles)
    for angles in ((15, 15, 5), (0, 80, 10), (70, 20, 170)):
        edges = edges_of_bodies(view, qtbot, tuple(np.add(first, angles)))
        assert len(set(edges.values())) == 4
        if angles == (15, 15, 5):  # nearly as the coronal slice is seen
            assert edges == {"top": "S", "bottom": "I", "left": "R", "right": "L"}


def edges_of_bodies(
    view: CaseView, qtbot: QtBot, angles: tuple[float, float, float]
) -> dict[str, str]:
    """Show a body towards each direction, and check the letter at the edge there."""
    camera, edges = camera_of(view.viewer), {}
    for axis, ends in enumerate((("I", "S"), ("A", "P"), ("R", "L"))):
        for sign, letter in zip((-1, 1), ends, strict=True):
            there = np.zeros(3)
            there[axis] = 20 * sign
            spots = view.viewer.add_points(
                np.array([np.zeros(3), there]),
                size=6,
                face_color=["#0000ff", "#ffb000"],
                border_width=0,
                blending="opaque",
            )
            camera.center, camera.zoom, camera.angles = (0, 0, 0), 6, angles
            qtbot.wait(50)
            shot = main_picture(view)
            edges = view.canvases.main_notes.edges()
            row, column = centre_of(orange(shot))
            down, right = row - 0.5, (column - 0.5) * shot.shape[1] / shot.shape[0]
            for edge, away in (("top", -down), ("bottom", down), ("right", right)):
                assert away > 0.02 or edges[edge] != letter
            view.viewer.layers.remove(spots)
    return edges


def test_bodies_that_were_turned_stay_so_when_the_window_changes(
    shown: CaseView, qtbot: QtBot
) -> None:
    shown.surfaces.toggle()
    qtbot.waitUntil(lambda: shown.surfaces.shown, timeout=30_000)
    camera, window = camera_of(shown.viewer), shown.canvases.window
    camera.angles, camera.zoom = turned, zoom = (20.0, 30.0, 100.0), 1.5
    fitted = shown.canvases._fitted
    window.resize(1700, 950)
    qtbot.waitUntil(lambda: shown.canvases._fitted != fitted)
    assert camera.angles == turned
    assert camera.zoom != zoom


def test_canvases_come_and_go_many_times(
    shown: CaseView, session: Session, project: Project, qtbot: QtBot
) -> None:
    """3D on and off, and the project closed over maps, in every way they are shown."""
    for _ in range(3):
        for _ in range(2):
            shown.surfaces.toggle()
            qtbot.waitUntil(lambda: shown.surfaces.shown, timeout=30_000)
            shown.surfaces.toggle()
        shown.canvases.toggle()
        assert session.close_project()
        assert not shown.canvases.shown
        assert not shown.canvases.over
        assert not shown.viewer.layers
        session.open_project(project.folder)
        assert shown.open("case_0")
        qtbot.wait(20)
    side = shown.canvases.views.sides[0].view
    Connections.close_below(shown)
    assert shown.canvases.views is None
    qtbot.waitUntil(lambda: not side.isVisible())
