"""The dialog before images and masks are imported."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dicom_files import contour, square, structure_set
from dicom_twins import write_two_series
from napari_semiseg.io.images import read_geometry
from napari_semiseg.project.project import Project
from napari_semiseg.widgets.cohort import import_dialog as module
from napari_semiseg.widgets.cohort.import_dialog import ImportDialog
from napari_semiseg.widgets.cohort.panel import CohortPanel
from napari_semiseg.widgets.common.session import Session
from napari_semiseg.widgets.dock import SemisegDock
from widgets.conftest import SHAPE, write_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from pytestqt.qtbot import QtBot


@pytest.fixture
def fresh(qapp: object, tmp_path: Path) -> Iterator[Session]:
    """A session with an empty project of two classes."""
    project = Project.create(tmp_path / "p", {"left atrium": 1, "scar": 2})
    session = Session()
    session.open_project(project.folder)
    yield session
    session.close_project()


@pytest.fixture
def panel(qtbot: QtBot, fresh: Session) -> CohortPanel:
    made = CohortPanel(fresh)
    qtbot.addWidget(made)
    made.show()
    return made


def dialog_of(qtbot: QtBot, panel: CohortPanel) -> ImportDialog:
    """The dialog that is open, once it has found something."""
    (dialog,) = panel.findChildren(ImportDialog)
    found(qtbot, dialog)
    return dialog


def found(qtbot: QtBot, dialog: ImportDialog) -> None:
    qtbot.waitUntil(lambda: dialog.preview is not None, timeout=20_000)


def rows(tree: Any) -> list[list[str]]:
    items = (tree.topLevelItem(row) for row in range(tree.topLevelItemCount()))
    return [[item.text(c) for c in range(tree.columnCount())] for item in items]


def test_a_dropped_folder_shows_its_pairs_before_anything_is_added(
    qtbot: QtBot,
    make_napari_viewer: Callable[[], Any],
    fresh: Session,
    images: list[Path],
    masks: Path,
) -> None:
    write_volume(masks / "nobody.nii.gz", np.ones(SHAPE, np.uint8))
    dock = SemisegDock(make_napari_viewer())
    qtbot.addWidget(dock)
    dock.open_project(fresh.project.folder)
    dock.drop([images[0].parent, masks])
    dialog = dialog_of(qtbot, dock.cohort)
    assert rows(dialog.pairs)[0] == ["case_0", "case_0.nii.gz", "case_0.nii.gz", ""]
    assert rows(dialog.pairs)[3][2:] == ["\u2013", "no mask has its name"]
    assert rows(dialog.left_out) == [
        ["nobody.nii.gz", "a mask, but no image has its name"]
    ]
    assert dialog.tabs.tabText(1) == "Left out (1)"
    assert dialog.summary.text() == (
        "4 new cases, 2 masks paired by name, 1 file left out."
    )
    assert dialog.add_button.text() == "Add 4 cases, 2 with masks"
    assert fresh.project.cases() == []
    dialog.pairs.topLevelItem(2).setCheckState(0, module.Qt.CheckState.Unchecked)
    assert dialog.add_button.text() == "Add 3 cases, 2 with masks"
    dialog.add_button.click()
    qtbot.waitUntil(lambda: "2 labelled" in dock.cohort.bar.text.text(), timeout=20_000)
    ids = [case.id for case in dock.session.project.cases()]
    assert ids == ["case_0", "case_1", "case_3"]
    assert dock.status.text().startswith("Added 3 cases, attached 2 masks")


def test_files_are_looked_through_beside_the_window(
    qtbot: QtBot, panel: CohortPanel, images: list[Path], monkeypatch: Any
) -> None:
    go_on, threads, told = threading.Event(), [], []
    real = module.preview_import

    def slow(*words: Any) -> Any:
        threads.append(threading.current_thread())
        told.append(words[-1])
        go_on.wait(20)
        return real(*words)

    monkeypatch.setattr(module, "preview_import", slow)
    panel.ask_import([images[0].parent])
    (dialog,) = panel.findChildren(ImportDialog)
    qtbot.waitUntil(lambda: bool(told), timeout=20_000)
    assert dialog.summary.text() == f"{module.LOOKING} …"
    told[0](7, 0)
    qtbot.waitUntil(lambda: dialog.summary.text() == f"{module.LOOKING} … 7")
    told[0](1_200, 3_000)
    text = f"{module.LOOKING} … 1,200 of 3,000"
    qtbot.waitUntil(lambda: dialog.summary.text() == text)
    assert not dialog.add_button.isEnabled()
    go_on.set()
    found(qtbot, dialog)
    assert threading.main_thread() not in threads
    assert dialog.add_button.isEnabled()
    dialog.reject()


def test_what_is_found_after_the_dialog_is_closed_is_let_go(
    qtbot: QtBot, panel: CohortPanel, images: list[Path], monkeypatch: Any
) -> None:
    go_on, ended = threading.Event(), threading.Event()
    real = module.preview_import

    def slow(*words: Any) -> Any:
        go_on.wait(20)
        ended.set()
        return real(*words)

    monkeypatch.setattr(module, "preview_import", slow)
    panel.ask_import([images[0].parent])
    (dialog,) = panel.findChildren(ImportDialog)
    dialog.reject()
    go_on.set()
    qtbot.waitUntil(ended.is_set, timeout=20_000)
    qtbot.wait(300)
    assert panel.findChildren(ImportDialog) == []
    assert panel.model.rowCount() == 0


def test_a_series_is_chosen_by_its_description_date_and_slices(
    qtbot: QtBot, panel: CohortPanel, fresh: Session, tmp_path: Path
) -> None:
    folder = write_two_series(tmp_path / "ward_7")
    panel.ask_import([folder])
    dialog = dialog_of(qtbot, panel)
    assert dialog.series.isVisible()
    (parent,) = [dialog.series.list.topLevelItem(0)]
    assert parent.text(0) == "ward_7"
    listed = [[parent.child(r).text(c) for c in range(4)] for r in range(2)]
    assert listed == [
        ["1", "T1 post", "2020-11-21", "12"],
        ["7", "scout", "2020-11-20", "11"],
    ]
    assert not dialog.add_button.isEnabled()
    assert rows(dialog.left_out) == [["ward_7", "holds 2 series: choose"]]
    parent.child(1).setCheckState(0, module.Qt.CheckState.Checked)
    qtbot.waitUntil(lambda: dialog.add_button.isEnabled(), timeout=20_000)
    assert dialog.series.chosen() == ("1.2.3.8",)
    assert rows(dialog.left_out) == []
    dialog.add_button.click()
    qtbot.waitUntil(lambda: panel.model.rowCount() == 1, timeout=20_000)
    (case,) = fresh.project.cases()
    assert case.id == "ward_7"
    assert case.geometry.shape_zyx[0] == 11


def test_one_tick_serves_the_series_of_that_name_in_all_folders(
    qtbot: QtBot, panel: CohortPanel, fresh: Session, tmp_path: Path
) -> None:
    for name in ("7", "8"):
        folder = tmp_path / "patients" / f"ward_{name}"
        write_two_series(folder, alike=True, patient=name)
    panel.ask_import([tmp_path / "patients"])
    dialog = dialog_of(qtbot, panel)
    tree = dialog.series.list
    first, second = (tree.topLevelItem(row) for row in range(2))
    first.child(1).setCheckState(0, module.Qt.CheckState.Checked)
    assert second.child(1).checkState(0) == module.Qt.CheckState.Checked
    qtbot.waitUntil(lambda: len(dialog.chosen) == 2, timeout=20_000)
    tree.topLevelItem(1).child(0).setCheckState(0, module.Qt.CheckState.Checked)
    assert tree.topLevelItem(0).child(0).checkState(0) == module.Qt.CheckState.Unchecked
    qtbot.waitUntil(lambda: len(dialog.chosen) == 3, timeout=20_000)
    tree.topLevelItem(0).child(0).setCheckState(0, module.Qt.CheckState.Checked)
    dialog.series.together.setChecked(True)
    qtbot.waitUntil(lambda: len(dialog.chosen) == 2, timeout=20_000)
    assert rows(dialog.pairs)[1][:2] == ["ward_8", "T1 post, scout"]
    dialog.add_button.click()
    qtbot.waitUntil(lambda: panel.model.rowCount() == 2, timeout=20_000)
    assert fresh.project.channels == ("T1 post", "scout")


def test_images_that_look_like_channels_are_asked_about(
    qtbot: QtBot, panel: CohortPanel, fresh: Session, images: list[Path]
) -> None:
    for number, path in enumerate(images[:2]):
        for ending in ("t1", "flair"):
            new = path.parent.parent / "brains" / f"p{number}_{ending}.nii.gz"
            new.parent.mkdir(exist_ok=True)
            shutil.copy(path, new)
    panel.ask_import([images[0].parent.parent / "brains"])
    dialog = dialog_of(qtbot, panel)
    assert len(dialog.chosen) == 4
    assert dialog.suggested.isVisible()
    assert dialog.suggested.text() == "Use FLAIR=_flair, T1=_t1"
    dialog.suggested.click()
    qtbot.waitUntil(lambda: len(dialog.chosen) == 2, timeout=20_000)
    assert not dialog.suggested.isVisible()
    assert rows(dialog.pairs)[1][:2] == ["p1", "FLAIR, T1"]
    dialog.channels.setText("T1=_t1, T1=_flair")
    dialog.channels.editingFinished.emit()
    found(qtbot, dialog)
    assert "expected channels as NAME=ENDING" in dialog.summary.text()
    assert not dialog.add_button.isEnabled()
    dialog.channels.setText("T1=_t1, FLAIR=_flair")
    dialog.channels.editingFinished.emit()
    qtbot.waitUntil(lambda: dialog.add_button.isEnabled(), timeout=20_000)
    dialog.add_button.click()
    qtbot.waitUntil(lambda: panel.model.rowCount() == 2, timeout=20_000)
    assert fresh.project.channels == ("T1", "FLAIR")


def test_structures_are_given_classes(
    qtbot: QtBot, panel: CohortPanel, fresh: Session, tmp_path: Path
) -> None:
    folder = write_two_series(tmp_path / "ward_7")
    for path in folder.glob("scout_*"):
        path.unlink()
    geometry, _ = read_geometry(folder)
    drawn = {
        name: [contour(geometry, 3, square(*ends))]
        for name, ends in (("Left atrium", (2.5, 9.5)), ("GTV", (11.5, 14.5)))
    }
    path = structure_set(tmp_path / "plans" / "rs.dcm", drawn)
    panel.ask_import([folder, path.parent])
    dialog = dialog_of(qtbot, panel)
    assert dialog.structures.isVisible()
    boxes = dialog.structures.boxes
    assert {name: box.currentText() for name, box in boxes.items()} == {
        "GTV": "leave out",
        "Left atrium": "left atrium",
    }
    boxes["GTV"].setCurrentText("scar")
    dialog.add_button.click()
    qtbot.waitUntil(lambda: "1 labelled" in panel.bar.text.text(), timeout=20_000)
    label = fresh.project.case("ward_7").read_label()
    assert np.bincount(label.ravel()).tolist()[1:] == [49, 9]


def test_labels_are_replaced_only_where_ticked(
    qtbot: QtBot, session: Session, project: Project, masks: Path
) -> None:
    before = np.zeros(project.case("case_0").geometry.shape_zyx, np.uint8)
    project.set_label("case_0", before)
    session.cases_changed.emit(None)
    panel = CohortPanel(session)
    qtbot.addWidget(panel)
    panel.ask_import((), masks)
    dialog = dialog_of(qtbot, panel)
    assert dialog.windowTitle() == "Attach masks"
    assert "tick to replace" in rows(dialog.pairs)[0][3]
    assert dialog.add_button.text() == "Attach 1 mask"
    dialog.add_button.click()
    qtbot.waitUntil(lambda: "2 labelled" in panel.bar.text.text(), timeout=20_000)
    assert not project.case("case_0").read_label().any()
    assert project.case("case_1").read_label().any()
