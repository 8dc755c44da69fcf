"""The training loop: a generator of events that can stop and go on exactly."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from napari_semiseg.core.events import Checkpointed, Stepped, Validated
from napari_semiseg.engine import ops
from napari_semiseg.engine.checkpoint import Checkpoint
from napari_semiseg.engine.devices import autocast, synchronise
from napari_semiseg.engine.infer import Predictor
from napari_semiseg.engine.method import Networks, Progress
from napari_semiseg.errors import ProjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_semiseg.core.config import Plan
    from napari_semiseg.core.events import Event
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.engine.method import Method
    from napari_semiseg.engine.prepare import Prepared
    from napari_semiseg.engine.sampler import Batches

WARM_UP = 0.06
"""Fraction of training in which the learning rate rises."""
MOMENTUM = 0.9
WEIGHT_DECAY = 3e-5
LARGEST_GRADIENT = 5.0
EVENT_SECONDS = 0.5


def learning_rate(peak: float, step: int, total: int) -> float:
    """Linear warm-up, then a half cosine to (almost) 0 at the last step."""
    rise = max(1.0, WARM_UP * total)
    if step < rise:
        return peak * (step + 1) / (rise + 1)
    done = (step - rise) / max(1.0, total - rise)
    return peak * max(0.002, 0.5 * (1.0 + math.cos(math.pi * min(1.0, done))))


class Trainer:
    """Owns networks, averaged copies, optimiser, precision, and checkpoints.

    Parameters
    ----------
    method : Method
        Says which networks and which loss.
    batches : Batches
        Gives the batch of a step.
    plan : Plan
        Decisions; ``steps`` may still be 0 while the speed is measured.
    seed : int
        With a step it determines initial weights, batch and noise.
    """

    def __init__(
        self,
        method: Method,
        batches: Batches,
        plan: Plan,
        seed: int,
        device: torch.device,
    ) -> None:
        self._method = method
        self._batches = batches
        self._plan = plan
        self._seed = seed
        self._device = device
        torch.set_num_threads(plan.threads)
        torch.manual_seed(seed)
        layout = torch.channels_last_3d
        students = {
            name: network.to(device, memory_format=layout)  # type: ignore[call-overload]
            for name, network in method.networks().items()
        }
        teachers = {
            name: ops.frozen_copy(network) for name, network in students.items()
        }
        self.networks = Networks(students, teachers)
        self._parameters = [
            parameter
            for network in students.values()
            for parameter in network.parameters()
        ]
        self._optimiser = torch.optim.SGD(
            self._parameters,
            lr=plan.learning_rate,
            momentum=MOMENTUM,
            nesterov=True,
            weight_decay=WEIGHT_DECAY,
        )
        self.step = 0
        self.seconds = 0.0
        self.best = -1.0

    @property
    def parameters(self) -> int:
        """Number of trained weights."""
        return sum(parameter.numel() for parameter in self._parameters)

    def measure(self, count: int = 8) -> float:
        """Seconds per step, from a few real ones; leaves this trainer used up.

        The faster half decides: what else runs now may be over soon.
        """
        times = []
        for _ in range(count + 1):
            synchronise(self._device)
            start = time.perf_counter()
            self._advance(total=10_000)
            synchronise(self._device)
            times.append(time.perf_counter() - start)
        return float(np.quantile(times[1:], 0.25))

    def _advance(self, total: int) -> dict[str, Tensor]:
        """One optimisation step, a function of the weights, the seed and the step."""
        torch.manual_seed(hash((self._seed, self.step)) % 2**63)
        batch = self._batches.batch(self.step, self._device)
        for network in self.networks.students.values():
            network.train()
        with autocast(self._device, self._plan.precision):
            terms = self._method.loss(self.networks, batch, Progress(self.step, total))
        loss = torch.stack(list(terms.values())).sum()
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self._plan.learning_rate, self.step, total)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, LARGEST_GRADIENT)
        self._optimiser.step()
        for name, student in self.networks.students.items():
            ops.update_average(
                self.networks.teachers[name],
                student,
                self.step,
                self._method.params.ema_decay,
            )
        self.step += 1
        return {name: term.detach() for name, term in terms.items()}

    def run(
        self,
        checkpoint: Path,
        *,
        every_seconds: float,
        stop: Callable[[], bool],
        validate: Callable[[Trainer], dict[str, float]] | None = None,
    ) -> Iterator[Event]:
        """Train to the plan's last step, or until ``stop()``.

        Both ways end with a checkpoint. Raises ``ProjectError`` when the loss is no
        longer a number; the last checkpoint is then still good.
        """
        total = self._plan.steps
        started = time.perf_counter() - self.seconds
        spoken = saved = time.perf_counter()
        first = self.step
        pending: list[dict[str, Tensor]] = []
        while self.step < total and not stop():
            pending.append(self._advance(total))
            now = time.perf_counter()
            self.seconds = now - started
            if now - spoken >= EVENT_SECONDS or self.step == total:
                yield self._stepped(pending, first, total)
                pending, spoken = [], now
            if validate is not None and self.step % self._plan.validate_every == 0:
                dice = validate(self)
                yield Validated(step=self.step, dice=dice)
                mean = float(np.mean(list(dice.values())))
                if mean > self.best:
                    self.best = mean
                    self.state().save(checkpoint.with_name("best.pt"))
            if now - saved >= every_seconds and self.step < total:
                self.state().save(checkpoint)
                saved = time.perf_counter()
                yield Checkpointed(step=self.step)
        self.state().save(checkpoint)
        yield Checkpointed(step=self.step)

    def _stepped(
        self, pending: list[dict[str, Tensor]], first: int, total: int
    ) -> Stepped:
        names = pending[0].keys()
        losses = {
            name: float(torch.stack([terms[name] for terms in pending]).mean())
            for name in names
        }
        if not all(math.isfinite(value) for value in losses.values()):
            broken = [
                name for name, value in losses.items() if not math.isfinite(value)
            ]
            raise ProjectError(
                f"the loss term {broken[0]!r} is not a number at step {self.step}; "
                f"train again with a lower --set learning_rate or --set precision=fp32"
            )
        pace = self.seconds / max(1, self.step)
        return Stepped(
            step=self.step,
            steps=total,
            losses=losses,
            learning_rate=float(self._optimiser.param_groups[0]["lr"]),
            seconds=self.seconds,
            seconds_left=pace * (total - self.step),
        )

    def state(self) -> Checkpoint:
        """Everything that the next step depends on."""
        return Checkpoint(
            step=self.step,
            seconds=self.seconds,
            students={
                name: network.state_dict()
                for name, network in self.networks.students.items()
            },
            teachers={
                name: network.state_dict()
                for name, network in self.networks.teachers.items()
            },
            optimiser=self._optimiser.state_dict(),
            best=self.best,
        )

    def restore(self, state: Checkpoint) -> None:
        """Go back to a checkpoint."""
        for name, network in self.networks.students.items():
            network.load_state_dict(state.students[name])
            self.networks.teachers[name].load_state_dict(state.teachers[name])
        self._optimiser.load_state_dict(state.optimiser)
        self.step = state.step
        self.seconds = state.seconds
        self.best = state.best

    def predictor(self) -> Predictor:
        """The averaged networks as they are now."""
        return Predictor(self._method, self.networks.teachers, self._plan, self._device)


def validation_dice(
    trainer: Trainer, cases: Sequence[Prepared], labels: LabelScheme
) -> dict[str, float]:
    """Mean Dice per class name of held-out cases, on the working grid."""
    predictor = trainer.predictor()
    scores: dict[str, list[float]] = {item.name: [] for item in labels}
    for case in cases:
        assert case.target is not None
        maps = predictor.maps(torch.from_numpy(case.image.astype(np.float32)))
        said = maps.probabilities.argmax(dim=0).numpy()
        truth = np.asarray(case.target)
        known = truth != 255
        for index, item in enumerate(labels, start=1):
            mine, theirs = (said == index) & known, truth == index
            size = int(mine.sum() + theirs.sum())
            both = 2.0 * float((mine & theirs).sum())
            scores[item.name].append(both / size if size else 1.0)
    return {name: float(np.mean(values)) for name, values in scores.items()}
