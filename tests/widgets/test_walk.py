"""The whole loop on real scans, as a person does it with keyboard and mouse.

Pictures of every stage are kept in ``test-artefacts/walk``, see `person`.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import napari
import nibabel
import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QFileDialog

from napari_semiseg.core.case import CaseState
from widgets.person import (
    BEAT_MS,
    CONTROL,
    LATER_MS,
    LEFT,
    LONG_MS,
    LONGEST_STALL_S,
    SHIFT,
    WALK,
    Heartbeat,
    Person,
    atria,
    coloured,
    tell,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

pytestmark = list(WALK)

LABELLED, UNLABELLED = 2, 3
TRAIN_S, MINUTES = 15.0, 3
ENOUGH_STEPS = 150
"""After fewer the model may find nothing, and there is nothing to correct."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Five scans of the left atrium, two with the reference masks."""
    made, _ = atria(tmp_path / "atria", labelled=LABELLED, unlabelled=UNLABELLED)
    return made


def test_open_paint_train_review_correct_accept_export(
    project: Project,
    window: None,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    no_torch: None,
) -> None:
    began = time.perf_counter()
    person = Person(napari.current_viewer(), qtbot, "walk")
    waiting = [case.id for case in project.cases(state=CaseState.UNLABELLED)]
    open_project(person, project, monkeypatch)
    paint_and_accept(person, project, waiting[0])
    person.start_training(MINUTES)
    watch_curves(person)
    run = stop_training(person, project)
    predict(person, run, waiting)
    look_at_three_canvases(person, waiting[1])
    mask = correct_and_accept(person, project, run, waiting[1])
    assert_label_on_disk(project, waiting[1], mask)
    undo_writes_nothing(person, waiting[1])
    export(person, project, tmp_path / "out")
    assert person.answers.asked == []
    assert "torch" not in sys.modules
    tell(f"walked in {time.perf_counter() - began:.0f} s")


def open_project(
    person: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    person.picture("01-start")
    chosen = str(project.folder)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: chosen)
    panel = person.panel
    person.click(panel.start_page.open_button)
    person.wait_for(lambda: panel.cohort.model.rowCount() == LABELLED + UNLABELLED)
    assert panel.header.next_button.text() == "Next: train, 2 labels are new"
    person.picture("02-cohort")


def paint_and_accept(person: Person, project: Project, case_id: str) -> None:
    """Paint two slices of a case by hand and accept those."""
    person.open_case(case_id)
    view = person.panel.case_view
    person.press(Qt.Key.Key_1)
    assert view.mask.mode == "paint"
    assert (view.mask.data == 255).all()
    first = view.slice_index
    for index in (first, first + 1):
        assert view.slice_index == index
        person.drag([(0.45, 0.45), (0.55, 0.45), (0.55, 0.55), (0.46, 0.54)])
        painted = np.flatnonzero((view.mask.data == 1).any(axis=(1, 2)))
        assert painted.tolist() == list(range(first, index + 1))
        person.press(Qt.Key.Key_D)
        assert view.editing.is_done(0, index)
        person.press(Qt.Key.Key_Right)
    person.press(Qt.Key.Key_Left)
    assert np.count_nonzero(view.mask.data == 1) > 300
    person.picture("03-painted")
    person.press(Qt.Key.Key_A, SHIFT)
    case = project.case(case_id)
    assert case.state is CaseState.PARTIAL
    label = case.read_label()
    assert np.unique(label[first : first + 2]).tolist() == [0, 1]
    assert (np.delete(label, [first, first + 1], axis=0) == 255).all()


def watch_curves(person: Person) -> None:
    """See the curves grow while nothing in the window stands still."""
    heart = Heartbeat()
    person.wait_for(lambda: len(person.drawn_steps()) > 0, LONG_MS)
    seen, end = [person.drawn_steps()], time.perf_counter() + TRAIN_S
    while time.perf_counter() < end or len(seen[-1]) < 5:
        person.qtbot.wait(1000)
        seen.append(person.drawn_steps())
        assert time.perf_counter() < end + LATER_MS / 1000
    heart.stop()
    person.wait_for(lambda: max(person.drawn_steps()) >= ENOUGH_STEPS, LONG_MS)
    tell(
        f"largest gap of a {BEAT_MS} ms timer while training: {heart.worst:.2f} s, "
        f"{heart.own:.2f} s without waiting for a processor"
    )
    assert len(seen[-1]) > len(seen[0])
    assert all(len(a) <= len(b) for a, b in pairwise(seen))
    assert (np.diff(seen[-1]) > 0).all()
    assert heart.own < LONGEST_STALL_S, heart.told()
    person.picture("04-training")


def stop_training(person: Person, project: Project) -> Run:
    training = person.panel.training
    person.click(training.stop_button)
    person.wait_for(lambda: not training.monitor.active, LONG_MS)
    run = project.latest_run()
    assert run is not None
    assert run.status == "cancelled"
    assert run.steps_done > 0
    assert f"Stopped at step {run.steps_done}" in training.progress.text.text()
    person.picture("05-stopped")
    return run


def predict(person: Person, run: Run, cases: Sequence[str]) -> None:
    training = person.panel.training
    person.click(training.predict_button)
    person.wait_for(lambda: not training.monitor.active, LONG_MS)
    assert set(run.predicted()) == set(cases)
    person.tab("Cohort")
    states = {row.id: row.state for row in person.panel.cohort.model.rows}
    assert [states[case_id] for case_id in cases] == [
        CaseState.PARTIAL,
        CaseState.PROPOSED,
        CaseState.PROPOSED,
    ]
    person.picture("06-predicted")


def look_at_three_canvases(person: Person, case_id: str) -> None:
    person.open_case(case_id)
    canvases = person.panel.case_view.canvases
    person.wait_for(lambda: canvases.shown and not canvases._settle.isActive())
    views = canvases.views
    assert views is not None
    person.picture("07-three-canvases")
    shots = {"main": person.viewer.window._qt_viewer.screenshot(flash=False)}
    for name, side in (("distance", views.distance), ("doubt", views.uncertainty)):
        shots[name] = side.view.screenshot(flash=False)
    assert person.canvas.width() >= 2 * views.width()
    for shot in shots.values():
        assert shot[..., :3].std() > 10
    for name in ("distance", "doubt"):
        assert coloured(shots[name]) > 0.01


def correct_and_accept(
    person: Person, project: Project, run: Run, case_id: str
) -> np.ndarray[Any, Any]:
    """Paint into the proposal, accept it and go on, all by key and mouse."""
    view = person.panel.case_view
    proposed = view.editing.whole()
    assert np.array_equal(
        proposed, run.read_prediction(case_id, project.case(case_id).geometry).labels
    )
    person.press(Qt.Key.Key_W)
    while view.viewer.dims.order[0] != 0:
        person.press(Qt.Key.Key_Q)
    person.press(Qt.Key.Key_1)
    person.press(Qt.Key.Key_P)
    person.drag([(0.1, 0.45), (0.9, 0.45)])
    person.press(Qt.Key.Key_E)
    person.drag([(0.1, 0.55), (0.9, 0.55)])
    person.press(Qt.Key.Key_P)
    corrected = view.editing.whole()
    assert (corrected != proposed).any()
    person.wait_for(lambda: "not saved" in person.panel.review.saved.text())
    person.picture("08-corrected")
    person.press(Qt.Key.Key_N)
    person.wait_for(lambda: person.panel.session.case_id != case_id)
    assert project.case(case_id).state is CaseState.LABELLED
    row = next(row for row in person.panel.cohort.model.rows if row.id == case_id)
    entry = project.case(case_id).record.history[-1]
    both = np.count_nonzero(proposed) + np.count_nonzero(corrected)
    dice = 2 * np.count_nonzero(proposed & corrected) / both
    assert row.state is CaseState.LABELLED
    assert row.dice == entry.corrective_dice == pytest.approx(dice, abs=1e-3)
    assert entry.run == run.id
    return corrected


def assert_label_on_disk(
    project: Project, case_id: str, mask: np.ndarray[Any, Any]
) -> None:
    case = project.case(case_id)
    source, stored = (
        nibabel.load(case.image),
        nibabel.load(project.layout.case(case_id).label),
    )
    assert stored.shape == source.shape
    assert np.array_equal(stored.affine, source.affine)
    assert stored.header["sform_code"] == source.header["sform_code"]
    assert stored.header["qform_code"] == source.header["qform_code"]
    assert stored.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(stored.dataobj), case.geometry.to_native(mask))


def undo_writes_nothing(person: Person, before: str) -> None:
    """Ctrl+Z after the change of case leaves the new mask alone."""
    view = person.panel.case_view
    assert view.case is not None
    assert view.case.id != before
    opened = view.mask.data.copy()
    for _ in range(3):
        person.press(Qt.Key.Key_Z, CONTROL)
    assert np.array_equal(view.mask.data, opened)
    assert not view.dirty
    person.drag([(0.1, 0.5), (0.9, 0.5)])
    assert not np.array_equal(view.mask.data, opened)
    person.press(Qt.Key.Key_Z, CONTROL)
    assert np.array_equal(view.mask.data, opened)
    person.picture("09-next-case")


def export(person: Person, project: Project, folder: Path) -> None:
    """Fill the dialog and look at what it wrote."""
    seen: list[str] = []

    def fill() -> None:
        dialog = QApplication.activeModalWidget()
        if dialog is None:
            QTimer.singleShot(100, fill)
            return
        seen.append(dialog.windowTitle())
        person.retype(dialog.folder, str(folder))
        person.picture("10-export", dialog)
        box = dialog.findChild(QDialogButtonBox)
        [accept] = [one for one in box.buttons() if one.text() == "Export"]
        QTest.mouseClick(accept, LEFT)

    person.tab("Review")
    QTimer.singleShot(100, fill)
    person.pick(person.panel.review.menu, "Export masks…")
    assert seen == ["Export masks"]
    person.wait_for(lambda: "Wrote" in person.panel.status.text(), LATER_MS)
    person.picture("11-exported")
    for case in project.cases():
        source = nibabel.load(case.image)
        (path,) = folder.rglob(f"{case.id}*.nii.gz")
        mask = nibabel.load(path)
        assert mask.shape == source.shape
        assert np.array_equal(mask.affine, source.affine)
        assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1, 255}
    assert (folder / "volumes.csv").is_file()
    assert (folder / "manifest.json").is_file()
