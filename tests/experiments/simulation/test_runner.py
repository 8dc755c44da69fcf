from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.prediction import LOWEST_LOG, FeatureMaps
from napari_semiseg.errors import ConfigError, ImageError, ProjectError
from napari_semiseg.experiments.simulation.annotator import Cost, References, cost
from napari_semiseg.experiments.simulation.curves import draw, figure_path, summarise
from napari_semiseg.experiments.simulation.results import (
    AnnotatedSlice,
    SimulationResults,
)
from napari_semiseg.experiments.simulation.spec import SliceBudget, StrategyVariant
from napari_semiseg.imaging.distance import distance_outside
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run
from synthetic import ball, save_nifti, snapshot


def opened(runner) -> SimulationResults:
    return SimulationResults.open(runner.out, runner.simulation)


def copied(runner, trial: str = "uncertainty_seed0") -> Project:
    return Project.open(runner.out / "projects" / trial)


def test_a_round_annotates_trains_and_scores_in_a_copy(
    simulator, workers, go, ball_project, foreground
) -> None:
    before = snapshot(ball_project.folder)
    runner = simulator()
    first, second = go(runner).trials[0].rounds
    assert snapshot(ball_project.folder) == before
    # From nothing every foreground voxel is painted; the prediction is perfect then.
    assert (first.slices, second.slices) == (3, 6)
    assert first.voxels_changed == foreground(first.asked) > 0
    assert 1 <= first.strokes == second.strokes <= 3
    assert second.voxels_changed == first.voxels_changed
    assert (first.dice, second.dice) == (1.0, 1.0)
    assert first.dice_per_class == {"left atrium": 1.0}
    assert list(first.cases) == ["case_4"]
    assert 0 < first.annotated_fraction < second.annotated_fraction < 1
    assert (first.steps, first.seconds) == (3, 30.0)
    project = copied(runner)
    assert [(case.id, str(case.split)) for case in project.cases()] == [
        *[(f"case_{number}", "train") for number in range(4)],
        ("case_4", "test"),
    ]
    assert not project.case("case_4").has_label
    assert not project.case("case_3").has_label  # learned from without its label
    assert workers.wanted[0] == ["case_4", "case_0", "case_1", "case_2"]


def test_labels_are_the_reference_on_the_slices_and_nothing_elsewhere(
    simulator, workers, go, spheres
) -> None:
    runner = simulator(rounds=1)
    asked = go(runner).trials[0].rounds[0].asked
    project = copied(runner)
    for name in {place.case for place in asked}:
        case = project.case(name)
        reference = read_labels(spheres.masks / f"{name}.nii.gz", case.geometry)
        expected = np.full(reference.shape, 255, np.uint8)
        for place in (place for place in asked if place.case == name):
            np.moveaxis(expected, place.axis, 0)[place.index] = np.moveaxis(
                reference, place.axis, 0
            )[place.index]
        assert np.array_equal(case.read_label(), expected)


def test_refining_between_slices_leaves_less_to_correct(
    ball_project, predict_ball, spheres
) -> None:
    """The first slice shows that all that was predicted is twice too small."""
    run = Run.create(ball_project, TrainingConfig())
    case = ball_project.case("case_2")
    truth = read_labels(spheres.masks / "case_2.nii.gz", case.geometry)
    inner = distance_outside(truth == 0, case.geometry.spacing_mm) > 2.0
    brightness = np.round(50 + 100.0 * truth).astype(np.uint8)
    probability = np.where(inner, 0.7, np.where(truth, 0.45, 0.05))
    logs = np.log(np.stack([1 - probability, probability]))
    maps = FeatureMaps(
        np.round((1 - logs / LOWEST_LOG) * 255).astype(np.uint8),
        (brightness[None],),
        ((1.0, 1.0, 1.0),),
    )
    made = replace(
        predict_ball(run, case), labels=inner.astype(np.uint8), feature_maps=maps
    )
    run.write_prediction(made, case.image)
    middle = int(truth.any(axis=(1, 2)).nonzero()[0].mean())
    slices = [
        AnnotatedSlice(case=case.id, axis=0, index=index, reason="")
        for index in (middle, middle + 2, middle - 2)
    ]
    references = References({case.id: spheres.masks / "case_2.nii.gz"})
    painted, refined = (
        cost(ball_project, case, slices, references, refines=refines)
        for refines in (False, True)
    )
    wrong = [(truth != inner)[place.index] for place in slices]
    assert painted == Cost(3, sum(int(plane.sum()) for plane in wrong))
    assert refined.strokes <= painted.strokes
    assert refined.voxels < 0.7 * painted.voxels
    assert refined.voxels >= wrong[0].sum()


def test_wrong_predictions_cost_what_is_wrong_in_them(
    simulator, workers, go, foreground
) -> None:
    workers.empty = {"round-01", "round-02"}
    first, second = go(simulator()).trials[0].rounds
    assert second.dice == 0.0
    assert second.voxels_changed > first.voxels_changed
    both = [*first.asked, *second.asked]
    assert second.voxels_changed == foreground(both)


def test_strategies_begin_alike_and_no_slice_is_asked_twice(
    simulator, workers, go
) -> None:
    results = go(simulator("uncertainty,mix,random,spread", rounds=3))
    firsts = [trial.rounds[0].asked for trial in results.trials]
    assert firsts[0] == firsts[1] == firsts[2] != firsts[3]
    for trial in results.trials:
        places = [
            (place.case, place.axis, place.index)
            for item in trial.rounds
            for place in item.asked
        ]
        assert len(set(places)) == len(places) == 9
    other = go(simulator("uncertainty,mix,random,spread", rounds=3, seeds=(0, 5)))
    assert other.trials[4].rounds[0].asked != firsts[0]
    assert len(workers.started) == 3 * 8


def test_whole_volumes_and_a_part_of_all_slices(simulator, workers, go) -> None:
    results = go(simulator("whole:100%,spread:5%", rounds=1))
    whole, spread = (trial.rounds[0] for trial in results.trials)
    assert whole.slices == 3 * 24
    assert whole.annotated_fraction == 1.0
    assert spread.slices == 4  # 5 % of 72, and not less
    assert {place.case for place in spread.asked} == {"case_0", "case_1", "case_2"}
    by_volume = go(simulator("whole:100%,spread:5%,whole:24", rounds=1)).trials[2]
    assert {place.case for place in by_volume.rounds[0].asked} == {"case_0"}


def test_when_everything_is_annotated_it_ends(simulator, workers, go) -> None:
    results = go(simulator("whole", slices_per_round="50", rounds=5))
    trial = results.trials[0]
    assert [item.slices for item in trial.rounds] == [50, 72]
    assert trial.exhausted
    again = len(workers.started)
    go(simulator("whole", slices_per_round="50", rounds=5))
    assert len(workers.started) == again


def test_what_a_strategy_cannot_name_is_spread(simulator, workers, go) -> None:
    results = go(simulator("uncertainty", slices_per_round="60", rounds=1))
    found = results.trials[0].rounds[0]
    assert found.slices == 60
    assert 0 < found.topped_up < 60


def test_one_plane(simulator, workers, go) -> None:
    results = go(simulator("uncertainty,spread", plane="coronal"))
    axes = {
        place.axis
        for trial in results.trials
        for item in trial.rounds
        for place in item.asked
    }
    assert axes == {1}


def test_a_stop_changes_neither_slices_nor_costs(simulator, workers, go) -> None:
    straight = go(simulator())
    runner = simulator()
    for path in sorted(runner.out.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    asked = []
    workers.during = lambda run: asked.append(run.request_stop())
    go(runner, stop=lambda: bool(asked))
    half = opened(runner)
    assert half.trials[0].rounds[0].dice is None  # chosen, written down, annotated
    assert half.trials[0].rounds[0].asked == straight.trials[0].rounds[0].asked
    workers.during = lambda run: None
    assert go(runner) == straight


def test_an_interruption_between_choice_and_label(
    simulator, workers, go, monkeypatch
) -> None:
    straight = go(simulator())
    runner = simulator()
    for path in sorted(runner.out.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr("napari_semiseg.experiments.simulation.annotator.annotate", die)
        with pytest.raises(Died):
            go(runner)
    assert not any(case.has_label for case in copied(runner).cases())
    assert go(runner) == straight


def test_a_failed_training_is_recorded_and_tried_again(simulator, workers, go) -> None:
    workers.broken = {"round-02": "no memory left"}
    results = go(simulator("uncertainty,spread"))
    assert [trial.error for trial in results.trials] == ["no memory left"] * 2
    assert [item.dice for item in results.trials[0].rounds] == [1.0, None]
    workers.broken = {}
    mended = go(simulator("uncertainty,spread"))
    assert [trial.error for trial in mended.trials] == [None, None]
    assert mended.trials[0].rounds[1].asked == results.trials[0].rounds[1].asked


def test_more_is_asked_for_later_but_not_something_else(simulator, workers, go) -> None:
    first = go(simulator())
    more = go(simulator("gap", rounds=1, seeds=(0, 1)))
    assert more.trials[: len(first.trials)] == first.trials
    assert len(more.trials) == 3
    assert more.config.strategies == ("uncertainty", "gap")
    for key, value in (
        ("slices_per_round", "4"),
        ("steps", 5),
        ("plane", "axial"),
        ("cases", ("case_0", "case_1")),
    ):
        runner = simulator(**{key: value})
        with pytest.raises(ConfigError, match="choose another --out"):
            opened(runner)


def test_curves_have_means_over_seeds(simulator, workers, go) -> None:
    runner = simulator("uncertainty,spread", seeds=(0, 1))
    points = summarise(go(runner))
    assert [(point.strategy, point.round) for point in points] == [
        ("spread", 1),
        ("spread", 2),
        ("uncertainty", 1),
        ("uncertainty", 2),
    ]
    assert points[0].seeds == 2
    assert (points[0].dice, points[0].sd) == (1.0, 0.0)
    draw(runner.out, points)
    figure = figure_path(runner.out)
    assert figure.read_bytes()[:4] == b"\x89PNG"
    drawing = figure.with_suffix(".svg").read_text()
    for words in ("slices annotated", "voxels changed", "uncertainty", "Dice"):
        assert words in drawing
    stored = json.loads((runner.out / "simulation.json").read_text())
    assert stored["trials"][0]["rounds"][0]["slices"] == 3


# -- input -------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0", "-1", "0%", "101%", "some", "1.5", ""])
def test_slices_per_round_are_a_number_or_a_part(text) -> None:
    with pytest.raises(ConfigError, match="slices per round"):
        SliceBudget.parse(text)


def test_amounts() -> None:
    assert SliceBudget.parse("7").of(100) == 7
    assert SliceBudget.parse("5%").of(100) == 5
    assert SliceBudget.parse("2.5 %").of(100) == 3
    assert SliceBudget.parse("1%").of(10) == 1
    assert StrategyVariant.parse("spread:5%").label == "spread:5%"
    with pytest.raises(ConfigError, match="best"):
        StrategyVariant.parse("best:5%")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rounds": 0}, "--rounds"),
        ({"test": ()}, "no test cases|test cases to score"),
        ({"cases": ()}, "training cases"),
        ({"test": ("case_1",)}, "case_1"),
        ({"plane": "frontal"}, "--plane"),
        ({"cases": ("case_0", "case_9")}, "case_9"),
        ({"settings": {"seed": "5"}}, "use --seeds"),
        ({"settings": {"method": "dtml"}}, "use --method instead"),
    ],
)
def test_what_cannot_be_simulated_is_refused(simulator, changes, words) -> None:
    with pytest.raises((ConfigError, ProjectError), match=words):
        simulator(**changes)


def test_masks_are_checked_before_anything_is_trained(simulator, spheres) -> None:
    path = spheres.masks / "case_1.nii.gz"
    save_nifti(path, np.zeros((24, 24, 24), np.uint8), shift=3.0)
    with pytest.raises(ImageError, match="case_1"):
        simulator()
    save_nifti(path, np.full((24, 24, 24), 7, np.uint8))
    with pytest.raises(ImageError, match="7"):
        simulator()
    partial = ball(1)
    partial[0, 0, 0] = 255
    save_nifti(path, partial)
    with pytest.raises(ConfigError, match="255"):
        simulator()
    path.unlink()
    with pytest.raises(ProjectError, match="case_1"):
        simulator()


def test_a_test_image_under_another_name_is_refused(
    simulator, workers, go, ball_project, spheres, tmp_path
) -> None:
    twin = tmp_path / "twin" / "case_7.nii.gz"
    twin.parent.mkdir()
    twin.write_bytes((spheres.images / "case_4.nii.gz").read_bytes())
    ball_project.add(twin)
    with pytest.raises(ConfigError, match="same image"):
        go(simulator())


def test_strategies_that_go_on_at_once_end_as_one_after_the_other(
    simulator, workers, go
) -> None:
    """A round waits for the one before it; no writer undoes what another has kept."""
    asked = {"strategies": "uncertainty,spread,gap", "seeds": (0, 1)}
    straight = go(simulator(**asked))
    shutil.rmtree(simulator().out)
    workers.parallel, workers.started = 3, []
    runner = simulator(**asked)
    known = []
    workers.during = lambda run: known.append(opened(runner))
    at_once = go(runner)
    assert workers.started.count("round-01") == workers.started.count("round-02") == 6
    assert by_name(at_once) == by_name(straight) == by_name(opened(runner))
    for earlier, later in pairwise(known):
        assert {*by_name(earlier)} <= {*by_name(later)}


def by_name(results: SimulationResults) -> dict:
    return {(trial.strategy, trial.seed): trial for trial in results.trials}
