from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor

from napari_semiseg.core.case import CaseState
from napari_semiseg.project.cases.history import Viewed
from napari_semiseg.project.review.accept import accept, review_items
from napari_semiseg.widgets.common.thumbnails import SIZE, draw_planes
from napari_semiseg.widgets.gallery.dialog import GalleryDialog
from napari_semiseg.widgets.gallery.model import GalleryModel, Order, Show, describe
from widgets.viewing import BLOCK, Answers, store_prediction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot
    from qtpy.QtGui import QImage

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session

SOON_MS = 20_000


@pytest.fixture
def predicted(project: Project) -> Project:
    """Predictions of three of the four cases."""
    for name in ("case_0", "case_1", "case_2"):
        store_prediction(project, name)
    return project


@pytest.fixture
def dialog(
    qtbot: QtBot, session: Session, predicted: Project
) -> Iterator[GalleryDialog]:
    made = GalleryDialog(session, predicted)
    made.questions = Answers()  # type: ignore[assignment]
    made.show()
    qtbot.waitUntil(lambda: len(made.model.rows) == 3, timeout=SOON_MS)
    yield made
    made.close()
    made.deleteLater()


def listed(dialog: GalleryDialog) -> list[str]:
    return [item.case.id for item in dialog.model.rows]


def colours(picture: QImage) -> set[str]:
    return {
        QColor(picture.pixel(x, y)).name()
        for x in range(picture.width())
        for y in range(picture.height())
    }


def test_three_planes_have_the_outline_in_the_colour_of_the_class(
    project: Project,
) -> None:
    case = project.case("case_0")
    labels = np.zeros(case.geometry.shape_zyx, np.uint8)
    labels[BLOCK] = 1
    voxels = case.read_image().data
    drawn = draw_planes(voxels, labels, case.geometry, project.labels)
    plain = draw_planes(voxels, 0 * labels, case.geometry, project.labels)
    assert len(drawn) == 3
    for picture, without in zip(drawn, plain, strict=True):
        assert (picture.width(), picture.height()) == (SIZE, SIZE)
        orange = {c for c in colours(picture) if QColor(c).saturation() > 120}
        assert orange
        assert not {c for c in colours(without) if QColor(c).saturation() > 120}


def test_pictures_are_in_true_proportions(project: Project) -> None:
    """A sagittal slice of 20 mm along z and 12 mm along y is black at both sides."""
    case = project.case("case_0")  # 10 x 2 mm, 12 x 1 mm, 14 x 1 mm
    labels = np.zeros(case.geometry.shape_zyx, np.uint8)
    voxels = np.full(case.geometry.shape_zyx, 100, np.int16)
    voxels[:, :, :2] = 0
    sagittal = draw_planes(voxels, labels, case.geometry, project.labels)[2]
    middle = [QColor(sagittal.pixel(x, SIZE // 2)).value() for x in range(SIZE)]
    bright = [x for x, value in enumerate(middle) if value > 200]
    assert (bright[-1] - bright[0] + 1) / SIZE == pytest.approx(12 / 20, abs=0.02)


def test_cases_are_listed_with_pictures_and_words(
    dialog: GalleryDialog, qtbot: QtBot, predicted: Project
) -> None:
    assert listed(dialog) == ["case_0", "case_1", "case_2"]
    item = dialog.model.rows[0]
    assert describe(item).splitlines()[:3] == ["case_0", "never opened", "unsure 0.40"]
    assert "3 predictions, 3 never opened" in dialog.summary.text()
    assert "accept 5 more" in dialog.summary.text()
    index = dialog.model.index(0, 1)
    qtbot.waitUntil(
        lambda: dialog.model.data(index, Qt.ItemDataRole.DecorationRole) is not None,
        timeout=SOON_MS,
    )


def test_ticked_predictions_are_accepted_and_marked(
    dialog: GalleryDialog, qtbot: QtBot, predicted: Project, session: Session
) -> None:
    assert not dialog.accept_button.isEnabled()
    for row in (0, 2):
        dialog.model.setData(
            dialog.model.index(row, 0),
            Qt.CheckState.Checked,
            Qt.ItemDataRole.CheckStateRole,
        )
    assert dialog.accept_button.text() == "Accept 2"
    dialog.accept_button.click()
    assert dialog.questions.asked == ["Accept 2 predictions?"]
    qtbot.waitUntil(lambda: listed(dialog) == ["case_1"], timeout=SOON_MS)
    states = {case.id: case.state for case in predicted.cases()}
    assert states["case_0"] is states["case_2"] is CaseState.LABELLED
    assert predicted.case("case_0").accepted_unseen
    assert not predicted.case("case_1").has_label

    dialog.show_box.setCurrentText(Show.UNSEEN)
    assert sorted(listed(dialog)) == ["case_0", "case_2"]
    dialog.all.click()
    assert dialog.reopen_button.text() == "Reopen 2"
    dialog.reopen_button.click()
    assert len(dialog.questions.asked) == 1  # nobody's own work is among them
    qtbot.waitUntil(lambda: listed(dialog) == [], timeout=SOON_MS)
    assert predicted.case("case_0").state is CaseState.PROPOSED


def test_a_no_leaves_everything(
    dialog: GalleryDialog, qtbot: QtBot, predicted: Project
) -> None:
    dialog.questions.to_confirm = False
    dialog.all.click()
    dialog.accept_button.click()
    qtbot.wait(100)
    assert not any(case.has_label for case in predicted.cases())


def test_what_was_opened_needs_no_question_and_is_seen(
    dialog: GalleryDialog, qtbot: QtBot, predicted: Project, session: Session
) -> None:
    run = predicted.prediction_run("case_1")
    predicted.note("case_1", Viewed(minutes=0.2, run=run.id, step=5))
    session.cases_changed.emit({"case_1"})
    qtbot.waitUntil(
        lambda: [item.seen for item in dialog.model.rows] == [False, True, False],
        timeout=SOON_MS,
    )
    dialog.model.check(["case_1"])
    dialog.accept_button.click()
    assert dialog.questions.asked == []
    qtbot.waitUntil(lambda: len(listed(dialog)) == 2, timeout=SOON_MS)
    assert not predicted.case("case_1").accepted_unseen
    assert predicted.case("case_1").has_label


def test_space_ticks_and_enter_opens(
    dialog: GalleryDialog, qtbot: QtBot, session: Session
) -> None:
    asked: list[str] = []
    keep = asked.append
    session.case_requested.connect(keep)
    dialog.table.selectRow(1)
    qtbot.keyClick(dialog.table, Qt.Key.Key_Space)
    assert dialog.model.checked == {"case_1"}
    qtbot.keyClick(dialog.table, Qt.Key.Key_Space)
    assert dialog.model.checked == set()
    qtbot.keyClick(dialog.table, Qt.Key.Key_Return)
    assert asked == ["case_1"]


def test_the_worst_come_first_and_the_good_are_ticked_at_once(
    dialog: GalleryDialog, qtbot: QtBot, predicted: Project
) -> None:
    from napari_semiseg.project.review.quality_estimate import Estimate

    known = {"case_0": 0.95, "case_1": 0.7, "case_2": 0.9}
    found = []
    for item in review_items(predicted):
        dice = known[item.case.id]
        estimate = Estimate(dice, dice - 0.02, dice + 0.04)
        found.append(replace(item, estimate=estimate))
    dialog.model.set_items(found)
    dialog.model.arrange(Show.WAITING, Order.WORST)
    assert listed(dialog) == ["case_1", "case_2", "case_0"]
    assert "Dice 0.70 (0.68\u20130.74)" in describe(dialog.model.rows[0])
    dialog.model.arrange(Show.WAITING, Order.BEST)
    assert listed(dialog) == ["case_0", "case_2", "case_1"]
    assert dialog.good.isEnabled()
    dialog.good.click()
    assert dialog.model.checked == {"case_0", "case_2"}


def test_a_thousand_cases_do_not_hang(
    qtbot: QtBot, session: Session, predicted: Project
) -> None:
    made = GalleryDialog(session, predicted)
    made.show()
    qtbot.waitUntil(lambda: len(made.model.rows) == 3, timeout=SOON_MS)
    one = made.model.rows[0]
    many = []
    for number in range(1000):
        record = one.case.record.model_copy(update={"id": f"c{number:04d}"})
        many.append(replace(one, case=replace(one.case, record=record)))
    drawn: list[str] = []
    made.model.thumbnails.ready.connect(drawn.append)
    began = time.perf_counter()
    made.model.set_items(many)
    made.model.arrange(Show.WAITING, Order.NAME)
    qtbot.wait(1)
    assert time.perf_counter() - began < 2
    made.table.scrollToBottom()
    qtbot.waitUntil(lambda: "c0999" in drawn, timeout=SOON_MS)
    assert len(drawn) < 60  # only what was ever on the screen
    made.close()
    made.deleteLater()


def test_a_picture_that_cannot_be_made_is_shown_in_words(
    qtbot: QtBot, predicted: Project
) -> None:
    [item] = [item for item in review_items(predicted) if item.case.id == "case_0"]
    item.mask.write_bytes(b"torn")
    drawer = GalleryModel(predicted.labels)
    qtbot.waitUntil(lambda: drawer.pictures(item) is not None, timeout=SOON_MS)
    assert "labels.nii.gz" in str(drawer.pictures(item))
    drawer.thumbnails.close()


def test_a_newer_prediction_of_the_same_run_has_new_pictures(
    qtbot: QtBot, predicted: Project
) -> None:
    drawer = GalleryModel(predicted.labels)

    def drawn() -> list[QImage]:
        item = next(one for one in review_items(predicted) if one.case.id == "case_0")
        qtbot.waitUntil(lambda: drawer.pictures(item) is not None, timeout=SOON_MS)
        made = drawer.pictures(item)
        assert isinstance(made, list)
        return made

    first = drawn()
    run, case = predicted.prediction_run("case_0"), predicted.case("case_0")
    known = run.read_prediction("case_0", case.geometry)
    later = known.record.model_copy(update={"step": known.record.step + 1})
    nothing = np.zeros_like(known.labels)
    run.write_prediction(replace(known, record=later, labels=nothing), case.image)
    assert drawn()[0] != first[0]
    drawer.thumbnails.close()


def test_it_ends_with_the_project(
    dialog: GalleryDialog, session: Session, qtbot: QtBot
) -> None:
    session.close_project()
    qtbot.waitUntil(lambda: not dialog.isVisible(), timeout=SOON_MS)


def test_edits_of_people_are_not_listed(session: Session, predicted: Project) -> None:
    shape = predicted.case("case_0").geometry.shape_zyx
    predicted.save_draft("case_0", np.zeros(shape, np.uint8))
    predicted.set_excluded("case_1", True)
    accept(predicted, ["case_2"])
    found = review_items(predicted)
    assert [(item.case.id, item.accepted, item.seen) for item in found] == [
        ("case_2", True, False)
    ]
