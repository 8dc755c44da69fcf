from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_semiseg.active_learning.registry import strategies
from napari_semiseg.active_learning.suggest import suggest
from napari_semiseg.core.case import CaseState
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.imaging.rendering import PLANES, slice_name
from napari_semiseg.project.cases.labels import done_slices
from napari_semiseg.project.project import Project
from napari_semiseg.project.review import flags
from napari_semiseg.project.runs.run import Run
from synthetic import ball, save_nifti

OF_IMAGES = [name for name, one in strategies().items() if not one.of_labels]


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
    assert volume.reason == "boundary uncertain (0.60), axial 12"
    assert volume.place == (0, 11)
    gap = suggest(ranked, strategy="gap").volumes[0]
    assert gap.reason.startswith("segmentation and distance disagree (0.80)")


@pytest.mark.parametrize("plane", [None, "axial", "coronal", "sagittal"])
@pytest.mark.parametrize("strategy", OF_IMAGES)
def test_a_volume_names_the_first_of_its_slices(ranked, strategy, plane) -> None:
    labels = np.full((24, 24, 24), 255, np.uint8)
    labels[11] = 0  # the worst slice is annotated
    ranked.set_label("case_3", labels)
    found = suggest(ranked, strategy=strategy, plane=plane)
    for volume in found.volumes:
        places = [
            (item.axis, item.index) for item in found.slices if item.case == volume.case
        ]
        assert (volume.place in places) == bool(places)
        assert volume.place != (0, 11) or volume.case != "case_3"
        if volume.place is not None:
            assert volume.reason.endswith(f", {slice_name(*volume.place)}")
            assert plane in (None, PLANES[volume.place[0]])


@pytest.mark.parametrize("strategy", OF_IMAGES)
def test_empty_predictions_are_a_tier_of_their_own(
    ball_project, predict_ball, strategy
) -> None:
    """Whatever a network says of a scan in which it has found nothing."""
    run = Run.create(ball_project, TrainingConfig())
    certain = {"uncertainty": 0.0, "gap": 0.0, "empty": True}
    tried = {
        "case_2": {"uncertainty": 0.9, "gap": 0.9},
        "case_3": certain | {"slices": ()},
        "case_4": certain,
    }
    for name, values in tried.items():
        case = ball_project.case(name)
        run.write_prediction(predict_ball(run, case, **values), case.image)
    found = suggest(ball_project, strategy=strategy)
    by_model = strategies()[strategy].needs_predictions
    if by_model:
        assert set(order(found)[:2]) == {"case_3", "case_4"}
        empty = {item.case: item for item in found.volumes[:2]}
        assert [item.score for item in empty.values()] == [1.0, 1.0]
        assert empty["case_3"].reason == "nothing was found in it, axial 13"
        assert empty["case_4"].reason == "nothing was found in it, axial 12"
        assert order(suggest(ball_project, 1, strategy))[0] in empty
    flags.skip(ball_project, "case_3")
    assert order(suggest(ball_project, strategy=strategy))[-1] == "case_3"


def test_slices_lie_apart_and_no_volume_takes_them_all(ranked) -> None:
    found = suggest(ranked, k=2)
    assert sorted(item.case for item in found.slices) == ["case_2", "case_3"]
    assert [item.score for item in found.slices] == [0.6, 0.6]
    places = [(item.case, item.axis, item.index) for item in suggest(ranked).slices]
    assert ("case_3", 0, 11) in places
    assert ("case_3", 0, 10) not in places
    assert ("case_3", 1, 3) in places


def test_slices_a_fifth_of_the_structure_apart_come_first(
    ball_project, predict_ball
) -> None:
    run = Run.create(ball_project, TrainingConfig())
    case = ball_project.case("case_3")
    doubts = {10: 0.9, 14: 0.8, 18: 0.7, 22: 0.6}
    slices = tuple((0, index, doubt) for index, doubt in doubts.items())
    made = predict_ball(run, case, uncertainty=0.9, gap=0.1, slices=slices)
    score = made.record.score.model_copy(update={"reach": ((2, 33),) * 3})
    record = made.record.model_copy(update={"score": score})
    run.write_prediction(replace(made, record=record), case.image)
    for count, expected in ((2, [10, 18]), (4, [10, 14, 18, 22])):
        found = suggest(ball_project, count, cases=["case_3"], plane="axial").slices
        assert [item.index for item in found] == expected


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


def test_random_reads_no_mask_where_the_record_says_how_far_it_reaches(
    ranked,
) -> None:
    drawn = suggest(ranked, strategy="random", seed=3)
    for name in ("case_2", "case_3"):
        run, case = ranked.prediction_run(name), ranked.case(name)
        made = run.read_prediction(name, case.geometry)
        inside = np.nonzero(made.labels)
        reach = [(int(at.min()), int(at.max())) for at in inside]
        record = json.loads(run.folder.prediction(name).json.read_text())
        record["score"]["reach"] = reach
        run.folder.prediction(name).json.write_text(json.dumps(record))
        run.folder.prediction(name).labels.write_bytes(b"nobody reads this")
    assert suggest(ranked, strategy="random", seed=3) == drawn


def test_what_cannot_be_ranked_is_refused(ball_project, empty_project) -> None:
    with pytest.raises(ProjectError, match="semiseg predict"):
        suggest(ball_project)
    with pytest.raises(ConfigError, match="diverse, entropy, gap, mix"):
        suggest(ball_project, strategy="best")
    with pytest.raises(ConfigError, match="at least 1"):
        suggest(ball_project, 0)
    with pytest.raises(ConfigError, match="axial, coronal, sagittal"):
        suggest(ball_project, plane="frontal")
    with pytest.raises(ProjectError, match="case_9"):
        suggest(ball_project, cases=["case_9"])


def test_nothing_left_to_annotate_is_said(ball_project) -> None:
    for case in ball_project.cases(state="unlabelled"):
        ball_project.set_excluded(case.id, True)
    with pytest.raises(ProjectError, match="none"):
        suggest(ball_project)


def order(found) -> list[str]:
    return [item.case for item in found.volumes]


def test_slices_that_are_annotated_are_not_asked_for_again(ranked) -> None:
    def places(project) -> set[tuple[int, int]]:
        found = suggest(project).slices
        return {(item.axis, item.index) for item in found if item.case == "case_3"}

    assert places(ranked) == {(0, 11), (1, 3)}
    labels = np.full((24, 24, 24), 255, np.uint8)
    labels[10:12] = 0
    labels[:, 20] = 0
    ranked.set_label("case_3", labels)
    case = ranked.case("case_3")
    assert case.state is CaseState.PARTIAL
    assert done_slices(case) == ({10, 11}, {20}, frozenset())
    assert places(ranked) == {(1, 3)}  # axial 13 lies too near 11
    case.folder.label.touch()  # a file that the history does not know is read
    assert done_slices(ranked.case("case_3")) == ({10, 11}, {20}, frozenset())


def test_only_one_plane_and_only_some_cases_when_asked(ranked) -> None:
    found = suggest(ranked, plane="coronal")
    assert {item.axis for item in found.slices} == {1}
    for chosen in ("case_2", ranked.case("case_2")):
        assert order(suggest(ranked, cases=[chosen])) == ["case_2"]


def test_skipped_cases_come_last_until_they_are_predicted_anew(
    ranked, predict_ball
) -> None:
    flags.skip(ranked, "case_3")
    flags.skip(ranked, "case_3")
    assert len(ranked.case("case_3").record.history) == 2  # added, skipped once
    found = suggest(ranked)
    assert order(found) == ["case_2", "case_3"]
    assert found.volumes[1].skipped
    assert found.volumes[1].reason.startswith("skipped; boundary uncertain")
    assert order(suggest(Project.open(ranked.folder))) == ["case_2", "case_3"]
    run = Run.create(ranked, TrainingConfig())
    case = ranked.case("case_3")
    run.write_prediction(predict_ball(run, case, uncertainty=0.7), case.image)
    assert order(suggest(ranked)) == ["case_3", "case_2"]


def test_a_flag_is_kept_with_its_comment_and_does_not_move_a_case(ranked) -> None:
    flags.flag(ranked, "case_3", "  motion,\nask  Dr Weiß ")
    found = suggest(Project.open(ranked.folder))
    assert order(found) == ["case_3", "case_2"]
    assert found.volumes[0].flag == "motion, ask Dr Weiß"
    assert found.volumes[0].reason.startswith("flagged: motion, ask Dr Weiß; bound")
    flags.flag(ranked, "case_3")
    assert ranked.case("case_3").record.flag == ""
    flags.unflag(ranked, "case_3")
    assert ranked.case("case_3").record.flag is None
    history = ranked.case("case_3").record.history
    comments = [entry.comment for entry in history if entry.action == "flag"]
    assert "motion, ask Dr Weiß" in comments  # the history forgets nothing
    with pytest.raises(ConfigError, match="500"):
        flags.flag(ranked, "case_3", "x" * 501)


# -- a larger cohort with made-up scores ---------------------------------------------


@pytest.fixture
def cohort(tmp_path, predict_ball):
    """Make a project of n cases; each is described by what its prediction says."""

    def make(scores: dict[str, dict]) -> Project:
        project = Project.create(tmp_path / f"made{len(scores)}", {"left atrium": 1})
        for name in scores:
            image = np.random.default_rng(int(name[-1])).normal(0, 9, (24, 24, 24))
            save_nifti(tmp_path / "made" / f"{name}.nii.gz", image.astype(np.int16))
        project.add(tmp_path / "made")
        run = Run.create(project, TrainingConfig())
        for name, score in scores.items():
            case = project.case(name)
            run.write_prediction(predict_ball(run, case, **score), case.image)
        return project

    return make


def trained(project, times: int) -> None:
    """Let it look as if so many models had been trained."""
    for _ in range(times):
        run = Run.create(project, TrainingConfig())
        run.folder.checkpoints.mkdir()
        run.folder.last.touch()


def test_each_structure_has_its_turn(cohort) -> None:
    """The second structure is never as doubtful as the first, and yet comes second."""
    doubts = {
        "case_0": {"large": 0.9, "small": 0.01},
        "case_1": {"large": 0.8, "small": 0.02},
        "case_2": {"large": 0.7, "small": 0.30},
        "case_3": {"large": 0.6, "small": 0.20},
    }
    project = cohort({name: {"classes": value} for name, value in doubts.items()})
    trained(project, 12)  # hardly any noise is left
    found = suggest(project, strategy="stratified")
    assert order(found) == ["case_0", "case_2", "case_1", "case_3"]
    assert found.volumes[0].reason.startswith("large uncertain (0.90)")
    assert found.volumes[1].reason.startswith("small uncertain (0.30)")


def test_noise_fades_from_round_to_round(cohort) -> None:
    project = cohort(
        {
            f"case_{number}": {"classes": {"a": 0.5 - 0.05 * number}}
            for number in range(5)
        }
    )

    def firsts() -> set[str]:
        draws = (suggest(project, 1, "stratified", seed=seed) for seed in range(20))
        return {order(draw)[0] for draw in draws}

    assert len(firsts()) > 2
    again = [suggest(project, 5, "stratified", seed=4) for _ in range(2)]
    assert again[0] == again[1]  # a queue that is ranked anew does not jump
    trained(project, 10)
    assert firsts() == {"case_0"}


def test_a_scan_that_stands_for_many_comes_before_an_outlier(cohort) -> None:
    """Three groups of 4, 2 and 1 scans in the plane of two features."""
    places = [(0, 0), (0.1, 0), (0, 0.1), (-0.1, 0), (5, 5), (5.1, 5), (-9, 9)]
    project = cohort(
        {f"case_{n}": {"features": place} for n, place in enumerate(places)}
    )
    found = suggest(project, strategy="diverse")
    large, small = {"case_0", "case_1", "case_2", "case_3"}, {"case_4", "case_5"}
    assert order(found)[0] in large
    assert "stands for" in found.volumes[0].reason
    assert len({*order(found)[1:3]} & small) == 1  # one of each group, then the rest
    assert "case_6" in order(found)[1:3]
    # Once one of the large group has labels, the others of it can wait.
    labels = np.zeros((24, 24, 24), np.uint8)
    project.set_label("case_1", labels)
    after = order(suggest(project, strategy="diverse"))
    assert set(after[:2]) <= {"case_4", "case_5", "case_6"}
    assert set(after[:2]) & small


def test_scans_without_features_are_compared_with_none(cohort) -> None:
    """One model, of which some predictions were stored without features."""
    places = [(0.0, 0.0), (0.1, 0.0), (), (9.0, 0.0)]
    project = cohort(
        {f"case_{n}": {"features": place} for n, place in enumerate(places)}
    )
    assert sorted(order(suggest(project, strategy="diverse"))) == [
        f"case_{n}" for n in range(4)
    ]


def test_the_mix_takes_neither_twins_nor_what_is_certain(cohort) -> None:
    doubt = {"classes": {"a": 0.9}, "gap": 0.9}
    project = cohort(
        {
            "case_0": {"features": (0.0, 0.0), **doubt},
            "case_1": {"features": (0.0, 0.01), **doubt},
            "case_2": {"features": (5.0, 5.0), "classes": {"a": 0.5}, "gap": 0.5},
            "case_3": {"features": (5.0, 5.1), "classes": {"a": 0.1}, "gap": 0.1},
        }
    )
    trained(project, 12)
    found = order(suggest(project, 2, "mix"))
    assert set(found) in ({"case_0", "case_2"}, {"case_1", "case_2"})
    assert set(order(suggest(project, 2, "gap"))) == {"case_0", "case_1"}


def test_the_mix_and_diversity_do_without_features(ranked) -> None:
    for strategy in ("mix", "diverse"):
        assert set(order(suggest(ranked, strategy=strategy))) == {"case_2", "case_3"}


def test_without_any_prediction_slices_are_spread_or_drawn(ball_project) -> None:
    found = suggest(ball_project, 3, "spread")
    assert sorted(order(found)) == ["case_2", "case_3", "case_4"]
    assert {item.index for item in found.slices} == {11}
    more = [item.index for item in suggest(ball_project, 9, "spread").slices]
    assert sorted(set(more)) == [3, 11, 19]  # 1/6, 1/2 and 5/6 of 24
    labels = np.full((24, 24, 24), 255, np.uint8)
    labels[11] = 0
    ball_project.set_label("case_2", labels)
    later = suggest(ball_project, 3, "spread")
    assert order(later)[-1] == "case_2"  # the least annotated come first
    assert next(s.index for s in later.slices if s.case == "case_2") in (3, 19)
    drawn = [suggest(ball_project, 3, "random", seed=seed) for seed in range(9)]
    indices = {item.index for found in drawn for item in found.slices}
    assert len(indices) > 3
    assert indices <= set(range(6, 18))  # the middle half


def test_spread_can_ask_for_every_slice(ball_project) -> None:
    found = suggest(ball_project, 24, "spread", cases=["case_2"]).slices
    assert sorted(item.index for item in found) == list(range(24))


@pytest.mark.parametrize("strategy", sorted(OF_IMAGES))
def test_every_strategy_can_be_asked_and_repeats(ranked, strategy) -> None:
    found = suggest(ranked, 4, strategy, seed=1)
    assert set(order(found)) == {"case_2", "case_3"}
    assert 0 < len(found.slices) <= 4
    assert found == suggest(ranked, 4, strategy, seed=1)
