"""How fast a machine trains, and how many steps the minutes hold then."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from napari_semiseg.engine.devices import may_gain_by_bf16
from napari_semiseg.engine.planning.plan import STEPS, with_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

    from napari_semiseg.core.config import Precision, TrainingConfig
    from napari_semiseg.core.plan import Plan

SHORTEST_TRAINING = 20
"""Steps below which a training is not worth its name."""
FEW_STEPS = 300
"""Steps below which the user is warned that the budget is too small."""
FIRST = 1
"""Steps of a training that has only the first kind of step."""
FIRST_LOOK, LOOK = 0.05, 0.2
"""Part of the steps that are left, after which their number is looked at: the first
time, and again."""
STEADY = 0.02
"""Part of the steps that are left, by which their number need not change."""
WORTH, CLEAR = 1.1, 1.5
"""How many times as fast bf16 must be: to be taken, so that noise does not decide, and
to be taken without a longer look at fp32."""


class TimedStep(Protocol):
    """A training of which a step is timed; it cannot be trained on afterwards."""

    @property
    def weights(self) -> Sequence[nn.Parameter]:
        """All trained weights."""

    def measure(self, total: int, enough: float = math.inf) -> float:
        """Seconds per step in a training of ``total`` steps."""

    @property
    def work_seconds(self) -> float:
        """Seconds that `measure` would have found were no other program busy."""

    def rehearse(self) -> Iterator[None]:
        """Take a step of each part of a training."""


def fastest(
    plan: Plan, trial: Callable[[Plan], TimedStep], asked: Precision | None
) -> tuple[Plan, float]:
    """Choose the faster precision; also seconds of a step per crop voxel.

    Decided by the first kind of step that a method takes, and by its time at work, so
    that other programs have no say.
    """
    if asked is None and not may_gain_by_bf16(plan.device):
        asked, why = plan.precision, "fp32: bf16 is not tried on this device"
        reasons = {**plan.reasons, "precision": why}
        plan = plan.model_copy(update={"reasons": reasons})
    if asked is not None:
        return plan, 0.0 if plan.steps else measure_seconds_per_voxel(trial(plan), plan)
    full, half = trial(plan), trial(plan.model_copy(update={"precision": "bf16"}))
    enough = CLEAR * half.measure(FIRST)
    full.measure(FIRST, enough=enough)
    quick, slow = half.work_seconds, full.work_seconds
    faster, precision = (half, "bf16") if slow > WORTH * quick else (full, "fp32")
    why = f"bf16 measured {slow / quick:.2f} times as fast as fp32 on this device"
    decided = {"precision": precision, "reasons": {**plan.reasons, "precision": why}}
    return plan.model_copy(update=decided), measure_seconds_per_voxel(faster, plan)


def measure_seconds_per_voxel(trial: TimedStep, plan: Plan) -> float:
    """Measure the seconds of a step per crop voxel, were no other program busy."""
    trial.measure(plan.steps or STEPS)
    return trial.work_seconds / math.prod(plan.patch_zyx)


def expected_steps(
    config: TrainingConfig, seconds_per_step: float, spent: float = 0.0
) -> int:
    """Count the steps that the budget holds after ``spent`` seconds."""
    if config.minutes is None:
        return config.steps or STEPS
    left = config.minutes * 60 - spent
    return max(SHORTEST_TRAINING, int(left / max(seconds_per_step, 1e-4)))


def fix_steps(
    plan: Plan, config: TrainingConfig, seconds_per_step: float, spent: float
) -> Plan:
    """Set the number of steps that was asked for, or that the minutes hold.

    Parameters
    ----------
    seconds_per_step : float
        Seconds of a step.
    spent : float
        Seconds of the minutes that are gone before the first one.
    """
    every = config.validate_every or 0
    if config.steps is not None:
        return with_steps(plan, config.steps, "asked for", every)
    assert config.minutes is not None
    reason = (
        f"{config.minutes:g} min less {spent:.0f} s of preparation at "
        f"{seconds_per_step:.3f} s a step"
    )
    seconds = max(0.0, config.minutes * 60 - spent)
    steps = expected_steps(config, seconds_per_step, spent)
    return with_steps(plan, steps, reason, every, seconds)


class Timekeeper:
    """Fix the steps of a training anew at a few set points, to keep its seconds.

    Other programs come and go while it trains. The set points come closer towards the
    end, where little time is left to make up for them.

    Parameters
    ----------
    step, total : int
        Steps that are done, and that there are.
    """

    def __init__(self, step: int, total: int) -> None:
        self._next = step + max(1, math.ceil(FIRST_LOOK * (total - step)))

    def steps(
        self,
        plan: Plan,
        step: int,
        seconds: float,
        seconds_per_step: Callable[[int], float],
    ) -> int | None:
        """Count the steps that the plan's seconds hold; None to leave them as they are.

        Parameters
        ----------
        step : int
            Steps that are done.
        seconds : float
            Seconds that they took.
        seconds_per_step : callable
            Seconds of each step that is left, for a number of all steps.
        """
        if step < self._next or not plan.training_seconds:
            return None
        left, total = max(0.0, plan.training_seconds - seconds), plan.steps
        for _ in range(3):  # the number of steps can change what a method does in them
            total = step + max(1, int(left / max(seconds_per_step(total), 1e-4)))
        total = max(total, SHORTEST_TRAINING)
        if abs(total - plan.steps) <= STEADY * (plan.steps - step):
            total = plan.steps
        self._next = step + max(1, math.ceil(LOOK * (total - step)))
        return None if total == plan.steps else total
