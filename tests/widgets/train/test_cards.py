"""Cards of the Train tab: quality, pictures of one scan, and what a model changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_semiseg.core.case import Split
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import (
    Learned,
    Pictured,
    Started,
    Stepped,
    Validated,
)
from napari_semiseg.project.runs.pictures import Pictures
from napari_semiseg.project.runs.run import Run
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.train.changes import ChangesCard
from napari_semiseg.widgets.train.pictures import PicturesCard
from napari_semiseg.widgets.train.quality import (
    AGREEMENT,
    CORRECTED,
    VALIDATION,
    QualityCard,
    smoothed,
)
from napari_semiseg.widgets.train.sentence import kind_of_scan
from synthetic import prediction_of

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session

WAIT_MS = 30_000
WIDEST = 276
"""Pixels that content may ask for: the panel has 300 in a small window."""


def stepped(step: int, seconds: float, left: float = 600) -> Stepped:
    values = {"losses": {}, "learning_rate": 0.1}
    return Stepped(step=step, steps=100, seconds=seconds, seconds_left=left, **values)


# -- quality


@pytest.fixture
def quality(qtbot: QtBot) -> QualityCard:
    made = QualityCard()
    qtbot.addWidget(made)
    return made


def test_the_best_measure_that_there_is_is_drawn_and_named(
    quality: QualityCard,
) -> None:
    quality.draw()
    assert quality.measure is None
    assert quality.isHidden()
    quality.show_event(stepped(10, 60))
    quality.show_event(Pictured(step=3, case="a", seconds=20, agreement=None))
    assert quality.measure is None
    for step in (6, 9):
        quality.show_event(Pictured(step=step, case="a", seconds=40, agreement=0.7))
    quality.draw()
    assert quality.measure is AGREEMENT
    assert quality.title.text() == "How much it still changes"
    assert "not that they are right" in quality.words.text()
    quality.set_corrections([(5, 0.8)])
    assert quality.measure is AGREEMENT
    quality.set_corrections([(5, 0.8), (10, 0.9)])
    quality.draw()
    assert quality.measure is CORRECTED
    assert quality.unit.text() == "Dice"
    assert quality.note.text() == "your corrections"
    quality.set_corrections([(5, 0.8), (10, 0.9), (10, 1.0)])
    quality.draw()
    assert quality.unit.text() == "Dice (0.82\u20130.98)"  # 4 of 5 of the cases
    cases = {"x": 0.6, "y": 0.7, "z": 0.8}
    quality.show_event(Validated(step=10, dice={"a": 0.5, "b": 0.9}, cases=cases))
    quality.draw()
    assert quality.unit.text() == "Dice (0.62\u20130.78)"
    assert quality.note.text() == "3 labels not learnt from"
    assert quality.measure is VALIDATION
    assert quality.value.text() == "0.70"
    assert quality.minimumSizeHint().width() <= WIDEST
    assert quality.words.text() == "a 0.50 \u00b7 b 0.90"
    assert not quality.isHidden()


def test_the_curve_is_drawn_over_minutes_and_smoothed(quality: QualityCard) -> None:
    rng = np.random.default_rng(0)
    noisy = 0.9 - 0.4 * np.exp(-np.arange(1, 41) / 10) + rng.normal(0, 0.02, 40)
    for step, value in enumerate(noisy, start=1):
        quality.show_event(stepped(step, 30 * step))
        quality.show_event(Validated(step=step, dice={"a": float(value)}))
    quality.show_event(
        Learned(step=20, cases=("a",), dropped=(), labelled=2, unlabelled=1)
    )
    quality.draw()
    x, y = quality.curve.line.getData()
    assert x == pytest.approx(np.arange(1, 41) / 2)
    assert np.abs(np.diff(y)).max() < np.abs(np.diff(noisy)).max() / 2
    assert [line.value() for line in quality.curve.marks] == [10]
    assert "Dashed: labels came in." in quality.words.text()
    (low, high) = quality.curve._plot.getPlotItem().getViewBox().viewRange()[1]
    assert (low, high) == pytest.approx((0.48, 1.02), abs=0.01)
    assert quality.words.text().startswith(("Still rising. ", "Level by now. "))
    assert quality.dice == pytest.approx(noisy[-1])


def test_corrections_of_one_model_are_no_curve(quality: QualityCard) -> None:
    """All of its predictions were made at its last step."""
    quality.set_corrections([(900, 0.9), (900, 0.8), (900, 0.85)])
    quality.draw()
    assert quality.value.text() == "0.85"
    assert quality.curve.isHidden()
    assert quality.words.text().startswith("1.0 = ")


def test_what_a_resumed_training_does_again_is_not_drawn_twice(
    quality: QualityCard,
) -> None:
    for step in (10, 20, 30):
        quality.show_event(stepped(step, step))
        quality.show_event(Validated(step=step, dice={"a": step / 100}))
    quality.show_event(Started(run="r", method="m", pid=1, step=15))
    quality.show_event(stepped(20, 20))
    quality.show_event(Validated(step=20, dice={"a": 0.2}))
    quality.draw()
    x, _ = quality.curve.points.getData()
    assert x == pytest.approx([10 / 60, 20 / 60])
    low, _ = quality.curve._plot.getPlotItem().getViewBox().viewRange()[1]
    assert low < 0


def test_smoothing_keeps_what_is_constant_and_straight_in_the_middle() -> None:
    x = np.linspace(0, 10, 21)
    assert smoothed(x, np.full(21, 0.7)) == pytest.approx(np.full(21, 0.7))
    assert smoothed(x, x)[10] == pytest.approx(5)
    assert smoothed(np.array([3.0]), np.array([0.5])) == pytest.approx([0.5])


# -- pictures


def store_pictures(run: Run, case: str, count: int) -> Pictured:
    image = np.random.default_rng(0).integers(0, 200, (20, 24)).astype(np.uint8)
    masks = np.zeros((count, 20, 24), np.uint8)
    for number in range(count):
        masks[number, 4 : 8 + number, 6:18] = 1
    steps = tuple(range(10, 10 + 10 * count, 10))
    made = Pictures(
        case, 4, (1.0, 1.0), image, masks, steps, tuple(map(float, steps)), masks
    )
    run.folder.pictures.parent.mkdir(exist_ok=True)
    made.write(run.folder.pictures)
    return Pictured(step=steps[-1], case=case, seconds=float(steps[-1]))


def test_the_first_a_middle_and_the_newest_picture_are_shown(
    qtbot: QtBot, project: Project
) -> None:
    run = Run.create(project, TrainingConfig(minutes=1))
    card = PicturesCard()
    qtbot.addWidget(card)
    title = kind_of_scan(project.case("case_1"))
    seen = {1: ["", "", "latest, 10 s"], 7: ["10 s", "30 s", "latest, 70 s"]}
    for count, expected in seen.items():
        event = store_pictures(run, "case_1", count)
        card.show_pictures(run, event, project.labels, title)
        qtbot.waitUntil(
            lambda expected=expected: [one.text() for one in card.captions] == expected,
            timeout=WAIT_MS,
        )
    assert card.title.text() == "A scan without a label"
    assert card.case.text() == "case_1, axial 5"
    early, _, late = [one.image for one in card.pictures]
    assert early != late
    assert card.minimumSizeHint().width() <= WIDEST
    assert not card.isHidden()
    card.clear()
    assert card.isHidden()
    Connections.close_below(card)


def test_the_title_says_what_kind_of_scan_it_is(project: Project) -> None:
    shape = project.case("case_0").geometry.shape_zyx
    project.set_label("case_0", np.ones(shape, np.uint8))
    assert kind_of_scan(project.case("case_0")) == "A scan it learns from"
    project.set_split("case_0", Split.VALIDATION)
    assert kind_of_scan(project.case("case_0")) == "A scan that only checks it"
    assert kind_of_scan(None) == "A scan without a label"


# -- what changed


def predict(project: Project, shifts: dict[str, int]) -> Run:
    run = Run.create(project, TrainingConfig(minutes=1))
    for name, shift in shifts.items():
        case = project.case(name)
        labels = np.zeros(case.geometry.shape_zyx, np.uint8)
        labels[3:7, 4:9, 3 + shift : 8 + shift] = 1
        made = prediction_of(run, case, labels, volumes_ml={"left atrium": 0.2})
        run.write_prediction(made, case.image)
    return run


def test_the_case_that_changed_most_is_one_click_away(
    qtbot: QtBot, project: Project, session: Session
) -> None:
    names = ("case_0", "case_1", "case_2")
    first = predict(project, dict.fromkeys(names, 0))
    card = ChangesCard(session)
    qtbot.addWidget(card)
    card.read()
    qtbot.waitUntil(lambda: not card._reading, timeout=WAIT_MS)
    assert card.found is None
    assert card.isHidden()
    second = predict(project, dict(zip(names, (0, 4, 2), strict=True)))
    card.refresh()
    card.read()
    qtbot.waitUntil(lambda: card.found is not None, timeout=WAIT_MS)
    assert card.value.text() == "2 of 3"
    assert card.found.run == second.id
    assert card.note.text() == f"against {first.id}"
    assert "left atrium: Dice 0.60 between the two" in card.classes.text()
    assert "not known yet" in card.quality.text()
    assert card.minimumSizeHint().width() <= WIDEST
    asked: list[str] = []
    keep = asked.append
    session.case_requested.connect(keep)
    card.open_button.click()
    shape = project.case("case_1").geometry.shape_zyx
    project.set_label("case_1", np.ones(shape, np.uint8))
    session.cases_changed.emit({"case_1"})
    card.open_button.click()
    assert asked == ["case_1", "case_2"]
