"""The speed of a machine, and what is decided by it."""

from __future__ import annotations

import math

import pytest
import torch

from engine.methods.test_methods import trainer
from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.methods.base import Progress
from napari_semiseg.engine.planning import speed
from napari_semiseg.engine.planning.plan import STEPS, with_steps
from napari_semiseg.engine.planning.speed import (
    Timekeeper,
    expected_steps,
    fastest,
    fix_steps,
)
from napari_semiseg.engine.training import session
from napari_semiseg.engine.training import trainer as trainers
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.engine.training.trainer import (
    FEWEST_STEPS,
    MEASURED_STEPS,
    Trainer,
)


class Clock:
    """Stands for a trainer: seconds a step, and longer ones later in a training.

    A part of them, half unless it is said, it waits for other programs.
    """

    def __init__(self, first: float, later: float, waits: float = 0.5) -> None:
        self.first, self.later, self.waits = first, later, waits
        self.asked: list[tuple[int, float]] = []

    def measure(self, total: int, enough: float = math.inf) -> float:
        self.asked.append((total, enough))
        return self.first if total == 1 else self.later

    @property
    def work_seconds(self) -> float:
        first = self.asked[-1][0] == 1
        return (self.first if first else self.later) * (1 - self.waits)


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen"),
    [(3.0, 1.0, "bf16"), (1.12, 1.0, "bf16"), (1.05, 1.0, "fp32"), (1.0, 4.0, "fp32")],
)
def test_bf16_is_taken_where_it_is_clearly_faster(
    plan, monkeypatch, fp32, bf16, chosen
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    clocks = {"fp32": Clock(fp32, 2 * fp32), "bf16": Clock(bf16, 2 * bf16)}
    found, pace = fastest(plan, lambda one: clocks[one.precision], asked=None)
    assert found.precision == chosen
    assert pace == clocks[chosen].later / 2 / math.prod(plan.patch_zyx)
    assert f"{fp32 / bf16:.2f} times" in found.reasons["precision"]
    other = clocks["fp32" if chosen == "bf16" else "bf16"]
    assert [total for total, _ in other.asked] == [1]
    assert clocks["fp32"].asked[0] == (1, 1.5 * bf16)


def test_another_program_that_slows_bf16_down_changes_nothing(plan, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    clocks = {"fp32": Clock(2.2, 4.4, waits=0.0), "bf16": Clock(2.4, 4.8, waits=0.6)}
    found, _ = fastest(plan, lambda one: clocks[one.precision], asked=None)
    assert found.precision == "bf16"
    assert "2.29 times" in found.reasons["precision"]


@pytest.mark.parametrize("device", ["mps", "cpu"])
def test_what_is_not_tried_is_not_said_to_be_asked_for(plan, monkeypatch, device):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    old = plan.model_copy(update={"device": device, "reasons": {"precision": "?"}})
    found, _ = fastest(old, lambda _: Clock(1.0, 2.0), asked=None)
    assert found.precision == "fp32"
    assert found.reasons["precision"] == "fp32: bf16 is not tried on this device"
    found, _ = fastest(old, lambda _: Clock(1.0, 2.0), asked="fp32")
    assert found.reasons["precision"] == "?"


@pytest.mark.parametrize(
    ("enough", "steps"), [(0.0, FEWEST_STEPS), (1e9, MEASURED_STEPS)]
)
def test_few_steps_are_taken_of_what_is_far_too_slow(
    task, plan, monkeypatch, enough, steps
):
    made = trainer("supervised", task, plan)
    taken = []
    advance = made._advance

    def counted(total):
        taken.append(total)
        return advance(total)

    monkeypatch.setattr(made, "_advance", counted)
    assert made.measure(50, enough) > 0
    assert taken == [50] * steps
    made.measure(80, enough)
    assert len(taken) == steps


def test_a_busy_neighbour_changes_the_seconds_of_a_step_and_not_its_work(
    task, plan, monkeypatch
):
    made = trainer("supervised", task, plan)
    clock = {"wall": 0.0, "processor": 0.0}

    def step(_total):
        clock["wall"] += 5.0  # it gets a fifth of the processor
        clock["processor"] += 1.0

    monkeypatch.setattr(made, "_advance", step)
    monkeypatch.setattr(trainers.time, "perf_counter", lambda: clock["wall"])
    monkeypatch.setattr(trainers.time, "process_time", lambda: clock["processor"])
    assert made.measure(20) == 5.0
    assert made.work_seconds == 1.0


def test_the_grid_is_looked_at_again_with_the_crop_that_was_chosen(
    ball_project, monkeypatch
):
    """A thin or a large crop can cost more a voxel than the first one did."""
    paces = iter((1e-7, 1e-4))
    monkeypatch.setattr(speed, "measure_seconds_per_voxel", lambda *_: next(paces))
    monkeypatch.setattr(session, "measure_seconds_per_voxel", lambda *_: next(paces))
    config = TrainingConfig.build(
        method="supervised", minutes=0.05, width=4, precision="fp32"
    )
    plans = []
    choose = session.with_grid

    def chosen(*arguments):
        plans.append(choose(*arguments))
        return plans[-1]

    monkeypatch.setattr(session, "with_grid", chosen)
    for event in engine.train(ball_project, config):
        if event.type == "planned":
            break
    hold = [made.reasons["patch_zyx"].split(" hold ")[-1] for made in plans]
    assert len(hold) == 2
    assert hold[0] != hold[1]
    assert ball_project.latest_run().plan.reasons["patch_zyx"].endswith(hold[1])


def test_minutes_hold_what_is_left_of_them(plan):
    config = TrainingConfig(minutes=2)
    found = fix_steps(plan, config, seconds_per_step=0.5, spent=20)
    assert found.steps == 200
    assert "20 s of preparation" in found.reasons["steps"]
    assert fix_steps(plan, config, seconds_per_step=0.5, spent=500).steps == 20
    asked = fix_steps(plan, TrainingConfig(steps=7), seconds_per_step=0.5, spent=20)
    assert (asked.steps, asked.reasons["steps"]) == (7, "asked for")
    assert expected_steps(config, 0.5) == 240
    assert expected_steps(TrainingConfig(steps=7), 0.5) == 7
    assert expected_steps(config.model_copy(update={"minutes": None}), 0.5) == STEPS


def kept(plan, pace, *, planned, budget=600.0):
    """Seconds of a training whose steps take ``pace(seconds that are gone)``."""
    steps = int(budget / planned)
    plan = with_steps(plan, steps, "", seconds=budget)
    keeper, gone, step, late = Timekeeper(0, steps), 0.0, 0, []
    while True:
        late = [*late[-99:], pace(gone)]
        gone, step = gone + late[-1], step + 1
        if step == plan.steps:
            break
        mean = sum(late) / len(late)
        total = keeper.steps(plan, step, gone, lambda _, mean=mean: mean)
        if total is not None:
            plan = with_steps(plan, total, "", seconds=budget)
    return gone, plan.steps


@pytest.mark.parametrize("planned", [0.1, 0.4, 1.6])
@pytest.mark.parametrize(
    "pace",
    [
        lambda gone: 0.4,
        lambda gone: 0.4 if gone < 300 else 0.8,
        lambda gone: 0.8 if gone < 300 else 0.4,
        lambda gone: 1.2 if gone % 200 < 60 else 0.4,
        lambda gone: 0.4 if gone < 520 else 1.0,
    ],
)
def test_minutes_are_kept_when_other_programs_come_and_go(plan, pace, planned):
    seconds, _ = kept(plan, pace, planned=planned)
    assert seconds == pytest.approx(600, rel=0.1)


def test_steps_stay_where_the_pace_does(plan):
    assert kept(plan, lambda _: 0.4, planned=0.4) == (pytest.approx(600), 1500)
    plan = with_steps(plan, 100, "asked for")
    assert Timekeeper(0, 100).steps(plan, 50, 1e6, lambda _: 1.0) is None


def test_a_training_fixes_its_steps_anew(ball_project, monkeypatch):
    """What was measured is far more than what a step takes: more steps are taken."""
    monkeypatch.setattr(Trainer, "_quickest", lambda *args: (1.0, 1.0))
    config = TrainingConfig.build(
        method="supervised",
        minutes=0.2,
        width=4,
        patch_zyx=(16, 16, 16),
        precision="fp32",
        checkpoint_seconds=1e9,
    )
    events = list(engine.train(ball_project, config))
    steps = [event.steps for event in events if event.type == "planned"]
    run = ball_project.latest_run()
    assert len(steps) > 1
    assert steps[-1] > 1.5 * steps[0]
    assert run.plan.steps == steps[-1] == Checkpoint.load(run.folder.last).step
    assert events[-1].reason == "completed"
    assert events[-1].seconds == pytest.approx(run.plan.training_seconds, rel=0.25)
    assert run.plan.reasons["steps"].count("fixed anew after") == 1


def test_time_left_counts_the_steps_that_cost_more_later(task, plan, tmp_path):
    """Half of the steps take unlabelled crops, and those thrice as long."""
    made = trainer("mean_teacher", task, with_steps(plan, 40, ""))
    ramp = made._method.takes_unlabelled
    dear = sum(ramp(Progress(step, 40)) for step in range(4, 40))
    assert 0 < dear < 36
    made._costs = {False: 1.0, True: 3.0}
    events = made.run(
        tmp_path / "last.pt", every_seconds=1e9, stop=lambda: made.step > 3
    )
    *_, found = (event for event in events if event.type == "stepped")
    pace = sum(made._took[False]) / 4
    assert found.seconds_left == pytest.approx((36 + 2 * dear) * pace, rel=0.15)
