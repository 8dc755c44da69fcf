"""The whole loop by keyboard alone, from the start page to an export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QDialog,
    QMenu,
    QPushButton,
    QTableWidget,
    QWidget,
)

from fake_workers import NOBODY, FakeExecutor
from napari_semiseg.commands import open_panel
from napari_semiseg.core.case import CaseState
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.widgets.common.compat import canvas_widget
from napari_semiseg.widgets.dock import TABS
from napari_semiseg.widgets.project.create_project import CreateProjectDialog
from napari_semiseg.widgets.project.export_dialog import ExportDialog
from napari_semiseg.widgets.project.recents import remember_project
from widgets.person import SOON_MS
from widgets.project.test_guide import controls, name_of
from widgets.viewing import store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.dock import SemisegDock

NONE = Qt.KeyboardModifier.NoModifier
MOST_STOPS = 120
"""Presses of Tab after which somebody gives up."""


class Keyboard:
    """Keys go to what has the focus, and nothing else is touched.

    Attributes
    ----------
    nameless : list of str
        Where a screen reader would have said nothing on the way.
    """

    def __init__(self) -> None:
        self.nameless: list[str] = []

    @property
    def focus(self) -> QWidget:
        """What has the focus: in a dialog, without a window manager, of the dialog."""
        dialog = QApplication.activeModalWidget()
        inside = QApplication.focusWidget() if dialog is None else dialog.focusWidget()
        widget = inside or dialog
        assert widget is not None
        return widget

    def press(self, key: Qt.Key, modifier: Qt.KeyboardModifier = NONE) -> None:
        QTest.keyClick(self.focus, key, modifier)

    def go_to(self, wanted: QWidget, key: Qt.Key = Qt.Key.Key_Tab) -> None:
        passed = []
        while self.focus is not wanted:
            passed.append(type(self.focus).__name__)
            assert len(passed) < MOST_STOPS, passed
            self.press(key)
        if not name_of(wanted):
            self.nameless.append(type(wanted).__name__)


@pytest.fixture
def dock(
    make_napari_viewer: Callable[..., Any], project: Project, qtbot: QtBot
) -> SemisegDock:
    """The start page, with a project of two predicted cases among the recent ones."""
    for name in ("case_0", "case_1"):
        run = store_prediction(project, name)
        run.append(Started(run=run.id, method="supervised", pid=NOBODY))
        run.claim(NOBODY)
        run.append(Finished(run=run.id, reason="completed", step=5, seconds=60))
    remember_project(project.folder, project.name, 0, 4)
    viewer = make_napari_viewer(show=True)
    window, canvas = viewer.window._qt_window, canvas_of(viewer)
    window.resize(1600, 900)
    made = open_panel(viewer)
    window.activateWindow()
    canvas.setFocus()  # where napari begins
    qtbot.waitUntil(lambda: QApplication.focusWidget() is canvas)
    return made


def canvas_of(viewer: Any) -> QWidget:
    return canvas_widget(viewer.window._qt_viewer)


def test_from_the_start_page_to_an_export_without_a_mouse(
    dock: SemisegDock, project: Project, qtbot: QtBot, tmp_path: Path
) -> None:
    executor = dock.training._own_executor = FakeExecutor()
    keyboard, bar = Keyboard(), dock.tabs.tabBar()
    (card,) = dock.start_page.cards
    keyboard.go_to(card)
    keyboard.press(Qt.Key.Key_Space)
    assert dock.session.project is not None

    keyboard.go_to(bar)
    while dock.tabs.currentIndex() != TABS.index("Cohort"):
        keyboard.press(Qt.Key.Key_Left)
    keyboard.go_to(dock.cohort.table)
    keyboard.press(Qt.Key.Key_Home, Qt.KeyboardModifier.ControlModifier)
    keyboard.press(Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dock.session.case_id == "case_0", timeout=SOON_MS)
    qtbot.waitUntil(lambda: QApplication.focusWidget() is canvas_of(dock.viewer))

    corrected = correct_and_accept(keyboard, dock, qtbot)
    assert project.case("case_0").state is CaseState.LABELLED

    keyboard.go_to(bar)
    while dock.tabs.currentIndex() != TABS.index("Train"):
        keyboard.press(Qt.Key.Key_Right)
    start = dock.training.start_button
    qtbot.waitUntil(start.isEnabled, timeout=SOON_MS)
    keyboard.go_to(start)
    keyboard.press(Qt.Key.Key_Space)
    assert [words[0] for words in executor.submitted] == ["train"]

    keyboard.go_to(dock.header.more)
    QTimer.singleShot(200, lambda: export_by_menu(keyboard, tmp_path / "out"))
    keyboard.press(Qt.Key.Key_Space)
    qtbot.waitUntil(
        lambda: (tmp_path / "out" / "manifest.json").is_file(), timeout=SOON_MS
    )
    written = nibabel.load(tmp_path / "out" / "case_0.nii.gz")
    back = project.case("case_0").geometry.to_native(corrected)
    assert np.array_equal(np.asarray(written.dataobj), back)
    assert keyboard.nameless == []
    executor.handle.code = 0


def correct_and_accept(
    keyboard: Keyboard, dock: SemisegDock, qtbot: QtBot
) -> NDArray[np.uint8]:
    """Go to the worst slice, move the boundary, accept; return the mask."""
    view, tools = dock.case_view, dock.review.tool_panel
    keyboard.press(Qt.Key.Key_W)
    proposed = np.count_nonzero(view.editing.whole())
    keyboard.press(Qt.Key.Key_J)
    keyboard.go_to(tools.slider)
    for _ in range(8):
        keyboard.press(Qt.Key.Key_Right)
    assert tools.amount.value() == 2
    qtbot.waitUntil(tools.apply_button.isEnabled, timeout=SOON_MS)
    keyboard.go_to(tools.apply_button)
    keyboard.press(Qt.Key.Key_Space)
    corrected = view.editing.whole()
    assert np.count_nonzero(corrected) > proposed
    keyboard.go_to(dock.review.buttons["accept_and_next"])
    keyboard.press(Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: dock.session.case_id == "case_1", timeout=SOON_MS)
    return corrected


@pytest.mark.parametrize("kind", ["create", "export"])
def test_every_field_of_a_dialog_is_named_and_enter_accepts(
    qtbot: QtBot, project: Project, kind: str
) -> None:
    dialog = CreateProjectDialog() if kind == "create" else ExportDialog(project)
    qtbot.addWidget(dialog)
    fields = (*controls(dialog), *dialog.findChildren(QTableWidget))
    assert len(fields) > 5
    assert [type(one).__name__ for one in fields if not name_of(one)] == []
    default = [one for one in dialog.findChildren(QPushButton) if one.isDefault()]
    eager = [one for one in dialog.findChildren(QPushButton) if one.autoDefault()]
    assert len(default) == 1
    assert {one.text() for one in eager} <= {default[0].text(), "Cancel"}


def export_by_menu(keyboard: Keyboard, folder: Path) -> None:
    """In the open menu, and in the dialog that its entry opens."""
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    for _ in menu.actions():
        QTest.keyClick(menu, Qt.Key.Key_Down)
        if menu.activeAction().text() == "Export masks…":
            break
    QTimer.singleShot(200, lambda: fill(keyboard, folder))
    QTest.keyClick(menu, Qt.Key.Key_Return)


def fill(keyboard: Keyboard, folder: Path) -> None:
    dialog = QApplication.activeModalWidget()
    assert isinstance(dialog, QDialog)
    try:
        keyboard.go_to(dialog.folder)
        keyboard.press(Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
        QTest.keyClicks(keyboard.focus, str(folder))
        keyboard.press(Qt.Key.Key_Return)
    except AssertionError:
        dialog.reject()  # else it waits for ever
        raise
