"""The training loop: a generator of events that can stop and go on exactly."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from napari_semiseg.core.cancellation import NEVER, Cancelled
from napari_semiseg.core.events import Checkpointed, Stepped, Validated
from napari_semiseg.engine.data.label_schedule import Schedule
from napari_semiseg.engine.devices import autocast, cores, synchronise
from napari_semiseg.engine.distributed import ALONE
from napari_semiseg.engine.inference.predictor import Predictor
from napari_semiseg.engine.methods import perturbations
from napari_semiseg.engine.methods.base import Networks, Progress
from napari_semiseg.engine.networks.blocks import placed
from napari_semiseg.engine.training import warm_start
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.engine.training.entropy_ratio import EntropyRatio, entropy_sums
from napari_semiseg.engine.training.gradient_balance import GradientBalance
from napari_semiseg.engine.training.optimisers import Adam, optimisers, set_rate
from napari_semiseg.errors import ProjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from napari_semiseg.core.cancellation import CancellationToken
    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.events import Event
    from napari_semiseg.core.plan import Plan
    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.data.sampler import Batches
    from napari_semiseg.engine.distributed import Ranks
    from napari_semiseg.engine.methods.base import Method

WARM_UP = 0.06
"""Fraction of training in which the learning rate rises."""
LARGEST_GRADIENT = 5.0
EVENT_SECONDS = 0.5
ATTENTION_SECONDS = 0.5
"""Between two times that several ranks look together for what a user has changed."""
MEASURED_STEPS = 6
"""Steps of a kind whose speed is measured."""
FEWEST_STEPS = 3
"""As many of them as are enough where they are far too slow."""
LOOKED_AT = 3
"""Scans with labels, for how far apart they are."""
PARTS, REHEARSED_PARTS = 20, 4
"""Of a training: for the share of each kind of step, and for what a step needs."""
LATE = 100
"""Steps of each kind whose seconds are remembered."""
LONG = 100_000
"""Steps of a training so long that a method does all it ever does."""


def learning_rate(peak: float, step: int, total: int) -> float:
    """Rise linearly, then fall by a half cosine to almost 0 at the last step."""
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
    gradient_ratio : float, optional
        What terms on unlabelled crops are scaled to, see `GradientBalance`.
    ranks : Ranks
        Processes that train the same networks, each on its share of the batches.
    """

    def __init__(
        self,
        method: Method,
        batches: Batches,
        plan: Plan,
        seed: int,
        device: torch.device,
        gradient_ratio: float | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self._method = method
        self._batches = batches
        self._plan = plan
        self._seed = seed
        self._device = device
        self._ranks = ranks
        torch.set_num_threads(min(plan.threads, cores()))
        torch.manual_seed(seed)
        students = {
            name: placed(network, device) for name, network in method.networks().items()
        }
        teachers = {
            name: perturbations.frozen_copy(students[followed])
            for name, followed in method.teachers().items()
        }
        critics = {
            name: placed(critic, device) for name, critic in method.critics().items()
        }
        self.networks = Networks(students, teachers, critics)
        self._parameters = [
            parameter
            for network in students.values()
            for parameter in network.parameters()
        ]
        self._optimisers = optimisers(plan, self._parameters)
        self._critics = [
            parameter
            for critic in self.networks.critics.values()
            for parameter in critic.parameters()
        ]
        self._statistics = [
            buffer
            for student in students.values()
            for buffer in student.buffers()
            if buffer.is_floating_point()
        ]
        self._of_critics: dict[str, torch.optim.Optimizer] = {}
        if self._critics:
            self._of_critics["critics"] = Adam(
                self._critics,
                lr=method.critic_learning_rate,
                betas=(0.9, 0.99),
            )
        self.step = 0
        self._rate = 0.0
        self.seconds = 0.0
        self.best = -1.0
        self.schedule = Schedule()
        self._balance = GradientBalance(gradient_ratio)
        self._entropy_ratio = EntropyRatio()
        self._costs: dict[bool, float] = {}
        self._work: dict[bool, float] = {}
        self._kinds: list[bool] = []
        self._took: dict[bool, deque[float]] = {}
        self._loss = torch.zeros(())
        self._started = 0.0

    @property
    def weights(self) -> tuple[nn.Parameter, ...]:
        """All trained weights."""
        return tuple(self._parameters)

    @property
    def parameters(self) -> int:
        """Number of trained weights."""
        return sum(parameter.numel() for parameter in self._parameters)

    def measure(self, total: int, enough: float = math.inf) -> float:
        """Measure the seconds per step in a training of ``total`` steps.

        Steps with and without unlabelled crops are measured apart, each kind once in
        the life of a trainer, and counted as often as they will occur. The quickest
        counts: another program can only make a step slower, and it may be gone in a
        minute. Less is measured of steps that clearly take more than ``enough``
        seconds. Leaves this trainer used up.
        """
        kinds: list[bool] = []
        for self.step in _middles(total, PARTS):
            self._entropy_ratio = EntropyRatio()  # random weights have none
            kind = self._method.takes_unlabelled(self._progress(total))
            kinds.append(kind)
            if kind not in self._costs:
                self._costs[kind], self._work[kind] = self._quickest(total, enough)
        self._kinds = kinds
        return float(np.mean([self._costs[kind] for kind in kinds]))

    @property
    def work_seconds(self) -> float:
        """Seconds per step that `measure` would find were no other program busy.

        On a processor the time that the step itself was at work, over the threads, so
        that a plan does not depend on what else a machine does in that second.
        """
        return float(np.mean([self._work[kind] for kind in self._kinds]))

    def _quickest(self, total: int, enough: float) -> tuple[float, float]:
        """Measure the quickest of a few steps, and its work; the first warms up."""
        times: list[tuple[float, float]] = []
        while len(times) < MEASURED_STEPS:
            if len(times) >= FEWEST_STEPS and min(times[1:])[0] > enough:
                break
            synchronise(self._device)
            start, worked = time.perf_counter(), time.process_time()
            self._advance(total)
            synchronise(self._device)
            took = time.perf_counter() - start
            work = (time.process_time() - worked) / self._plan.threads
            times.append((took, work if self._device.type == "cpu" else took))
        walls, works = zip(*times[1:], strict=True)
        return min(walls), min(works)

    def _progress(self, total: int, step: int | None = None) -> Progress:
        """Say where a training of ``total`` steps is, or would be at ``step``."""
        at = self.step if step is None else step
        return Progress(at, total, self._entropy_ratio.value)

    @property
    def plan(self) -> Plan:
        """The plan that it trains by."""
        return self._plan

    @property
    def entropy_ratio(self) -> float | None:
        """How much less sure the networks are where nothing is annotated."""
        return self._entropy_ratio.value

    def replan(self, plan: Plan) -> None:
        """Go on with another number of steps."""
        before = self._progress(self._plan.steps)
        self._plan = plan
        self._method.clock_moves(self.networks, before, self._progress(plan.steps))

    def expect(self, trial: Trainer) -> None:
        """Take what each kind of step costs from a trainer that has measured it."""
        self._costs = dict(trial._costs)

    def recent_seconds_per_step(self, total: int) -> float:
        """Mean seconds of the steps that are left of ``total``, as steps were of late.

        A kind of step that was not taken of late costs as much more or less as was
        measured before the first one.
        """
        found = {kind: float(np.mean(times)) for kind, times in self._took.items()}
        known = [kind for kind in found if kind in self._costs]
        if known:
            slower = float(np.mean([found[one] / self._costs[one] for one in known]))
            planned = {kind: cost * slower for kind, cost in self._costs.items()}
            found = planned | found
        usual = float(np.mean(list(found.values())))
        left = [self.step + middle for middle in _middles(total - self.step, PARTS)]
        kinds = [
            self._method.takes_unlabelled(self._progress(total, step)) for step in left
        ]
        return float(np.mean([found.get(kind, usual) for kind in kinds]))

    def rehearse(self) -> Iterator[None]:
        """Take a step of each part of a training; leaves this trainer used up."""
        for self.step in _middles(LONG, REHEARSED_PARTS):
            self._advance(LONG)
            yield

    def _advance(
        self, total: int, requests: tuple[float, ...] = ()
    ) -> tuple[dict[str, Tensor], list[float]]:
        """Take one step, a function of the weights, the seed and the step.

        Returns the terms of this rank, and the means of the ranks' ``requests``.
        """
        noise = hash((self._seed, self.step)) + self._ranks.rank
        torch.manual_seed(noise % 2**63)
        t = self._progress(total)
        taking = self._method.takes_unlabelled(t)
        looks = self._method.weighs_entropy(t) and self._entropy_ratio.is_due(t)
        batch = self._batches.batch(
            self.step,
            self._device,
            unlabelled=taking or looks,
            all_greys=self._method.borrows_unlabelled_greys(t),
        )
        seen = self._entropies(batch) if looks else []
        for network in self.networks.students.values():
            network.train()
        with autocast(self._device, self._plan.precision):
            terms = self._method.terms(self.networks, batch, t)
        self._rate = learning_rate(self._plan.learning_rate, self.step, total)
        set_rate(self._optimisers, self._rate)
        for weight in self._parameters:
            weight.grad = None
        norms = self._balance.backward(
            terms, self._method.labelled_terms, self._parameters, step=self.step
        )
        self._loss = torch.stack([term.detach() for term in terms.values()]).sum()
        labelled, rest, *agreed = self._ranks.average(
            self._parameters,
            [*self._statistics, self._loss],
            (*norms, *seen, *requests),
        )
        self._balance.learn(labelled, rest, self._method.ramped(t))
        if looks:
            seen, agreed = agreed[: len(seen)], agreed[len(seen) :]
            self._entropy_ratio.learn(seen, self._progress(total, self.step + 1))
        nn.utils.clip_grad_norm_(self._parameters, LARGEST_GRADIENT)
        for optimiser in self._optimisers.values():
            optimiser.step()
        if self._critics and self._method.trains_critics(t):
            self._advance_critics(batch)
        followed = self._method.teachers()
        for name in self._method.followers(t):
            perturbations.update_average(
                self.networks.teachers[name],
                self.networks.students[followed[name]],
                self.step,
                self._method.params.ema_decay,
            )
        self.step += 1
        self._method.clock_moves(self.networks, t, self._progress(total))
        return {name: term.detach() for name, term in terms.items()}, agreed

    def _entropies(self, batch: Batch) -> list[float]:
        """Look at the crops of a batch with the averaged networks."""
        with torch.no_grad(), autocast(self._device, self._plan.precision):
            found = self._method.infer(self.networks.teachers, batch.image)
        return entropy_sums(found.probabilities, batch)

    def _advance_critics(self, batch: Batch) -> None:
        with autocast(self._device, self._plan.precision):
            loss = self._method.critic_loss(self.networks, batch)
        optimiser = self._of_critics["critics"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._ranks.average(self._critics, ())
        optimiser.step()

    def run(
        self,
        checkpoint: Path,
        *,
        every_seconds: float,
        stop: Callable[[], bool],
        validate: Callable[[Trainer], Validated] | None = None,
        between: Callable[[Trainer], Iterator[Event]] = lambda _: iter(()),
    ) -> Iterator[Event]:
        """Train to the plan's last step, or until ``stop()``.

        ``between`` is called after every step but the last; it may change what the
        next batches are drawn from.

        ``validate`` may raise ``Cancelled``, which ends the training as well.

        All ways end with a checkpoint. Raises ``ProjectError`` when the loss is no
        longer a number; the last checkpoint is then still good.

        Of several ranks the first one reports and saves. Its clock says when all of
        them look ``between`` two steps together, and with it they stop together.
        """
        self._started = time.perf_counter() - self.seconds
        reported = saved = looked = time.perf_counter()
        pending: list[dict[str, Tensor]] = []
        first, alone = self._ranks.is_first, self._ranks.alone
        while self.step < (total := self._plan.steps):
            asked = first and stop()
            if asked and alone:
                break
            looks = alone or time.perf_counter() - looked >= ATTENTION_SECONDS
            terms, agreed = self._timed(total, (asked, first and looks))
            stops, looks = map(bool, agreed)
            now = time.perf_counter()
            if first:
                pending.append(terms)
            if now - reported >= EVENT_SECONDS or self.step == total:
                yield from self._reported(pending, total)
                reported = now
            if validate is not None and self.step % self._plan.validate_every == 0:
                try:
                    validated = self._validated(validate, checkpoint)
                except Cancelled:
                    break
                yield validated
            if first and now - saved >= every_seconds and self.step < total:
                # A loss that is no number must not be saved.
                yield from self._reported(pending, total)
                self._save(checkpoint)
                reported, saved = now, time.perf_counter()
                yield Checkpointed(step=self.step)
            if stops:
                break
            if looks and self.step < total:
                yield from between(self)
                looked = time.perf_counter()
        yield from self._reported(pending, self._plan.steps)
        self._save(checkpoint, ended=True)
        yield Checkpointed(step=self.step)

    def _timed(
        self, total: int, requests: tuple[float, ...]
    ) -> tuple[dict[str, Tensor], list[float]]:
        """Take one step as `_advance` does, and note what it took."""
        kind = self._method.takes_unlabelled(self._progress(total))
        began = time.perf_counter()
        found = self._advance(total, requests)
        now = time.perf_counter()
        self._took.setdefault(kind, deque(maxlen=LATE)).append(now - began)
        self.seconds = now - self._started
        return found

    def _validated(
        self, validate: Callable[[Trainer], Validated], checkpoint: Path
    ) -> Validated:
        """Score the averaged networks, and keep them where they are the best so far."""
        found = validate(self)
        mean = float(np.mean(list(found.dice.values())))
        if mean > self.best:
            self.best = mean
            self._save(checkpoint.with_name("best.pt"))
        return found

    def _reported(
        self, pending: list[dict[str, Tensor]], total: int
    ) -> Iterator[Stepped]:
        """Report the terms of the steps since the last report, if there are any."""
        if pending:
            yield self._stepped(pending, total)
            pending.clear()

    def _save(self, checkpoint: Path, *, ended: bool = False) -> None:
        """Write a checkpoint, once for all ranks, whose weights are the same."""
        if self._ranks.is_first:
            self.state(self._familiar() if ended else None).save(checkpoint)

    def _stepped(self, pending: list[dict[str, Tensor]], total: int) -> Stepped:
        found: dict[str, list[Tensor]] = {}
        for terms in pending:  # not every step has every term
            for name, value in terms.items():
                found.setdefault(name, []).append(value)
        losses = {
            name: float(torch.stack(values).mean()) for name, values in found.items()
        }
        everywhere = {"on another device": float(self._loss)}
        broken = [
            name
            for name, value in (losses | everywhere).items()
            if not math.isfinite(value)
        ]
        if broken:
            raise ProjectError(
                f"the loss term {broken[0]!r} is not a number at step {self.step}; "
                f"train again with a lower --set learning_rate or --set precision=fp32"
            )
        left = total - self.step
        seconds_per_step = self.recent_seconds_per_step(total) if left else 0.0
        return Stepped(
            step=self.step,
            steps=total,
            losses=losses,
            learning_rate=self._rate,
            seconds=self.seconds,
            seconds_left=seconds_per_step * left,
            gradient_ratio=self._balance.ratio,
            entropy_ratio=self._entropy_ratio.value,
        )

    def state(self, familiar: float | None = None) -> Checkpoint:
        """Give everything that the next step depends on, and how it predicts."""
        return Checkpoint(
            step=self.step,
            seconds=self.seconds,
            students=_states(self.networks.students),
            teachers=_states(self.networks.teachers),
            critics=_states(self.networks.critics),
            optimisers=_states(self._optimisers | self._of_critics),
            best=self.best,
            schedule=self.schedule.state(),
            gradient_ratio=self._balance.ratio,
            familiar=familiar,
            entropy_ratio=self._entropy_ratio.state(),
        )

    def _familiar(self) -> float | None:
        """Measure how far apart a few scans with labels are, see `Checkpoint`."""
        predictor = self.predictor()
        apart = [
            predictor.apart(image.astype(np.float32))
            for image in self._batches.labelled_images(LOOKED_AT)
        ]
        return float(np.mean(apart)) if apart else None

    def restore(self, state: Checkpoint) -> None:
        """Go back to a checkpoint."""
        for parts, states in (
            (self.networks.students, state.students),
            (self.networks.teachers, state.teachers),
            (self.networks.critics, state.critics),
            (self._optimisers | self._of_critics, state.optimisers),
        ):
            for name, part in parts.items():
                part.load_state_dict(states[name])
        self.step = state.step
        self.seconds = state.seconds
        self.best = state.best
        self._balance.ratio = state.gradient_ratio
        if state.entropy_ratio:
            self._entropy_ratio.restore(state.entropy_ratio)
        self.schedule = Schedule.from_state(state.schedule)

    def warm_start(self, earlier: Checkpoint, config: TrainingConfig) -> None:
        """Begin with the weights of an earlier run; see `training.warm_start`."""
        warm_start.shrink_and_perturb(
            self.networks, self._method.teachers(), earlier, config
        )

    def predictor(
        self, cancellation: CancellationToken = NEVER, *, feature_maps: bool = False
    ) -> Predictor:
        """Make a predictor of the averaged networks as they are now."""
        return Predictor(
            self._method,
            self.networks.teachers,
            self._plan,
            self._device,
            cancellation,
            feature_maps=feature_maps,
            familiar=self._familiar,
        )


def _middles(total: int, parts: int) -> list[int]:
    """List the steps in the middle of the parts of a training."""
    return [(2 * part + 1) * total // (2 * parts) for part in range(parts)]


def _states(
    parts: Mapping[str, nn.Module | torch.optim.Optimizer],
) -> dict[str, dict[str, Any]]:
    return {name: part.state_dict() for name, part in parts.items()}
