"""The bar over the canvas: what it shows, and that it does what the keys do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_semiseg.commands import open_project_in_viewer
from napari_semiseg.widgets.canvas.linked_canvases import CANVAS_WIDTH, MapPlacement
from napari_semiseg.widgets.elements.buttons import KeyButton
from napari_semiseg.widgets.review.view_bar import EDGE
from widgets.viewing import press, store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.dock import SemisegDock


@pytest.fixture
def dock(
    make_napari_viewer: Callable[..., Any], project: Project, qtbot: QtBot
) -> SemisegDock:
    """A panel in a window, with a predicted case open."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1700, 900)
    store_prediction(project, "case_0")
    made = open_project_in_viewer(project.folder, viewer)
    made.session.case_requested.emit("case_0")
    qtbot.wait(300)
    return made


def test_the_bar_shows_and_chooses_what_the_canvas_shows(
    dock: SemisegDock, qtbot: QtBot
) -> None:
    view, bar = dock.case_view, dock.review.view_bar
    plane, maps = bar.buttons["next_plane"], bar.buttons["toggle_maps"]
    mask, veil = bar.buttons["toggle_mask"], bar.buttons["toggle_unannotated"]
    assert bar.isVisible()
    assert (plane.text(), maps.text()) == ("Axial", "Maps beside")
    assert all(button.isChecked() for button in (mask, veil, maps))
    width = bar.width()
    plane.click()
    assert view.viewer.dims.order[0] == 1
    press(view, "Q")
    assert plane.text() == "Sagittal"
    mask.click()
    assert not view.mask.visible
    press(view, "T")
    assert mask.isChecked()
    press(view, "H")
    assert not veil.isChecked()
    maps.click()
    assert view.canvases.maps_now is MapPlacement.UNCERTAINTY
    assert (maps.text(), bar.opacity.isEnabled()) == ("Uncertainty", False)
    menu = bar.ways.menu()
    menu.aboutToShow.emit()
    entries = {entry.text(): entry for entry in menu.actions()}
    assert entries["Uncertainty"].isChecked()
    entries["Maps beside"].trigger()
    assert view.canvases.shown
    assert bar.opacity.isEnabled()
    bar.opacity.setValue(80)
    assert view.mask.opacity == pytest.approx(0.8)
    view.mask.opacity = 0.3
    assert bar.opacity.value() == 30
    assert bar.width() == width  # nothing moved under the pointer
    bar.buttons["toggle_surfaces"].click()
    qtbot.waitUntil(lambda: view.surfaces.shown, timeout=30_000)
    assert not any(button.isEnabled() for button in (plane, mask, maps))
    bar.buttons["toggle_surfaces"].click()
    assert plane.isEnabled()


def test_a_case_without_maps_has_none_to_choose(dock: SemisegDock) -> None:
    bar = dock.review.view_bar
    dock.session.case_requested.emit("case_1")
    assert bar.buttons["toggle_maps"].text() == "Maps off"
    assert not bar.buttons["toggle_maps"].isEnabled()
    assert not bar.ways.isEnabled()


def test_the_mouse_does_not_paint_through_the_bar(
    dock: SemisegDock, qtbot: QtBot
) -> None:
    bar, mask = dock.review.view_bar, dock.case_view.mask
    mask.mode, before = "paint", mask.data.copy()
    mask.brush_size = 40
    point = dock.viewer.dims.point
    for x in range(2, bar.width(), 40):
        QTest.mousePress(bar, Qt.MouseButton.LeftButton, pos=QPoint(x, 2))
        QTest.mouseMove(bar, QPoint(x + 5, 2))
        QTest.mouseRelease(bar, Qt.MouseButton.LeftButton, pos=QPoint(x + 5, 2))
    assert (mask.data == before).all()
    assert dock.viewer.dims.point == point


def test_the_bar_fits_the_canvas_and_says_less_on_a_small_one(
    dock: SemisegDock, qtbot: QtBot
) -> None:
    bar, window = dock.review.view_bar, dock.window()
    widths = []
    for size in (2400, 1300, 1000, 850):
        window.resize(size, 800)
        qtbot.wait(300)
        canvas = bar.parentWidget()
        assert canvas.width() >= CANVAS_WIDTH
        assert bar.pos() == QPoint(EDGE, EDGE)
        assert bar.geometry().right() < canvas.width()
        for button in bar.buttons.values():
            assert bar.rect().contains(button.geometry())
            if isinstance(button, KeyButton):
                assert button.width() >= button.width_for(())
        widths.append(bar.width())
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > widths[1]


def test_the_bar_goes_with_the_case_and_with_the_panel(dock: SemisegDock) -> None:
    bar = dock.review.view_bar
    dock.case_view.clear()
    assert bar.isHidden()
    dock.session.case_requested.emit("case_1")
    assert bar.isVisible()
    dock.viewer.window.remove_dock_widget(dock.parentWidget())
    assert bar.isHidden()
