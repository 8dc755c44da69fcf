from __future__ import annotations

import subprocess
import sys
import textwrap
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QCloseEvent, QDragEnterEvent, QDragLeaveEvent, QDropEvent
from qtpy.QtWidgets import (
    QApplication,
    QDialog,
    QFileDialog,
    QProgressBar,
    QPushButton,
)

from napari_semiseg.commands import open_panel
from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.errors import ConfigError
from napari_semiseg.project.importing.match_masks import attach
from napari_semiseg.widgets import dock as dock_module
from napari_semiseg.widgets.common.next_step import Do, Phase, TrainingState
from napari_semiseg.widgets.common.preferences import preferences
from napari_semiseg.widgets.dock import HINT, TABS, SemisegDock
from napari_semiseg.widgets.elements.style import colours, colours_of
from napari_semiseg.widgets.project.create_project import (
    ClassTable,
    CreateProjectDialog,
)
from napari_semiseg.widgets.project.recents import (
    KEPT,
    RECENT,
    day,
    recent_projects,
    remember_project,
)
from widgets.viewing import Answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project

WAIT_MS = 20_000
CLOSED_MS = 2_500
LOW_SCREEN = 768


@pytest.fixture
def dock(make_napari_viewer: Callable[..., Any]) -> Iterator[SemisegDock]:
    viewer = make_napari_viewer()
    made = SemisegDock(viewer)
    viewer.window.add_dock_widget(made, name="Semiseg", area="right")
    yield made
    made.shut_down()


def drop(target: SemisegDock, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    target.dropEvent(
        QDropEvent(
            QPointF(5, 5),
            Qt.DropAction.CopyAction,
            data,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
    )


# -- the dock


def test_the_start_page_comes_first(dock: SemisegDock) -> None:
    assert dock._pages.currentIndex() == 0
    assert dock.header.step.do is Do.CREATE
    assert not dock.header.isVisibleTo(dock)
    assert not dock.guide.isVisibleTo(dock)
    shown = [one for one in dock.findChildren(QPushButton) if one.isVisibleTo(dock)]
    assert [one.text() for one in shown] == ["New project…", "Open…", "Try it"]
    blue = [one.text() for one in shown if one.property("look") == "primary"]
    assert blue == ["New project…"]


def test_opening_a_project_shows_its_tabs_and_the_next_step(
    dock: SemisegDock, project: Project
) -> None:
    assert dock.open_project(project.folder / "project.toml")
    assert dock._pages.currentIndex() == 1
    titles = [dock.tabs.tabText(i).split()[0] for i in range(dock.tabs.count())]
    assert titles == list(TABS)
    assert dock.header.step.do is Do.LABEL
    assert dock.cohort.model.rowCount() == 4
    (recent,) = recent_projects()
    assert recent.folder == str(project.folder)
    assert (recent.labelled, recent.cases) == (0, 4)
    assert dock.header.isVisibleTo(dock)
    dock.session.close_project()
    assert dock._pages.currentIndex() == 0


def test_the_rest_is_predicted_from_the_progress_tab(
    dock: SemisegDock, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(dock.training, "predict", asked.append)
    dock.open_project(project.folder)
    dock.show_tab("Progress")
    dock.progress.refresh()
    dock.progress.predict_button.click()
    assert asked == [()]
    assert dock.tabs.tabText(dock.tabs.currentIndex()) == "Train"


def test_a_folder_that_is_no_project_is_told(
    dock: SemisegDock, tmp_path: Path, notifications: list[str]
) -> None:
    assert not dock.open_project(tmp_path)
    assert dock.status.text() == notifications[0]
    assert str(tmp_path) in notifications[0]
    assert dock._pages.currentIndex() == 0


def test_the_next_step_follows_changes(
    dock: SemisegDock, project: Project, masks: Path
) -> None:
    dock.open_project(project.folder)
    attach(dock.session.project, masks)
    dock.session.cases_changed.emit(None)
    assert dock.header.next_button.text() == "Next: train, 2 labels are new"
    dock.header.next_button.click()
    assert dock.tabs.currentIndex() == TABS.index("Train")


def test_creating_a_project_adds_its_images(
    dock: SemisegDock,
    images: list[Path],
    tmp_path: Path,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fill(dialog: CreateProjectDialog) -> int:
        dialog.name.setText("heart")
        dialog.where.setText(str(tmp_path))
        dialog.classes.setValue(LabelScheme.parse(["1=left atrium", "3=aorta"]))
        assert dialog.problem() is None
        return int(QDialog.DialogCode.Accepted)

    monkeypatch.setattr(CreateProjectDialog, "exec", fill)
    dock.ask_create(images[:2])
    qtbot.waitUntil(lambda: dock.cohort.model.rowCount() == 2, timeout=WAIT_MS)
    made = dock.session.project
    assert made is not None
    assert made.folder == (tmp_path / "heart").resolve()
    assert made.labels.values == (1, 3)


def test_dropped_images_are_added_and_a_dropped_project_is_opened(
    dock: SemisegDock,
    project: Project,
    tmp_path: Path,
    images: list[Path],
    qtbot: QtBot,
) -> None:
    drop(dock, project.folder)
    assert dock.session.project is not None
    other = images[0].with_name("case_8.nii.gz")
    other.write_bytes(images[0].read_bytes())
    drop(dock, other)
    qtbot.waitUntil(lambda: dock.cohort.model.rowCount() == 5, timeout=WAIT_MS)


def test_images_dropped_without_a_project_ask_for_one(
    dock: SemisegDock, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[Path]] = []

    def reject(dialog: CreateProjectDialog) -> int:
        asked.append(dialog.images)
        return int(QDialog.DialogCode.Rejected)

    monkeypatch.setattr(CreateProjectDialog, "exec", reject)
    drop(dock, images[0])
    assert asked == [[images[0]]]
    assert dock.session.project is None


def test_the_sample_cohort_becomes_a_project(
    dock: SemisegDock,
    project: Project,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(
        dock_module, "make_sample_project", lambda folder: project.folder
    )
    dock.start_page.sample_requested.emit()
    assert not dock.start_page.isEnabled()
    qtbot.waitUntil(lambda: dock.session.project is not None, timeout=WAIT_MS)
    qtbot.waitUntil(dock.start_page.isEnabled, timeout=WAIT_MS)


def test_the_window_stays_open_over_unsaved_edits(
    make_napari_viewer: Callable[..., Any], project: Project, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    dock = SemisegDock(viewer)
    viewer.window.add_dock_widget(dock, name="Semiseg", area="right")
    dock.open_project(project.folder)
    qtbot.waitUntil(lambda: dock._window is not None, timeout=WAIT_MS)
    window = dock.window()
    answers = [False]
    dock.session.may_leave.append(lambda: answers[0])
    event = QCloseEvent()
    QApplication.sendEvent(window, event)
    assert not event.isAccepted()
    answers[0] = True


def test_the_window_that_closes_takes_the_panel_along(
    make_napari_viewer: Callable[..., Any], project: Project, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    dock = open_panel(viewer)
    dock.open_project(project.folder)
    dock.session.case_requested.emit("case_0")
    qtbot.waitUntil(lambda: dock._window is not None, timeout=WAIT_MS)
    dock.case_view.editing.active._seconds = 180.0
    dock.case_view.mask.paint((2, 2, 2), 1)
    dock.case_view.annotation.questions = Answers()
    dock.window().close()
    del viewer.window._qt_window  # else the fixture closes it once more
    qtbot.wait(CLOSED_MS)  # what still counted voxels would fail by now
    record = project.case("case_0").record
    assert record.history[-1].minutes >= 3
    draft = project.case("case_0").read_draft()
    assert draft is not None
    assert draft[2, 2, 2] == 1


def test_a_closed_panel_lets_go_and_another_can_be_opened(
    dock: SemisegDock, project: Project
) -> None:
    viewer = dock.viewer
    dock.open_project(project.folder)
    viewer.window.remove_dock_widget(dock)
    dock.session.case_requested.emit("case_0")
    assert len(viewer.layers) == 0
    again = open_panel(viewer)
    assert again is not dock
    again.open_project(project.folder)
    again.session.case_requested.emit("case_0")
    assert len(viewer.layers) == 2
    again.shut_down()
    assert len(viewer.layers) == 0


def test_the_dock_fits_a_low_screen(dock: SemisegDock, project: Project) -> None:
    dock.open_project(project.folder)
    assert dock.minimumSizeHint().height() < LOW_SCREEN - 150
    assert dock.sizeHint().height() < LOW_SCREEN


def test_napari_leaves_no_empty_half_below_the_panel(dock: SemisegDock) -> None:
    layout = dock.layout()
    assert layout is not None
    items = [layout.itemAt(number) for number in range(layout.count())]
    assert items
    assert not any(item is None or item.spacerItem() for item in items)


def test_missing_images_are_told_and_found_again(
    dock: SemisegDock,
    project: Project,
    images: list[Path],
    tmp_path: Path,
    qtbot: QtBot,
    notifications: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved = tmp_path / "moved"
    images[0].parent.rename(moved)
    dock.open_project(project.folder)
    qtbot.waitUntil(lambda: bool(notifications), timeout=WAIT_MS)
    assert notifications[0].startswith("4 images cannot be used")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(moved))
    dock.ask_relocate()
    qtbot.waitUntil(
        lambda: dock.status.text() == "Found 4 moved images again.", timeout=WAIT_MS
    )
    assert project.check_images() == {}


# -- the header, the footer and the toast


def test_nothing_moves_whatever_is_said_and_whatever_runs(
    dock: SemisegDock, project: Project, qtbot: QtBot
) -> None:
    dock.open_project(project.folder)
    dock.resize(320, 700)
    dock.show()

    def places() -> list[tuple[int, int]]:
        qtbot.wait(20)
        parts = (dock.tabs, dock.header.bar, dock.header.next_button)
        return [(part.y(), part.height()) for part in parts]

    before, narrow = places(), dock.minimumSizeHint().width()
    dock.session.say("A message as long as it gets. " * 20)
    dock.header.show_project("A project with a long name " * 9, "/a/b")
    for phase in Phase:
        state = TrainingState(phase, "Training of a very long name, 8 min left", 0.4)
        dock.training.state_changed.emit(state)
        assert places() == before
        assert dock.minimumSizeHint().width() == narrow <= 330
    assert dock.status.toolTip().startswith("A message")
    dock._message_ends.timeout.emit()
    assert dock.status.text() == HINT


@pytest.mark.parametrize("chosen", ["for all windows", "for this window"])
def test_the_panel_follows_the_theme_and_can_be_read_in_both(
    dock: SemisegDock, project: Project, chosen: str
) -> None:
    from napari.settings import get_settings

    appearance = get_settings().appearance
    one = appearance if chosen == "for all windows" else dock.viewer
    for theme in ("light", "dark", "light"):
        one.theme = theme
        found = colours(theme)
        assert found["secondary"] in dock.styleSheet()
        assert colours_of(dock.review.queue) == found
        for text, back in (
            ("text", "background"),
            ("secondary", "background"),
            ("secondary", "card"),
            ("chip_text", "chip"),
        ):
            assert contrast(found[text], found[back]) >= 4.5
        assert contrast("#ffffff", found["accent"]) >= 4.45


def contrast(one: str, other: str) -> float:
    """Contrast of two colours by WCAG 2."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_training_shows_on_every_tab_and_leads_there(
    dock: SemisegDock, project: Project
) -> None:
    dock.open_project(project.folder)
    header = dock.header
    assert header.chip.isHidden()
    state = TrainingState(Phase.TRAINING, "Training · 8 min left", 0.5)
    dock.training.state_changed.emit(state)
    assert header.chip.text() == "Training · 8 min left"
    assert header.bar.value() == 500
    assert "\u25cf" in dock.tabs.tabText(TABS.index("Train"))
    header.chip.click()
    assert dock.tabs.currentIndex() == TABS.index("Train")
    done = TrainingState(Phase.DONE, "Trained 14:52", 1)
    dock.training.state_changed.emit(done)
    assert header.chip.text() == "Trained 14:52"
    dock.session.case_requested.emit("case_0")
    assert header.chip.isHidden()
    assert header.bar.value() == 0


def test_what_was_accepted_is_taken_back_by_the_toast(
    dock: SemisegDock, project: Project, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock.open_project(project.folder)
    dock.case_view.annotation.questions = Answers()
    dock.session.case_requested.emit("case_0")
    dock.case_view.mask.paint((5, 5, 5), 1)
    dock.case_view.accept()
    toast = dock._toast
    assert toast.text.text().startswith("Accepted case_0")
    assert not toast.isHidden()
    assert project.case("case_0").has_label
    toast.button.click()
    assert not project.case("case_0").has_label
    assert toast.isHidden()
    dock.case_view.accept()
    monkeypatch.setattr(toast, "underMouse", lambda: True)
    for _ in range(200):
        toast._tick()
    assert not toast.isHidden()  # as long as the pointer is on it
    monkeypatch.setattr(toast, "underMouse", lambda: False)
    for _ in range(100):
        toast._tick()
    assert toast.isHidden()


# -- dialogs


def test_the_class_table_makes_a_scheme(qtbot: QtBot) -> None:
    table = ClassTable()
    qtbot.addWidget(table)
    wanted = LabelScheme.parse(["1=left atrium #102030", "4=aorta"])
    table.setValue(wanted)
    assert table.value() == wanted
    table.add_class("vein")
    assert table.value().classes[-1].value == 5
    table._table.selectRow(0)
    table._remove()
    assert [item.name for item in table.value()] == ["aorta", "vein"]


def test_classes_come_from_a_table_of_another_program(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog = CreateProjectDialog()
    qtbot.addWidget(dialog)
    table = tmp_path / "heart.ctbl"
    monkeypatch.setattr(
        QFileDialog, "getOpenFileName", lambda *args, **kwargs: (str(table), "")
    )
    (button,) = (
        one for one in dialog.findChildren(QPushButton) if "table" in one.text()
    )
    button.click()
    assert "check the path" in dialog._error.text()
    table.write_text("3 left_atrium 255 0 0 255\n7 aorta 0 255 0 255\n")
    button.click()
    assert str(dialog.classes.value()) == "3=left atrium, 7=aorta"


def test_a_class_without_a_name_or_with_a_double_value_is_refused(
    qtbot: QtBot,
) -> None:
    table = ClassTable()
    qtbot.addWidget(table)
    with pytest.raises(ConfigError, match="has no name"):
        table.value()
    table.setValue(LabelScheme.parse(["1=a", "2=b"]))
    table._table.item(1, 0).setText("1")
    with pytest.raises(ConfigError, match="two labels have the value 1"):
        table.value()


def test_the_dialog_says_what_is_missing(qtbot: QtBot, tmp_path: Path) -> None:
    dialog = CreateProjectDialog()
    qtbot.addWidget(dialog)
    dialog.where.setText(str(tmp_path))
    dialog.classes.setValue(LabelScheme.parse(["1=a"]))
    assert "name" in (dialog.problem() or "")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    dialog.name.setText("full")
    assert "not empty" in (dialog.problem() or "")
    dialog.name.setText("new")
    assert dialog.problem() is None
    assert dialog.folder == tmp_path / "new"


def test_recent_projects_say_how_far_they_are_and_open_with_one_click(
    dock: SemisegDock, project: Project, masks: Path
) -> None:
    dock.open_project(project.folder)
    attach(dock.session.project, masks)
    dock.session.cases_changed.emit(None)
    dock.session.close_project()
    (card,) = dock.start_page.cards
    assert card.accessibleName().startswith(f"{project.name}, 2 of 4 labelled, today")
    bar = card.findChild(QProgressBar)
    assert (bar.value(), bar.maximum()) == (2, 4)
    card.click()
    assert dock.session.project is not None
    assert dock.session.project.folder == project.folder


def test_a_project_that_has_moved_is_asked_for_and_remembered_where_it_is(
    dock: SemisegDock,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dock.open_project(project.folder)
    dock.session.close_project()
    moved = project.folder.rename(tmp_path / "elsewhere")
    dock.start_page.refresh()
    (card,) = dock.start_page.cards
    assert "find it" in card.accessibleName()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    card.click()
    assert dock.session.project is None
    assert len(recent_projects()) == 1
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(moved))
    card.click()
    assert dock.session.project is not None
    assert [one.folder for one in recent_projects()] == [str(moved.resolve())]


def test_recent_projects_are_newest_first_and_few(tmp_path: Path) -> None:
    for number in range(KEPT + 2):
        remember_project(tmp_path / str(number), f"p{number}", number, 10)
    remember_project(tmp_path / "3", "p3 again", 4, 10)
    names = [one.name for one in recent_projects()]
    assert names == ["p3 again", "p7", "p6", "p5", "p4", "p2"]
    preferences().setValue(RECENT, "[{]")
    assert recent_projects() == []


def test_days_are_said_in_few_letters() -> None:
    today = date(2026, 11, 29)

    def at(*when: int) -> float:
        return datetime(*when, 12, tzinfo=UTC).timestamp()

    assert day(at(2026, 11, 29), today) == "today"
    assert day(at(2026, 11, 28), today) == "yesterday"
    assert day(at(2026, 11, 12), today) == "12 Nov"
    assert day(at(2025, 3, 2), today) == "Mar 2025"


def test_what_is_dragged_over_the_panel_lights_up_the_drop_zone(
    dock: SemisegDock, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(dock, "ask_create", asked.append)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(images[0].parent))])
    copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    none, zone = Qt.KeyboardModifier.NoModifier, dock.start_page.zone
    dock.dragEnterEvent(QDragEnterEvent(QPoint(5, 5), copy, data, left, none))
    assert zone.property("look") == "drop_over"
    dock.dragLeaveEvent(QDragLeaveEvent())
    assert zone.property("look") == "drop"
    dock.dragEnterEvent(QDragEnterEvent(QPoint(5, 5), copy, data, left, none))
    drop(dock, images[0].parent)
    assert zone.property("look") == "drop"
    assert asked == [[images[0].parent]]


# -- what the napari process must not load


def test_torch_stays_out_of_a_napari_that_follows_a_run(project: Project) -> None:
    script = """
        import os, sys
        import napari
        from napari_semiseg.core.config import TrainingConfig
        from napari_semiseg.core.events import Finished, Started
        from napari_semiseg.commands import open_project_in_viewer
        from napari_semiseg.project.runs.run import Run
        from napari_semiseg.project.project import Project
        from qtpy.QtTest import QSignalSpy

        project = Project.open(sys.argv[1])
        run = Run.create(project, TrainingConfig(minutes=1))
        run.append(Started(run=run.id, method="ug_mcl", pid=1))
        run.append(Finished(run=run.id, reason="completed", step=5, seconds=60))
        run.claim(2**22 - 1)
        viewer = napari.Viewer(show=False)
        panel = open_project_in_viewer(sys.argv[1], viewer)
        ended = QSignalSpy(panel.training.monitor.ended)
        assert len(ended) or ended.wait(20000)
        assert panel.training.progress.text.text().startswith("Trained 5 steps")
        assert panel.training.form.method.count() > 10
        assert "torch" not in sys.modules
        viewer.close()
        os._exit(0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(project.folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
