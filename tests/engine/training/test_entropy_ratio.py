"""How much less sure networks are of other scans, and what follows from that."""

from __future__ import annotations

import math

import pytest
import torch

from engine.methods.test_methods import CPU, sampler
from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.data.batch import Batch
from napari_semiseg.engine.methods import registry
from napari_semiseg.engine.methods.base import Progress
from napari_semiseg.engine.training import entropy_ratio as measuring
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.engine.training.entropy_ratio import EntropyRatio, entropy_sums
from napari_semiseg.engine.training.trainer import Trainer


def crops(probability, valid, inside):
    """One labelled and one unlabelled crop of six voxels, of two classes."""
    shape = 2, 1, 1, 2, 3
    foreground = torch.tensor(probability).view(shape)
    batch = Batch(
        image=torch.zeros(shape),
        inside=torch.tensor(inside).view(shape).bool(),
        target=torch.zeros(1, 1, 2, 3, dtype=torch.int64),
        valid=torch.tensor(valid).view(1, 1, 2, 3).bool(),
        low=torch.zeros(1, 2, 1, 2, 3),
        high=torch.zeros(1, 2, 1, 2, 3),
        planes=torch.zeros(1, 1, 2, 3, dtype=torch.int64),
    )
    return torch.cat([1 - foreground, foreground], dim=1), batch


def bits(p):
    return -sum(q * math.log2(q) for q in (p, 1 - p) if q)


def test_what_is_not_annotated_of_a_labelled_scan_counts_as_unlabelled():
    probability = [*(0.9, 0.9, 0.2, 0.5, 0.5, 0.5), *(0.7, 0.7, 0.1, 0.1, 0.5, 0.5)]
    found = entropy_sums(
        *crops(
            probability,
            valid=[1, 1, 1, 0, 0, 0],
            inside=[*(1, 1, 1, 1, 1, 0), *(1, 1, 1, 1, 0, 0)],
        )
    )
    annotated = 2 * bits(0.9) + bits(0.2), 0.9 + 0.9 + 0.2
    others = 2 + 2 * bits(0.7) + 2 * bits(0.1), 2 * 0.5 + 2 * 0.7 + 2 * 0.1
    assert found == pytest.approx([*annotated, *others], rel=1e-4)


@pytest.mark.parametrize(
    ("total", "steps"),
    [
        (6, {1, 2, 4}),
        (10, {2, 4, 6}),
        (100, {*range(20, 30), *range(40, 50), *range(60, 70)}),
        (8000, {*range(2350, 2400), *range(3950, 4000), *range(5550, 5600)}),
    ],
)
def test_it_is_measured_shortly_before_three_set_points(total, steps):
    ratio = EntropyRatio()
    assert {step for step in range(total) if ratio.is_due(Progress(step, total))} == (
        steps
    )


def test_it_is_the_ratio_of_all_crops_before_a_set_point_and_then_begins_anew():
    ratio, seen = EntropyRatio(), []
    for step in range(100):
        if ratio.is_due(Progress(step, 100)):
            late = step >= 40
            ratio.learn([1.0, 2.0, 3.0 if late else 1.5, 2.0], Progress(step + 1, 100))
        seen.append(ratio.value)
    assert seen[28] is None
    assert seen[29] == seen[48] == pytest.approx(1.5)
    assert seen[49] == seen[99] == pytest.approx(3.0)


def test_where_all_is_annotated_or_no_structure_is_seen_there_is_none():
    for nothing in ([1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]):
        ratio = EntropyRatio()
        ratio.learn(nothing, Progress(3, 10))
        assert ratio.value is None


def test_to_measure_changes_no_weight(task, plan):
    """The crops of the labelled scans, the noise and the networks stay as they are."""

    def weights(begin):
        params = {"begin": begin, "least_entropy_ratio": 1e9}
        made = Trainer(
            registry.build("auto", params, task), sampler(plan), plan, 3, CPU
        )
        for _ in range(10):
            made._advance(10)
        return made.entropy_ratio, list(made.networks.teachers["student"].parameters())

    ratio, measured = weights(0.5)
    nothing, alone = weights(1.0)
    assert ratio > 0
    assert nothing is None
    assert all(torch.equal(a, b) for a, b in zip(measured, alone, strict=True))


def config(**params):
    return TrainingConfig.build(
        method="auto",
        params=params,
        steps=20,
        width=4,
        patch_zyx=(16, 16, 16),
        precision="fp32",
        checkpoint_seconds=0.0,
    )


def test_a_stopped_training_goes_on_with_the_same_decision(ball_project):
    """It is stopped after a measurement and amid the next one."""

    def weights(run):
        return Checkpoint.load(run.folder.last).students["student"].values()

    asked = config(least_entropy_ratio=0)
    list(engine.train(ball_project, asked))
    whole = ball_project.latest_run()
    for event in engine.train(ball_project, asked):
        if event.type == "checkpointed" and event.step == 9:
            run = ball_project.latest_run()
            run.request_stop()
    assert run.steps_done == 9
    assert Checkpoint.load(run.folder.last).entropy_ratio["sums"][0] > 0
    list(engine.resume(ball_project, run))
    state = Checkpoint.load(run.folder.last).entropy_ratio
    assert state == Checkpoint.load(whole.folder.last).entropy_ratio
    assert state["value"] > 0
    assert all(
        torch.equal(a, b) for a, b in zip(weights(run), weights(whole), strict=True)
    )


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (1.4, "used from step 10 of 20 on"),
        (1.1, "not used yet at step 5"),
    ],
)
def test_plan_and_log_say_what_was_measured_and_what_follows(
    ball_project, monkeypatch, measured, said
):
    monkeypatch.setattr(
        measuring.EntropyRatio,
        "learn",
        lambda self, _sums, _now: setattr(self, "value", measured),
    )
    events = list(engine.train(ball_project, config()))
    run = ball_project.latest_run()
    use = run.plan.reasons["unlabelled"]
    measure = f"(entropy of what is not annotated {measured:.2f} times as high)"
    assert use == f"{said} {measure}"
    decided = [event for event in events if event.type == "decided"]
    assert [event.step for event in decided] == [5]
    assert decided[0].sentence == f"Unlabelled scans: {use}"
    steps = [event for event in events if event.type == "stepped"]
    assert steps[-1].entropy_ratio == measured
    taken = any("pseudo_labels" in event.losses for event in steps)
    assert taken is (measured > 1.25)


def test_steps_are_planned_as_if_it_will_take_unlabelled_crops(task, plan):
    """What random weights are sure of decides nothing."""
    learner = registry.build("auto", {"least_entropy_ratio": 1e9}, task)
    made = Trainer(learner, sampler(plan), plan, 3, CPU)
    made.measure(20)
    assert made._kinds == [False] * 10 + [True] * 10
