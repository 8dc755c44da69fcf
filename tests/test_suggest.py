from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.project.runs import Run
from napari_semiseg.ranking import suggest
from synthetic import ball


@pytest.fixture
def ranked(ball_project, predict_ball):
    """Case 3 is doubtful, case 2 disagrees, case 4 is a test case."""
    run = Run.create(ball_project, TrainingConfig())
    ball_project.set_split("case_4", "test")
    values = {"case_0": (0.9, 0.9), "case_2": (0.2, 0.8), "case_3": (0.6, 0.1)}
    values["case_4"] = (0.95, 0.95)
    for name, (uncertainty, gap) in values.items():
        case = ball_project.case(name)
        prediction = predict_ball(
            run,
            case,
            uncertainty=uncertainty,
            gap=gap,
            slices=((0, 10, 0.5), (0, 11, 0.6), (0, 13, 0.4), (1, 3, uncertainty)),
        )
        run.write_prediction(prediction, case.image)
    return ball_project


def test_only_training_cases_without_a_whole_label_come_by_their_score(ranked) -> None:
    found = suggest(ranked)
    assert [item.case for item in found.volumes] == ["case_3", "case_2"]
    assert [item.case for item in suggest(ranked, strategy="gap").volumes] == [
        "case_2",
        "case_3",
    ]
    assert {item.case for item in found.slices} == {"case_2", "case_3"}


def test_reasons_are_words_a_reader_can_act_on(ranked) -> None:
    volume = suggest(ranked).volumes[0]
    assert volume.reason == "boundary uncertain (0.60), slices 10-13"
    gap = suggest(ranked, strategy="gap").volumes[0]
    assert gap.reason.startswith("segmentation and distance disagree (0.80)")


def test_slices_lie_apart_and_no_volume_takes_them_all(ranked) -> None:
    found = suggest(ranked, k=2)
    assert sorted(item.case for item in found.slices) == ["case_2", "case_3"]
    assert [item.score for item in found.slices] == [0.6, 0.6]
    places = [(item.case, item.axis, item.index) for item in suggest(ranked).slices]
    assert ("case_3", 0, 11) in places
    assert ("case_3", 0, 10) not in places
    assert ("case_3", 1, 3) in places


def test_a_partial_case_is_still_suggested(ranked) -> None:
    labels = np.full((24, 24, 24), 255, np.uint8)
    labels[2] = 0
    ranked.set_label("case_3", labels)
    assert suggest(ranked).volumes[0].case == "case_3"
    labels[:] = 0
    ranked.set_label("case_3", labels)
    assert [item.case for item in suggest(ranked).volumes] == ["case_2"]


def test_random_goes_through_predicted_foreground_and_repeats(ranked) -> None:
    found = suggest(ranked, strategy="random", seed=3)
    assert found == suggest(ranked, strategy="random", seed=3)
    assert {item.case for item in found.volumes} == {"case_2", "case_3"}
    for item in found.slices:
        labels = ranked.case(item.case).geometry.to_canonical(ball(int(item.case[-1])))
        assert item.axis == 0
        assert labels[item.index].any()
    draws = [suggest(ranked, 1, "random", seed=seed) for seed in range(20)]
    assert {draw.volumes[0].case for draw in draws} == {"case_2", "case_3"}


def test_what_cannot_be_ranked_is_refused(ball_project, empty_project) -> None:
    with pytest.raises(ProjectError, match="semiseg predict"):
        suggest(ball_project)
    with pytest.raises(ConfigError, match="entropy, gap, random, uncertainty"):
        suggest(ball_project, strategy="best")
    with pytest.raises(ConfigError, match="at least 1"):
        suggest(ball_project, 0)


def test_nothing_left_to_annotate_is_said(ball_project) -> None:
    for case in ball_project.cases(state="unlabelled"):
        ball_project.set_excluded(case.id, True)
    with pytest.raises(ProjectError, match="none"):
        suggest(ball_project)
