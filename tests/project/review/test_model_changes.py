"""What changed from one model to the next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import napari_semiseg as ss
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.runs.run import Run

NAME = "left atrium"


def predicted(project, predict_ball, shifts, start_from=None, uncertainty=0.3) -> Run:
    """A run whose balls are moved by so many voxels; None predicts nothing there."""
    run = Run.create(project, TrainingConfig(start_from=start_from))
    for name, shift in shifts.items():
        case = project.case(name)
        made = predict_ball(run, case, uncertainty=uncertainty, empty=shift is None)
        moved = np.roll(made.labels, shift or 0, axis=2)
        run.write_prediction(replace(made, labels=moved), case.image)
    return run


@pytest.fixture
def models(ball_project, predict_ball) -> tuple[Run, Run]:
    """Two models; the second has moved one case a little and one far."""
    names = ("case_1", "case_2", "case_3", "case_4")
    first = predicted(ball_project, predict_ball, dict.fromkeys(names, 0))
    shifts = dict(zip(names, (9, 0, 9, 1), strict=True))
    return first, predicted(ball_project, predict_ball, shifts)


def test_the_case_that_changed_most_comes_first_and_labels_are_left_out(
    ball_project, models
):
    first, second = models
    found = ss.compare_models(ball_project)
    assert (found.before, found.run) == (first.id, second.id)
    assert [item.case for item in found.cases] == ["case_3", "case_4", "case_2"]
    dice = [item.dice for item in found.cases]
    assert dice[0] < 0.5 < dice[1] < dice[2] == 1
    assert [item.case for item in found.notable] == [
        item.case for item in found.cases if item.dice < 0.9
    ]
    mask = [
        run.read_mask("case_4", ball_project.case("case_4").geometry)[1] == 1
        for run in models
    ]
    both = np.count_nonzero(mask[0] & mask[1])
    assert dice[1] == pytest.approx(2 * both / (mask[0].sum() + mask[1].sum()))
    assert found.mean[NAME].dice == pytest.approx(np.mean(dice))
    assert found.mean[NAME].before_ml == pytest.approx(found.mean[NAME].after_ml)
    assert found.quality is None


def test_the_model_before_is_the_one_it_began_with(ball_project, models, predict_ball):
    first, second = models
    third = predicted(ball_project, predict_ball, {"case_3": 0}, start_from=first.id)
    assert ss.compare_models(ball_project).before == first.id
    assert ss.compare_models(ball_project, third, second).before == second.id
    fourth = predicted(ball_project, predict_ball, {"case_4": 0})
    assert ss.compare_models(ball_project, fourth).before == second.id
    assert ss.compare_models(ball_project, second).before == first.id


def test_what_one_of_them_found_nothing_of_has_changed_wholly(
    ball_project, predict_ball
):
    for shifts in ({"case_2": None, "case_3": 0}, {"case_2": None, "case_3": None}):
        predicted(ball_project, predict_ball, shifts)
    gone, empty = ss.compare_models(ball_project).cases
    assert (gone.case, gone.dice, gone.classes[NAME].dice) == ("case_3", 0, 0)
    assert gone.classes[NAME].after_ml == 0 < gone.classes[NAME].before_ml
    assert (empty.dice, empty.classes[NAME].dice) == (1, None)


def test_nothing_to_compare_says_what_to_do(ball_project, predict_ball):
    with pytest.raises(ProjectError, match="found none; run semiseg predict"):
        ss.compare_models(ball_project)
    first = predicted(ball_project, predict_ball, {"case_2": 0})
    second = predicted(ball_project, predict_ball, {"case_3": 0})
    with pytest.raises(ProjectError, match=f"both '{second.id}' and an earlier run"):
        ss.compare_models(ball_project)
    with pytest.raises(ProjectError, match=f"and '{first.id}' have predicted"):
        ss.compare_models(ball_project, second, first)
