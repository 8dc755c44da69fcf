"""One session of a run: prepare the cohort, measure the speed, train."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.events import (
    Checkpointed,
    Decided,
    Finished,
    Planned,
    Staged,
    Warned,
)
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.core.text import count, listed
from napari_semiseg.engine.data.cache import Cache
from napari_semiseg.engine.data.label_schedule import Schedule
from napari_semiseg.engine.data.sampler import Sampler, SyntheticBatches
from napari_semiseg.engine.distributed import ALONE
from napari_semiseg.engine.methods import base, registry
from napari_semiseg.engine.out_of_memory import out_of_memory_advice, training_advice
from napari_semiseg.engine.planning import memory
from napari_semiseg.engine.planning.fingerprint import fingerprint, single_pieces
from napari_semiseg.engine.planning.plan import (
    draft,
    with_grid,
    with_labels,
    with_steps,
)
from napari_semiseg.engine.planning.speed import (
    FEW_STEPS,
    Timekeeper,
    expected_steps,
    fastest,
    fix_steps,
    measure_seconds_per_voxel,
)
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.engine.training.live_labels import LiveLabels
from napari_semiseg.engine.training.live_predictions import LivePredictions
from napari_semiseg.engine.training.pictures import TrainingPictures
from napari_semiseg.engine.training.trainer import Trainer
from napari_semiseg.engine.training.validation import validate
from napari_semiseg.engine.training.warm_start import with_levels_of
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import write_json
from napari_semiseg.project.cloud_folder import cloud_warning
from napari_semiseg.project.runs.event_log import checkpoint_facts

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Sequence

    import torch

    from napari_semiseg.core.events import Event, FinishReason, Learned
    from napari_semiseg.core.plan import Plan
    from napari_semiseg.engine.data.cache import PreparedCohort
    from napari_semiseg.engine.data.label_schedule import LabelUpdate
    from napari_semiseg.engine.data.sampler import Batches, Streams
    from napari_semiseg.engine.distributed import Ranks
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run


ANEW = "; fixed anew after"


@dataclass(frozen=True, slots=True)
class Beginning:
    """What the first rank has decided before the first step, for all of them.

    Attributes
    ----------
    plan : Plan
        With all decisions.
    schedule : Schedule
        Versions of the labels that are in force.
    validation : dict of str to str
        Version of the label of each case that only scores, by id.
    saved : Checkpoint, optional
        State to go on from.
    """

    plan: Plan
    schedule: Schedule
    validation: dict[str, str]
    saved: Checkpoint | None


@dataclass(slots=True)
class _Prepared:
    """What the first rank keeps of its preparations."""

    beginning: Beginning
    live_labels: LiveLabels
    learned: Learned | None
    seconds_per_step: float
    trial: Trainer | None


class Training:
    """One session of a run, step by step; ``source`` gives the first weights.

    Of several ``ranks`` the first one plans, looks for labels and saves.
    """

    def __init__(
        self,
        project: Project,
        run: Run,
        cohort: PreparedCohort,
        device: torch.device,
        source: Run | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self._ranks = ranks
        self._project = project
        self._run = run
        self._cohort = cohort
        self._device = device
        self._source = source
        self._config = run.config
        saved = checkpoint_facts(run.folder.last)
        self._step = saved.step or 0
        self._seconds = saved.seconds or 0.0
        self._all_ready = False
        self._entropy_ratio: float | None = None
        self.complete = False

    def finished(self, reason: FinishReason, error: str | None = None) -> Finished:
        """Make the session's last event."""
        return Finished(
            run=self._run.id,
            reason=reason,
            step=self._step,
            seconds=self._seconds,
            error=error,
        )

    def events(self) -> Iterator[Event]:
        """Plan, prepare, measure, train."""
        with out_of_memory_advice(partial(training_advice, self._run)):
            yield from self._events()

    def _events(self) -> Iterator[Event]:
        prepared = None
        if self._ranks.is_first:
            prepared = yield from self._decide()
        begin = self._ranks.shared(
            prepared.beginning if prepared else None, prepares=True
        )
        if begin is None:
            return
        config, plan, schedule = self._config, begin.plan, begin.schedule
        if prepared is None:
            live_labels = self._live_labels(plan)
            live_labels.adopt(schedule.versions, begin.validation)
        else:
            live_labels = prepared.live_labels
        earlier = None if begin.saved else self._saved(self._source)
        sampler = self._sampler(plan, live_labels.streams(schedule))
        trainer = self._trainer(plan, sampler, self._ranks)
        if begin.saved is not None:
            trainer.restore(begin.saved)
        elif earlier is not None:
            trainer.warm_start(earlier, config)
        trainer.schedule = schedule
        if prepared is not None and prepared.trial is not None:
            trainer.expect(prepared.trial)
            prepared.trial = None  # and its networks
        self._timekeeper = Timekeeper(trainer.step, plan.steps)
        yield Planned(
            device=plan.device,
            steps=plan.steps,
            seconds_per_step=prepared.seconds_per_step if prepared else 0.0,
            parameters=trainer.parameters,
        )
        if prepared is not None and prepared.learned is not None:
            yield prepared.learned
        live_predictions = LivePredictions(
            self._project,
            self._run,
            config,
            plan,
            is_warm_started=self._source is not None,
            ranks=self._ranks,
        )
        yield from self._train(trainer, live_labels, sampler, live_predictions)
        self._step, self._seconds = trainer.step, trainer.seconds
        self.complete = trainer.step >= trainer.plan.steps

    def _live_labels(self, plan: Plan) -> LiveLabels:
        return LiveLabels(
            self._project,
            self._cohort,
            Cache(self._project, plan),
            unlabelled=registry.check(self._config).unlabelled > 0,
            untrusted=self._config.untrusted > 0,
            look_seconds=self._config.look_seconds,
        )

    def _decide(self) -> Generator[Event, None, _Prepared | None]:
        """Plan, prepare the cohort, measure the speed; None where it was stopped."""
        start = time.perf_counter()
        if warning := cloud_warning(self._project.folder):
            yield Warned(message=warning)
        kind, plan = registry.check(self._config), self._run.plan
        is_new, expected = plan is None, 0
        if plan is None:
            yield Staged(stage="Planning", done=0, total=1)
            plan, expected = self._planned(kind)
        registry.check_shares(plan, self._ranks.size, kind)
        live_labels = self._live_labels(plan)
        yield from self._prepare(live_labels, plan)
        if self._stopped():
            return None
        saved = self._saved(self._run)
        earlier = self._saved(self._source)
        schedule = Schedule.from_state(saved.schedule if saved else ())
        seconds_per_step, trial = 0.0, None
        if is_new:
            trial = self._trainer(
                plan, self._sampler(plan, live_labels.streams(Schedule()))
            )
            plan, seconds_per_step = yield from self._with_steps(
                plan, live_labels, trial, expected, start
            )
        else:  # with the same cases as before, so that it goes on exactly
            done = saved.step if saved else 0
            self._all_ready = self._first_unlabelled(plan, done) is not None
            known = None if self._all_ready else schedule.versions
            yield from live_labels.prepare_unlabelled(self._stopped, among=known)
        if self._stopped():
            return None
        if is_new:
            write_json(self._run.folder.plan, plan.model_dump(mode="json"))
        learned = self._first_update(schedule, live_labels, saved, earlier)
        validation = {case.id: case.version for case in live_labels.validation}
        beginning = Beginning(plan, schedule, validation, saved)
        return _Prepared(beginning, live_labels, learned, seconds_per_step, trial)

    def _train(
        self,
        trainer: Trainer,
        live_labels: LiveLabels,
        sampler: Sampler,
        live_predictions: LivePredictions,
    ) -> Iterator[Event]:
        """Train to the end or a stop."""
        self._entropy_ratio = trainer.entropy_ratio
        held_out = live_labels.validation
        pictures = TrainingPictures(
            self._project, self._run, trainer.plan, live_labels.labelled
        )
        for event in trainer.run(
            self._run.folder.last,
            every_seconds=self._config.checkpoint_seconds,
            stop=self._stopped,
            validate=partial(
                validate,
                cases=held_out,
                labels=self._project.labels,
                cancellation=self._run.cancellation,
                ranks=self._ranks,
            )
            if held_out
            else None,
            between=partial(
                self._between,
                live_labels=live_labels,
                sampler=sampler,
                live_predictions=live_predictions,
                pictures=pictures,
            ),
        ):
            self._step, self._seconds = trainer.step, trainer.seconds
            yield event

    def _planned(self, kind: type[base.Method]) -> tuple[Plan, int]:
        """Plan all but the exact number of steps; also give about how many."""
        config = self._config
        source = None if self._source is None else self._source.plan
        if source is not None:
            config = config.model_copy(update={"width": source.width})
        facts = fingerprint(self._cohort.training, self._cohort.labelled)
        unlabelled = kind.unlabelled if self._cohort.unlabelled else 0
        devices = self._ranks.size
        plan = draft(
            config, facts, self._device, unlabelled=unlabelled, devices=devices
        )
        plan, per_voxel = fastest(plan, self._rehearsal, asked=config.precision)
        need = memory.footprint(self._rehearsal(plan), math.prod(plan.patch_zyx))
        most = memory.largest_crop(need, memory.available(self._device), config)
        plan = with_grid(plan, config, facts, per_voxel, most)
        if config.minutes is not None and config.patch_zyx is None:
            # Thin or large crops can cost more or less a voxel than the first one did.
            per_voxel = measure_seconds_per_voxel(self._rehearsal(plan), plan)
            plan = with_grid(plan, config, facts, per_voxel, most)
        single, whole = (
            single_pieces(self._cohort.labelled) if config.single_pieces else ((), 0)
        )
        plan = with_labels(plan, self._project.labels, single, whole)
        if self._source is not None:
            plan = with_levels_of(plan, self._source, config)
        return plan, expected_steps(config, per_voxel * math.prod(plan.patch_zyx))

    def _rehearsal(self, plan: Plan) -> Trainer:
        """Make a trainer on random batches, to measure what a step costs."""
        classes = len(self._project.labels) + 1
        return self._trainer(plan, SyntheticBatches(plan, classes, self._ranks.size))

    def _trainer(self, plan: Plan, batches: Batches, ranks: Ranks = ALONE) -> Trainer:
        """Make a trainer before its first step; to measure, one that is alone."""
        learner = self._learner(plan)
        config = self._config
        return Trainer(
            learner,
            batches,
            plan,
            config.seed,
            self._device,
            config.gradient_ratio,
            ranks,
        )

    def _learner(self, plan: Plan) -> base.Method:
        """Build the run's method for the classes and channels of a plan."""
        task = make_task(self._project, plan)
        return registry.build(self._config.method, self._config.params, task)

    def _sampler(self, plan: Plan, streams: Streams) -> Sampler:
        """Make a sampler of this rank's share of the batches."""
        config = self._config
        return Sampler(
            streams,
            plan,
            config.seed,
            fresh_weight=config.fresh_weight,
            fresh_steps=config.fresh_steps,
            untrusted=config.untrusted,
            rank=self._ranks.rank,
            ranks=self._ranks.size,
        )

    def _saved(self, run: Run | None) -> Checkpoint | None:
        if run is None or not run.has_model:
            return None
        return Checkpoint.load(run.folder.last, self._device)

    def _first_update(
        self,
        schedule: Schedule,
        live_labels: LiveLabels,
        saved: Checkpoint | None,
        earlier: Checkpoint | None,
    ) -> Learned | None:
        """Put the cohort in force; report what changed since the last session.

        With the weights of an earlier run, labels that it had not seen are new.
        """
        if schedule.updates and saved is not None:
            return live_labels.update(schedule, saved.step)
        known = Schedule.from_state(earlier.schedule if earlier else ())
        new = known.new_labels(live_labels.versions) if known.updates else ()
        schedule.update(0, live_labels.versions, new=new)
        return None

    def _between(
        self,
        trainer: Trainer,
        *,
        live_labels: LiveLabels,
        sampler: Sampler,
        live_predictions: LivePredictions,
        pictures: TrainingPictures,
    ) -> Iterator[Event]:
        """Take in changed labels and predict requested cases between two steps."""
        ranks, known = self._ranks, len(trainer.schedule.updates)
        news: tuple[Sequence[LabelUpdate], Plan] | None = None
        if ranks.is_first:
            for event in chain(
                self._learn_changes(trainer, live_labels, sampler),
                self._keep_minutes(trainer, live_labels, sampler),
                self._weigh_unlabelled(trainer),
            ):
                if isinstance(event, Staged):
                    ranks.shared(None)  # it still prepares: the others are to wait
                yield event
            ranks.shared((trainer.schedule.updates[known:], trainer.plan))
        else:
            while news is None:
                news = ranks.shared(None)
            updates, plan = news
            trainer.replan(plan)
            sampler.replan(plan)
            self._adopt(updates, trainer, live_labels, sampler)
        yield from live_predictions.events(trainer)
        if self._ranks.is_first:
            yield from pictures.events(trainer)

    def _adopt(
        self,
        updates: Sequence[LabelUpdate],
        trainer: Trainer,
        live_labels: LiveLabels,
        sampler: Sampler,
    ) -> None:
        """Learn from the labels that the first rank has found."""
        for update in updates:
            live_labels.adopt(update.versions)
            trainer.schedule.updates.append(update)
            sampler.change(live_labels.streams(trainer.schedule))

    def _learn_changes(
        self, trainer: Trainer, live_labels: LiveLabels, sampler: Sampler
    ) -> Iterator[Event]:
        """Learn from labels that the user has changed.

        A checkpoint is written before the first step with them, so that a killed
        session goes on with the same labels at the same steps.
        """
        changed = yield from live_labels.check()
        if changed and not live_labels.labelled:
            yield Warned(
                message="no label is left in the project: training goes on with those "
                "it has; label a case, or stop it"
            )
        learned = (
            live_labels.update(trainer.schedule, trainer.step) if changed else None
        )
        if learned is not None:
            sampler.change(live_labels.streams(trainer.schedule))
            trainer.state().save(self._run.folder.last)
            yield learned
            yield Checkpointed(step=trainer.step)

    def _keep_minutes(
        self, trainer: Trainer, live_labels: LiveLabels, sampler: Sampler
    ) -> Iterator[Event]:
        """Fix the steps anew at a set point, as many as the minutes still hold.

        A checkpoint is written before the plan, so that a killed session goes on with
        the same steps.
        """
        known, step = trainer.plan, trainer.step
        steps = self._timekeeper.steps(
            known, step, trainer.seconds, trainer.recent_seconds_per_step
        )
        if steps is None:
            return
        first, *_ = known.reasons["steps"].split(ANEW)
        reason = f"{first}{ANEW} {step:,} steps, which took {trainer.seconds:.0f} s"
        plan = with_steps(
            known, steps, reason, known.validate_every, known.training_seconds
        )
        learned = None
        if not self._all_ready and self._first_unlabelled(plan, step) is not None:
            self._all_ready = True
            yield from live_labels.prepare_unlabelled(self._stopped)
            learned = live_labels.update(trainer.schedule, step)
            sampler.change(live_labels.streams(trainer.schedule))
        if trainer.entropy_ratio is None:
            plan = self._with_use_of_unlabelled(plan)
        trainer.replan(plan)
        sampler.replan(plan)
        trainer.state().save(self._run.folder.last)
        write_json(self._run.folder.plan, plan.model_dump(mode="json"))
        if learned is not None:
            yield learned
        yield Checkpointed(step=step)
        yield Planned(
            device=plan.device,
            steps=steps,
            seconds_per_step=trainer.recent_seconds_per_step(steps),
            parameters=trainer.parameters,
        )

    def _weigh_unlabelled(self, trainer: Trainer) -> Iterator[Event]:
        """Say what becomes of unlabelled scans, when it is measured."""
        ratio, step = trainer.entropy_ratio, trainer.step
        if ratio is None or ratio == self._entropy_ratio:
            return
        before, self._entropy_ratio = self._entropy_ratio, ratio
        plan = self._with_use_of_unlabelled(trainer.plan, step, ratio)
        trainer.replan(plan)
        write_json(self._run.folder.plan, plan.model_dump(mode="json"))
        first = self._first_unlabelled(plan, step, ratio)
        if before is None or first != self._first_unlabelled(plan, step, before):
            yield Decided(
                step=step,
                message=f"unlabelled scans: {plan.reasons['unlabelled']}",
            )

    def _stopped(self) -> bool:
        return self._run.stop_requested

    def _prepare(self, live_labels: LiveLabels, plan: Plan) -> Iterator[Event]:
        """Bring the cohort onto the working grid; warn of classes without a voxel."""
        yield from live_labels.prepare(self._stopped)
        if self._stopped():
            return
        targets = [
            case.target for case in live_labels.labelled if case.target is not None
        ]
        if self._config.untrusted and not live_labels.untrusted:
            yield Warned(
                message="no scan has a mask that another program proposed and nothing "
                "else: training learns from labels alone; see semiseg propose"
            )
        shown = {int(index) for target in targets for index in np.unique(target)}
        unseen = {
            item.name: index
            for index, item in enumerate(self._project.labels, start=1)
            if index not in shown
        }
        lost = {
            name
            for name, index in unseen.items()
            if any(case.comes_near(index) for case in live_labels.labelled)
        }
        if not any(0 < index < UNANNOTATED for index in shown):
            raise ProjectError(
                _too_small(lost, plan)
                if lost
                else "expected labels that show a structure, found nothing but "
                "background in those of the training cases; paint some of it, then "
                "train"
            )
        for name in unseen:
            if name not in lost:
                yield Warned(
                    message=f"no labelled voxel of {name!r} in any training case: "
                    f"it cannot be learned and will not be predicted; label some"
                )
        if lost:
            yield Warned(message=_too_small(lost, plan))

    def _with_steps(
        self,
        plan: Plan,
        live_labels: LiveLabels,
        trial: Trainer,
        expected: int,
        start: float,
    ) -> Generator[Event, None, tuple[Plan, float]]:
        """Measure the speed, and prepare the unlabelled cases if a step will need them.

        Returns the plan with its number of steps, and seconds of one.
        """
        yield Staged(stage="Measuring the speed", done=0, total=1)
        plan, seconds_per_step = self._with_measured_steps(plan, trial, expected, start)
        if self._first_unlabelled(plan) is not None:
            self._all_ready = True
            yield from live_labels.prepare_unlabelled(self._stopped)
            plan, seconds_per_step = self._with_measured_steps(
                plan, trial, plan.steps, start
            )
        plan = self._with_use_of_unlabelled(plan)
        if self._config.untrusted:
            masks = count(len(live_labels.untrusted), "proposed mask")
            use = (
                f"{masks}, in {self._config.untrusted:.0%} of the labelled crops at "
                f"first, and in none after two thirds of the steps"
            )
            reasons = plan.reasons | {"untrusted": use}
            plan = plan.model_copy(update={"reasons": reasons})
        if self._config.minutes is not None and plan.steps < FEW_STEPS:
            yield Warned(
                message=f"the minutes hold only {plan.steps} steps on this machine; a "
                f"useful model needs {FEW_STEPS} or more: give it more minutes, or "
                f"close other programs"
            )
        return plan, seconds_per_step

    def _first_unlabelled(
        self, plan: Plan, done: int = 0, entropy_ratio: float | None = None
    ) -> int | None:
        """Find the first step after those done that takes unlabelled crops.

        Where a measurement decides that is not done yet, the first that may take them.
        """
        if not plan.unlabelled_batch:
            return None
        learner = self._learner(plan)
        steps = (
            step
            for step in range(done, plan.steps)
            if learner.takes_unlabelled(base.Progress(step, plan.steps, entropy_ratio))
        )
        return next(steps, None)

    def _with_use_of_unlabelled(
        self, plan: Plan, done: int = 0, entropy_ratio: float | None = None
    ) -> Plan:
        """Say from when on unlabelled scans are used, or why they are not."""
        use = self._use_of_unlabelled(plan, done, entropy_ratio)
        return plan.model_copy(update={"reasons": plan.reasons | {"unlabelled": use}})

    def _use_of_unlabelled(
        self, plan: Plan, done: int, entropy_ratio: float | None
    ) -> str:
        if not self._cohort.unlabelled:
            return "there are none"
        method = repr(self._config.method)
        if not plan.unlabelled_batch:
            return f"{method} learns from labels alone, or was asked to"
        first = self._first_unlabelled(plan, done, entropy_ratio)
        if entropy_ratio is not None:
            measured = (
                f"(entropy of what is not annotated {entropy_ratio:.2f} times as high)"
            )
            if first is None:
                return f"not used yet at step {done:,} {measured}"
            return f"used from step {first:,} of {plan.steps:,} on {measured}"
        if first is None:
            return (
                f"not used: {method} would begin later than in {plan.steps:,} steps; "
                f"more minutes change that"
            )
        used = f"used from step {first:,} of {plan.steps:,} on"
        if first != self._first_unlabelled(plan, done, 0.0):
            used += ", if it is clearly less sure of them by then"
        return used

    def _with_measured_steps(
        self, plan: Plan, trial: Trainer, expected: int, start: float
    ) -> tuple[Plan, float]:
        """Fix the number of steps by the measured speed, which is returned too.

        Reckoned once more where there will be fewer or more steps than was expected,
        since that can change what a method does in them.
        """
        for _ in range(2):
            seconds_per_step = trial.measure(expected)
            spent = time.perf_counter() - start
            fixed = fix_steps(plan, self._config, seconds_per_step, spent)
            if abs(fixed.steps - expected) <= 0.1 * expected:
                break
            expected = fixed.steps
        return fixed, seconds_per_step


def _too_small(names: Collection[str], plan: Plan) -> str:
    """Say which labelled classes are nowhere the largest part of a working voxel."""
    voxel = " x ".join(f"{step:.3g}" for step in plan.spacing_mm)
    return (
        f"expected labels larger than the voxels of {voxel} mm that are trained on, "
        f"found smaller ones of {listed(sorted(names))}: they cannot be learned and "
        f"will not be predicted; train with smaller voxels, --set spacing_mm=…"
    )


def make_task(project: Project, plan: Plan) -> base.Task:
    """Make a method's task from a project's labels and a plan."""
    return base.Task(
        classes=len(project.labels) + 1,
        limit_voxels=plan.sdm_limit_mm / min(plan.spacing_mm),
        width=plan.width,
        strides=plan.strides,
        kernels=plan.kernels,
        channels=len(plan.intensities),
        architecture=plan.architecture,
        mirrored=plan.mirrored,
        spacing_mm=plan.spacing_mm,
    )
