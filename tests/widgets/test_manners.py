"""How the panel gets on with napari's window: docks, windows, focus, contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor, QImage
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QDockWidget,
    QLabel,
    QWidget,
)

from napari_semiseg.commands import open_panel, open_project_in_viewer
from napari_semiseg.widgets.canvas.linked_canvases import CANVAS_HEIGHT, CANVAS_WIDTH
from napari_semiseg.widgets.review.view_bar import EDGE
from widgets.person import pictures_of
from widgets.test_sizes import LEGIBLE, contrast
from widgets.viewing import WORST, press, store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.dock import SemisegDock

SIZE = (1366, 768)


@pytest.fixture
def opened(
    make_napari_viewer: Callable[..., Any], project: Project, qtbot: QtBot
) -> Callable[[], SemisegDock]:
    """Makes a window with the panel and a predicted case open."""
    store_prediction(project, "case_0")

    def make() -> SemisegDock:
        viewer = make_napari_viewer(show=True)
        viewer.window._qt_window.setGeometry(0, 0, *SIZE)
        dock = open_project_in_viewer(project.folder, viewer)
        dock.session.case_requested.emit("case_0")
        qtbot.wait(300)
        return dock

    return make


def check_bar(dock: SemisegDock) -> None:
    """The bar lies in the canvas of its own window, and works."""
    bar, window = dock.review.view_bar, dock.viewer.window._qt_window
    assert bar.isVisible()
    assert bar.window() is window
    canvas = bar.parentWidget()
    assert canvas.width() >= CANVAS_WIDTH
    assert canvas.height() >= CANVAS_HEIGHT
    assert bar.pos() == QPoint(EDGE, EDGE)
    assert canvas.rect().contains(bar.geometry())
    before = dock.viewer.dims.order[0]
    bar.buttons["next_plane"].click()
    assert dock.viewer.dims.order[0] == (before + 1) % 3
    press(dock.case_view, "T")
    assert not bar.buttons["toggle_mask"].isChecked()
    press(dock.case_view, "T")


def test_the_panel_works_wherever_it_is_docked(
    opened: Callable[[], SemisegDock], qtbot: QtBot
) -> None:
    dock = opened()
    window, outer = dock.viewer.window._qt_window, dock.parentWidget()
    areas = Qt.DockWidgetArea
    for name in ("Left", "Top", "Bottom", "Right"):
        window.addDockWidget(getattr(areas, f"{name}DockWidgetArea"), outer)
        qtbot.wait(300)
        assert (window.width(), window.height()) == SIZE
        check_bar(dock)
        keep(window, f"docked-{name}")
    outer.setFloating(True)
    qtbot.wait(300)
    check_bar(dock)
    keep(window, "docked-floating")
    outer.setFloating(False)
    other = window.findChild(QDockWidget, "layer list")
    other.show()
    window.tabifyDockWidget(other, outer)
    outer.raise_()
    qtbot.wait(300)
    assert dock.isVisible()
    check_bar(dock)
    keep(window, "docked-tabbed")


def test_the_bar_comes_back_with_the_panel_and_each_window_has_its_own(
    opened: Callable[[], SemisegDock], qtbot: QtBot
) -> None:
    first, second = opened(), opened()
    for dock in (first, second):
        check_bar(dock)
    viewer, case = first.viewer, first.session.case_id
    viewer.window.remove_dock_widget(first.parentWidget())
    assert not first.review.view_bar.isVisible()
    check_bar(second)
    again = open_panel(viewer)
    assert again is not first
    again.open_project(second.session.project.folder)
    again.session.case_requested.emit(case)
    qtbot.wait(300)
    check_bar(again)


def test_the_activity_dock_and_the_bar_leave_each_other_alone(
    opened: Callable[[], SemisegDock], qtbot: QtBot
) -> None:
    dock = opened()
    window = dock.viewer.window._qt_window
    window.statusBar()._toggle_activity_dock(True)
    qtbot.wait(300)
    activity = window._activity_dialog
    assert activity.isVisible()
    check_bar(dock)
    assert not _area(activity, window).intersects(_area(dock.review.view_bar, window))
    keep(window, "activity")


def test_the_tab_key_goes_through_the_review_from_top_to_bottom(
    opened: Callable[[], SemisegDock],
) -> None:
    dock = opened()
    review = dock.review
    zones = (
        dock.header,
        dock.tabs.tabBar(),
        review.card,
        review.classes,
        review.brush,
        review.tool_panel,
        review.queue_box,
        review.finish,
    )
    visited = [
        zone
        for widget in focus_chain(dock)
        for zone in zones
        if widget is zone or zone.isAncestorOf(widget)
    ]
    order = list(dict.fromkeys(visited))
    assert order == list(zones)
    runs = [a for a, b in zip(visited, [None, *visited], strict=False) if a is not b]
    assert len(runs) == len(zones)  # never back to an earlier zone


def focus_chain(root: QWidget) -> Iterator[QWidget]:
    """Widgets within one that the Tab key stops at, in order."""
    widget, passed = root.nextInFocusChain(), set()
    while widget is not root and widget not in passed:
        passed.add(widget)
        stops = widget.focusPolicy() & Qt.FocusPolicy.TabFocus
        reached = stops and widget.isVisible() and widget.isEnabled()
        if reached and root.isAncestorOf(widget):
            yield widget
        widget = widget.nextInFocusChain()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_what_is_written_in_the_window_can_be_read(
    opened: Callable[[], SemisegDock], theme: str, qtbot: QtBot
) -> None:
    get_settings().appearance.theme = theme
    dock = opened()
    window = dock.viewer.window._qt_window
    pale: dict[str, float] = {}
    seen = 0
    for index in range(dock.tabs.count()):
        dock.tabs.setCurrentIndex(index)
        # What was just shown is not yet in its place while the machine is busy.
        for _ in range(10):
            qtbot.wait(200)
            found = contrasts(dock, window)
            faint = {words: ratio for words, ratio in found.items() if ratio < LEGIBLE}
            if not faint:
                break
        pale |= faint
        seen += len(found)
    assert seen > 40
    assert not pale


def contrasts(dock: SemisegDock, window: QWidget) -> dict[str, float]:
    """Contrast of all words that can be seen now, by widget and words."""
    shot = window.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    found: dict[str, float] = {}
    for root in (dock, dock.review.view_bar):
        for widget in root.findChildren(QWidget):
            words = written_on(widget)
            if words:
                ratio = contrast_on(pixels(shot, _area(widget, window)))
                name = f"{type(widget).__name__} {words!r}"
                found[name] = min(round(ratio, 1), found.get(name, ratio))
    return found


def written_on(widget: QWidget) -> str:
    """Words that can be seen on a label or button that is enabled, in full."""
    if not isinstance(widget, QLabel | QAbstractButton) or not widget.isEnabled():
        return ""
    visible = widget.visibleRegion().boundingRect()
    if not widget.isVisible() or visible != widget.rect():
        return ""
    words = widget.text().strip()
    return words if any(c.isalnum() for c in words) else ""


def pixels(shot: QImage, area: Any) -> NDArray[np.uint8]:
    """Colours (N, 3) of an area of a picture."""
    ratio = shot.devicePixelRatio()
    area = area.__class__(
        *(round(v * ratio) for v in (area.x(), area.y(), area.width(), area.height()))
    )
    part = shot.copy(area)
    data = part.constBits()
    if hasattr(data, "setsize"):  # PyQt
        data.setsize(part.sizeInBytes())
    rows = np.frombuffer(data, np.uint8).reshape(part.height(), -1)
    rgb = rows[:, : 4 * part.width()].reshape(-1, 4)[:, 2::-1]
    return np.ascontiguousarray(rgb)


def contrast_on(colours: NDArray[np.uint8]) -> float:
    """Contrast of the commonest colour with the one that differs most from it."""
    found, counts = np.unique(colours, axis=0, return_counts=True)
    ground = QColor(*(int(c) for c in found[counts.argmax()]))
    return max(contrast(QColor(*(int(c) for c in one)), ground) for one in found)


def _area(widget: QWidget, window: QWidget) -> Any:
    area = widget.rect()
    area.moveTopLeft(widget.mapTo(window, QPoint(0, 0)))
    return area


def keep(window: QWidget, name: str) -> None:
    """Keep a picture of the whole screen, floating docks included."""
    QApplication.processEvents()
    shot = window.screen().grabWindow(0).copy(0, 0, SIZE[0] + 400, SIZE[1] + 200)
    assert shot.save(str(pictures_of("manners") / f"{name}.png"))


def test_a_case_opens_at_the_slice_that_its_row_in_the_queue_names(
    opened: Callable[[], SemisegDock],
) -> None:
    dock = opened()  # not from the queue
    view = dock.case_view
    place = dock.review.queue.place_of("case_0")
    assert place == (WORST[0].axis, WORST[0].index)
    assert (view.viewer.dims.order[0], view.slice_index) == place
    assert view.next_doubt() == WORST[1]
