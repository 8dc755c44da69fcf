"""What an annotator does on real scans, by keyboard and mouse, while a model learns.

Sparse labels, filling in, tools, undo, the queue, how well it goes, a training that
takes corrections in, and accepting several at once. Pictures of every stage are kept
in ``test-artefacts/annotators-walk``, see `person`.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import napari
import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_semiseg.core.case import CaseState
from napari_semiseg.core.events import Learned
from napari_semiseg.project.review.corrections import effort
from napari_semiseg.widgets.canvas.annotation import PAINTED
from napari_semiseg.widgets.gallery.model import Show
from napari_semiseg.widgets.review.panel import AGAIN_S
from napari_semiseg.widgets.review.queue import WHY
from widgets.earlier import earlier_model
from widgets.mask_stages import (
    Scans,
    fill_between,
    mask_of,
    move_boundary,
    one_step,
    sparse_labels,
    to_plane,
    tools_on_the_mask,
    undo_after_change_of_case,
)
from widgets.person import (
    CONTROL,
    LATER_MS,
    LEFT,
    LONG_MS,
    LONGEST_STALL_S,
    NONE,
    SHIFT,
    SIZE,
    WALK,
    Heartbeat,
    Person,
    atria,
    tell,
)
from widgets.viewing import Answers

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.gallery.dialog import GalleryDialog

pytestmark = list(WALK)

LABELLED, PREDICTED = 2, 6
OFF_MM = (4.0, 3.0, 2.0, 1.5, 1.0, 0.5)
SMALL = (1366, 768)


@pytest.fixture
def scans(tmp_path: Path) -> Scans:
    made, masks = atria(tmp_path / "atria", labelled=LABELLED, unlabelled=1 + PREDICTED)
    blank, *predicted = (case.id for case in made.cases(state=CaseState.UNLABELLED))
    off_mm = dict(zip(predicted, OFF_MM, strict=True))
    run = earlier_model(made, masks, off_mm)
    return Scans(made, masks, run, blank, tuple(predicted))


def test_from_sparse_labels_to_accepted_masks(
    scans: Scans, window: None, qtbot: QtBot, no_torch: None
) -> None:
    began = time.perf_counter()
    person = Person(napari.current_viewer(), qtbot, "annotators-walk")
    assert person.panel.open_project(scans.project.folder)
    stages = (
        sparse_labels,
        fill_between,
        tools_on_the_mask,
        undo_after_change_of_case,
        worst_first,
        how_well_it_goes,
        train_on_corrections,
        accept_several,
    )
    for stage in stages:
        at = time.perf_counter()
        stage(person, scans)
        tell(f"{stage.__name__}: {time.perf_counter() - at:.0f} s")
    # What a tool changed and nobody painted is asked about when it is accepted.
    assert [one.split(":")[0] for one in person.answers.asked] == ["Painted or done"]
    assert "torch" not in sys.modules
    tell(f"walked in {time.perf_counter() - began:.0f} s")


# -- 5: the queue --------------------------------------------------------------------


def worst_first(person: Person, scans: Scans) -> None:
    """Reasons, an order to choose, worst slices, put off, flagged."""
    view, review = person.panel.case_view, person.panel.review
    box, tree = review.queue_box, review.queue
    person.wait_for(lambda: scans.predicted[-1] in tree.cases())
    assert tree.cases()[0] == scans.predicted[1]  # the first was predicted anew
    rows = [tree.item(n) for n in range(tree.count())]
    assert all("boundary uncertain" in row.data(WHY) for row in rows[:PREDICTED])
    assert rows[0].data(WHY).rpartition(", ")[2].startswith(("axial", "coronal"))
    person.picture("13-queue")
    before, hint = tree.cases(), box.text.text()
    other = box.order.itemText((box.order.currentIndex() + 1) % box.order.count())
    person.choose(box.order, other)
    QTest.keyClick(box.order, Qt.Key.Key_Return)
    person.wait_for(lambda: box.text.text() != hint)
    assert sorted(tree.cases()) == sorted(before)

    plane = int(person.viewer.dims.order[0])
    slices = view.model.doubtful_slices(plane)
    new = [one for one in slices if not view.editing.was_seen(plane, one.index)]
    for one in new:  # all of the plane before any other
        person.press(Qt.Key.Key_W)
        assert view.viewer.dims.order[0] == plane
        assert one.reason in person.panel.status.text()
    assert all(view.editing.was_seen(plane, one.index) for one in slices)
    person.window.setGeometry(0, 0, *SMALL)
    person.wait_for(view.canvases._settle.isActive)
    person.wait_for(lambda: not view.canvases._settle.isActive())
    person.picture("14-worst-slice-small-screen")
    person.window.setGeometry(0, 0, *SIZE)

    skipped = view.case.id
    person.press(Qt.Key.Key_S, SHIFT)
    person.wait_for(lambda: view.case.id != skipped)
    person.wait_for(lambda: tree.cases()[-1] == skipped)
    flag_with_comment(person, scans, view.case.id)


def flag_with_comment(person: Person, scans: Scans, case_id: str) -> None:
    def fill() -> None:
        dialog = QApplication.activeModalWidget()
        if dialog is None:
            QTimer.singleShot(100, fill)
            return
        QTest.keyClicks(dialog.comment, "motion, ask the radiologist")
        person.picture("15-flag", dialog)
        QTest.keyClick(dialog.comment, Qt.Key.Key_Return)

    QTimer.singleShot(100, fill)
    person.press(Qt.Key.Key_F, SHIFT)
    assert scans.project.case(case_id).record.flag == "motion, ask the radiologist"
    assert "motion, ask the radiologist" in person.panel.review.card.source.text()
    person.picture("16-flagged")


# -- 6: how well it goes -------------------------------------------------------------


def how_well_it_goes(person: Person, scans: Scans) -> None:
    """Correct two predictions; their points open them."""
    view, progress = person.panel.case_view, person.panel.progress
    corrected = scans.predicted[:2]
    for name in corrected:
        person.open_case(name)
        to_plane(person, 0)
        move_boundary(person, -1.0)
        person.press(Qt.Key.Key_U)
        person.qtbot.wait(round(1000 * AGAIN_S))  # no person is quicker
        person.press(Qt.Key.Key_N)
        person.wait_for(lambda done=name: view.case.id != done, LATER_MS)
        assert scans.project.case(name).state is CaseState.LABELLED
    person.tab("Progress")
    (points,) = progress.dice.points
    spots = points.points()
    dice = [effort(scans.project.case(name).record).dice for name in corrected]
    assert [spot.data() for spot in spots] == list(corrected)
    assert [spot.pos().y() for spot in spots] == pytest.approx(dice)
    assert all(0.5 < value < 1 for value in dice)
    assert "2 corrections" in progress.agreement.unit.text()
    person.picture("17-progress")
    plot = progress.dice._plot
    at = plot.mapFromScene(points.mapToScene(spots[0].pos()))
    QTest.mouseMove(plot.viewport(), at)
    QTest.mouseClick(plot.viewport(), LEFT, NONE, at)
    person.wait_for(lambda: view.case.id == corrected[0])


# -- 7: a training that takes corrections in -----------------------------------------


def train_on_corrections(person: Person, scans: Scans) -> None:
    view, training = person.panel.case_view, person.panel.training
    person.open_case(scans.blank)
    person.start_training()
    person.wait_for(lambda: len(person.drawn_steps()) > 0, LONG_MS)
    run = scans.project.latest_run()
    person.tab("Review")
    person.answers.to_choose = PAINTED  # where something was filled in
    person.press(Qt.Key.Key_A, SHIFT)
    case = scans.project.case(scans.blank)
    assert case.state is CaseState.PARTIAL
    assert 0.02 < case.annotated_fraction < 0.5
    person.tab("Cohort")
    row = next(row for row in person.panel.cohort.model.rows if row.id == scans.blank)
    assert row.annotated == case.annotated_fraction
    assert row.annotated == pytest.approx(view.editing.annotated, abs=1e-6)
    person.picture("18-annotated-fraction")
    heart = Heartbeat()
    person.wait_for(lambda: learned(run, scans.blank), LONG_MS)
    heart.stop()
    assert heart.own < LONGEST_STALL_S, heart.told()
    person.tab("Train")
    said = training.progress.messages
    person.wait_for(lambda: "learns from the new labels" in said.text())
    assert scans.blank in said.text()
    person.wait_for(lambda: training.progress.losses.marks)
    person.picture("19-learns-from-it")

    name = scans.predicted[2]
    person.open_case(name)
    old, heart = mask_of(person), Heartbeat()
    person.wait_for(lambda: view.prediction.record.run == run.id, LONG_MS)
    heart.stop()
    assert heart.own < LONGEST_STALL_S, heart.told()
    assert np.array_equal(view.editing.whole(), view.prediction.labels)
    assert run.id in view.text
    tell(f"{name} shows step {view.prediction.record.step} of the training")
    person.picture("20-predicted-anew")
    one_step(person, old)
    person.press(Qt.Key.Key_Z, CONTROL | SHIFT)
    if training.monitor.active:
        person.tab("Train")
        person.click(training.stop_button)
        person.wait_for(lambda: not training.monitor.active, LONG_MS)
    assert scans.project.latest_run().id == run.id


def learned(run: Run, case_id: str) -> bool:
    """Whether the log of the training says that it learns from this label."""
    events = [event for event in run.events() if isinstance(event, Learned)]
    return any(case_id in event.cases for event in events)


# -- 8: accept several ---------------------------------------------------------------


def accept_several(person: Person, scans: Scans) -> None:
    """Tick two that nobody has opened, accept, reopen one of them."""
    person.tab("Progress")
    person.click(person.panel.progress.accept_button)
    gallery = person.panel.progress.gallery
    assert gallery is not None
    gallery.questions = answers = Answers()
    model = gallery.model
    person.wait_for(lambda: len(model.rows) >= 3, LATER_MS)
    person.wait_for(lambda: len(pictured(gallery)) == len(model.rows), LATER_MS)
    chosen = [item.case.id for item in model.rows if not item.seen][:2]
    for name in chosen:
        tick(person, gallery, name)
    assert gallery.accept_button.text() == "Accept 2"
    person.picture("21-accept-several", gallery)
    person.click(gallery.accept_button)
    assert answers.asked == ["Accept 2 predictions?"]
    person.wait_for(lambda: model.checked == set() and gallery.isEnabled(), LATER_MS)
    person.wait_for(lambda: all(scans.project.case(n).accepted_unseen for n in chosen))

    person.choose(gallery.show_box, Show.UNSEEN)
    person.wait_for(lambda: {item.case.id for item in model.rows} == set(chosen))
    tick(person, gallery, chosen[0])
    person.wait_for(lambda: len(pictured(gallery)) == 2, LATER_MS)
    person.picture("22-accepted-unseen", gallery)
    person.click(gallery.reopen_button)
    person.wait_for(
        lambda: [item.case.id for item in model.rows] == chosen[1:], LATER_MS
    )
    person.click(person.button("Close", gallery))
    person.tab("Cohort")
    table = person.panel.cohort.table.proxy
    words = {
        table.index(n, 0).data(): table.index(n, 1).data()
        for n in range(table.rowCount())
    }
    assert words[chosen[1]] == "unseen"
    assert words[chosen[0]] == CaseState.PROPOSED
    assert words[scans.blank] == CaseState.PARTIAL
    person.picture("23-accepted-unseen-in-the-table")


def pictured(gallery: GalleryDialog) -> list[int]:
    """Rows with a picture."""
    model, role = gallery.model, Qt.ItemDataRole.DecorationRole
    rows = range(len(model.rows))
    return [row for row in rows if model.data(model.index(row, 1), role) is not None]


def tick(person: Person, gallery: GalleryDialog, name: str) -> None:
    """Click the row of a case, then Space."""
    row = next(n for n, item in enumerate(gallery.model.rows) if item.case.id == name)
    index = gallery.model.index(row, 2)
    gallery.table.scrollTo(index)
    person.click(gallery.table.viewport(), gallery.table.visualRect(index).center())
    QTest.keyClick(gallery.table, Qt.Key.Key_Space)
    assert name in gallery.model.checked
