"""What others have named is never markup: neither in the panel nor in napari."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
import pytest
import qtpy.QtGui  # noqa: F401 (adds mightBeRichText)
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QAbstractListModel, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QComboBox,
    QLabel,
    QMessageBox,
    QWidget,
)

import napari_semiseg.widgets
from napari_semiseg.core.events import Finished
from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.doctor import check_project
from napari_semiseg.project.project import Project
from napari_semiseg.project.review import flags
from napari_semiseg.widgets.cohort.import_dialog import ImportDialog, StructureChoice
from napari_semiseg.widgets.common.background import report_error, warn
from napari_semiseg.widgets.common.flagging import FlagDialog
from napari_semiseg.widgets.dock import SemisegDock
from napari_semiseg.widgets.elements.forms import plain
from napari_semiseg.widgets.elements.questions import Questions
from napari_semiseg.widgets.project.checkup import CheckDialog
from napari_semiseg.widgets.project.export_dialog import ExportDialog
from widgets.conftest import SHAPE, write_volume
from widgets.viewing import store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytestqt.qtbot import QtBot

EVIL = "<img src=x>"
TIP = Qt.ItemDataRole.ToolTipRole
PACKAGE = Path(napari_semiseg.widgets.__file__).parent


@pytest.fixture
def hostile(tmp_path: Path) -> Project:
    """A project whose names, comments and messages are markup."""
    scheme = LabelScheme.parse([f"1={EVIL}liver", "2=&lt;b>spleen"])
    made = Project.create(tmp_path / f"{EVIL}project", scheme, name=f"{EVIL}name")
    for number in range(3):
        path = tmp_path / "images" / f"{EVIL}{number}.nii.gz"
        made.add(write_volume(path, np.ones(SHAPE, np.int16) * number))
    run = store_prediction(made, f"{EVIL}0")
    run.append(Finished(run=run.id, reason="completed", step=5, seconds=60))
    flags.flag(made, f"{EVIL}0", f"{EVIL}motion")
    return made


def items(view: QAbstractItemView) -> Iterator[str]:
    """Tool tips of all cells and headers."""
    model = view.model()

    def columns(parent: Any) -> int:
        one = isinstance(model, QAbstractListModel)  # whose method is private
        return 1 if one else int(model.columnCount(parent))

    def below(parent: Any) -> Iterator[str]:
        for row in range(model.rowCount(parent)):
            for column in range(columns(parent)):
                index = model.index(row, column, parent)
                yield str(model.data(index, TIP) or "")
                if not column:
                    yield from below(index)

    yield from below(view.rootIndex())
    for section in range(columns(view.rootIndex())):
        yield str(model.headerData(section, Qt.Orientation.Horizontal, TIP) or "")


def texts(root: QWidget) -> tuple[list[str], list[str]]:
    """Texts of labels that are shown as markup, and all tool tips."""
    widgets = [root, *root.findChildren(QWidget)]
    markup = [
        label.text()
        for label in widgets
        if isinstance(label, QLabel)
        and (
            label.textFormat() == Qt.TextFormat.RichText
            or (
                label.textFormat() == Qt.TextFormat.AutoText
                and Qt.mightBeRichText(label.text())
            )
        )
    ]
    tips = [widget.toolTip() for widget in widgets]
    for widget in widgets:
        if isinstance(widget, QComboBox):
            tips += [str(widget.itemData(row, TIP) or "") for row in range(len(widget))]
        elif isinstance(widget, QAbstractItemView):
            tips += items(widget)
    return markup, tips


def check(root: QWidget) -> int:
    """Fail on markup of others; returns how many labels and tips name them."""
    markup, tips = texts(root)
    assert [text for text in markup if EVIL in text or "&lt;b>" in text] == []
    assert [tip for tip in tips if Qt.mightBeRichText(tip)] == []
    labels = [label.text() for label in root.findChildren(QLabel)]
    return sum("img src" in text for text in [*labels, *tips])


def docked(viewer: Any, project: Project) -> SemisegDock:
    made = SemisegDock(viewer)
    viewer.window.add_dock_widget(made, name="Semiseg", area="right")
    assert made.open_project(project.folder)
    return made


@pytest.fixture
def dock(make_napari_viewer: Callable[..., Any], hostile: Project) -> SemisegDock:
    return docked(make_napari_viewer(), hostile)


def test_the_panel_shows_names_as_they_are(window: None, hostile: Project) -> None:
    dock = docked(napari.current_viewer(), hostile)
    assert dock.case_view.open(f"{EVIL}0")
    for title in ("Cohort", "Train", "Progress", "Review"):
        dock.show_tab(title)
        QApplication.processEvents()
    dock.review.refresh_queue()
    dock.progress.refresh()
    dock.review.tool_panel.choose("move_boundary")
    dock.review.tool_panel._show_result(lambda *_: np.zeros((2, 2)), [{1: 9}, {1: 1}])
    assert check(dock) > 10
    assert dock.header.name.text() == f"{EVIL}name \u25be"
    assert dock.review.card.title.text() == f"{EVIL}0"
    assert dock.review.queue.item(0).text() == f"{EVIL}0"
    for layer in dock.viewer.layers:
        assert not Qt.mightBeRichText(layer.name)
    names = dock.case_view.mask.properties["class"]
    assert not any(map(Qt.mightBeRichText, names))
    assert not Qt.mightBeRichText(
        dock.case_view.mask.get_status((5, 5, 5))["layer_name"]
    )


def test_dialogs_show_names_as_they_are(
    dock: SemisegDock,
    hostile: Project,
    tmp_path: Path,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dock.progress.accept_several()
    new = write_volume(tmp_path / "new" / f"{EVIL}9.nii.gz", np.ones(SHAPE, np.int16))
    found = ImportDialog(dock.session, hostile, [new.parent], None, dock)
    gallery = dock.progress.gallery
    assert gallery is not None
    qtbot.waitUntil(
        lambda: bool(gallery.model.rows) and found.pairs.topLevelItemCount() > 0,
        timeout=30_000,
    )
    (tmp_path / "images" / f"{EVIL}2.nii.gz").unlink()
    structures = StructureChoice(hostile.labels)
    structures.show_structures({f"{EVIL}ROI": None, "&lt;b>other": 1})
    dialogs = [
        gallery,
        found,
        structures,
        FlagDialog(f"{EVIL}0", None, dock),
        CheckDialog(check_project(hostile.folder), lambda: None, dock),
        ExportDialog(hostile, dock),
    ]
    QApplication.processEvents()
    named = [check(dialog) for dialog in dialogs]
    assert min(named[:3]) > 0
    asked: list[int] = []
    monkeypatch.setattr(QMessageBox, "exec", lambda box: asked.append(check(box)) or 0)
    questions = Questions(lambda: None)
    questions.leave(f"{EVIL}0")
    questions.confirm(f"{EVIL}0", f"{EVIL}1")
    assert asked == [1, 2]


def test_notifications_are_plain(dock: SemisegDock, notifications: list[str]) -> None:
    report_error(dock.session, ProjectError(f"{EVIL}0 cannot be read"))
    warn(dock.session, f"{EVIL}1 is skipped")
    assert [text.startswith("<\u2060img src=x>") for text in notifications] == [
        True
    ] * 2
    assert not any(map(Qt.mightBeRichText, notifications))
    assert dock.status.text() == f"{EVIL}1 is skipped"
    notification_manager.records.clear()


@pytest.mark.parametrize(
    "text",
    ["<b>x</b>", "< img src=x>", "<!-- -->", "<?xml?>", "</p>", "a &lt;b", "<IMG>"],
)
def test_no_markup_is_left(text: str) -> None:
    assert not Qt.mightBeRichText(plain(text))
    assert plain(text).replace("\u2060", "") == text
    for same in ("Dice < 0.9", "a & b", "3 <4", "x > y"):
        assert plain(same) == same


def test_labels_and_notifications_are_made_in_one_place() -> None:
    """`forms` and `background` know what is plain; nobody else makes them."""
    kept = {
        "QLabel": "forms.py",
        "QMessageBox": "questions.py",
        "show_error": "background.py",
        "show_warning": "background.py",
        "show_info": "background.py",
    }
    found = [
        f"{path.name}: {node.func.id}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and kept.get(node.func.id, path.name) != path.name
    ]
    assert found == []
