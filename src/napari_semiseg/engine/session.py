"""One session of a run: prepare the cohort, measure the speed, train."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.events import (
    Checkpointed,
    Finished,
    Planned,
    Staged,
    Warned,
)
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.engine import memory, method
from napari_semiseg.engine.checkpoint import Checkpoint
from napari_semiseg.engine.intake import Intake
from napari_semiseg.engine.pace import (
    FEW_STEPS,
    Timekeeper,
    expected_steps,
    fastest,
    fix_steps,
)
from napari_semiseg.engine.plan import (
    draft,
    fingerprint,
    with_grid,
    with_labels,
    with_steps,
)
from napari_semiseg.engine.prepare import Cache
from napari_semiseg.engine.refresh import Refresher
from napari_semiseg.engine.sampler import Noise, Sampler
from napari_semiseg.engine.schedule import Schedule
from napari_semiseg.engine.stopping import heed_stop
from napari_semiseg.engine.trainer import Trainer, validation_dice
from napari_semiseg.engine.warm import fitted
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import write_json

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import torch

    from napari_semiseg.core.config import Plan
    from napari_semiseg.core.events import Event, FinishReason, Learned
    from napari_semiseg.engine.prepare import Cohort
    from napari_semiseg.engine.sampler import Batches, Streams
    from napari_semiseg.project.runs import Run
    from napari_semiseg.project.store import Project


ANEW = "; fixed anew after"


class Training:
    """One session of a run, step by step; ``source`` gives the first weights."""

    def __init__(
        self,
        project: Project,
        run: Run,
        cohort: Cohort,
        device: torch.device,
        source: Run | None = None,
    ) -> None:
        self._project = project
        self._run = run
        self._cohort = cohort
        self._device = device
        self._source = source
        self._config = run.config
        self._step = 0
        self._seconds = 0.0
        self._all_ready = False
        self.complete = False

    def finished(self, reason: FinishReason, error: str | None = None) -> Finished:
        """The session's last event."""
        return Finished(
            run=self._run.id,
            reason=reason,
            step=self._step,
            seconds=self._seconds,
            error=error,
        )

    def events(self) -> Iterator[Event]:
        """Plan, prepare, measure, train."""
        with memory.shortage_told(partial(memory.training_remedy, self._run)):
            yield from self._events()

    def _events(self) -> Iterator[Event]:
        begun = time.perf_counter()
        config, kind = self._config, method.find(self._config.method)
        plan = self._run.plan
        fresh, expected = plan is None, 0
        if plan is None:
            yield Staged(stage="Planning", done=0, total=1)
            plan, expected = self._planned(kind)
        intake = Intake(
            self._project,
            self._cohort,
            Cache(self._project, plan),
            unlabelled=kind.unlabelled > 0,
            look_seconds=config.look_seconds,
        )
        yield from self._prepare(intake)
        if self._stopped():
            return
        saved = self._saved(self._run)
        earlier = self._saved(self._source)
        schedule = Schedule.from_state(saved.schedule if saved else ())
        pace, trial = 0.0, None
        if fresh:
            trial = self._trainer(plan, self._sampler(plan, intake.streams(Schedule())))
            plan, pace = yield from self._with_steps(
                plan, intake, trial, expected, begun
            )
        else:  # with the same cases as before, so that it goes on exactly
            done = saved.step if saved else 0
            self._all_ready = self._asks_unlabelled(plan, intake, done)
            known = None if self._all_ready else schedule.roles
            yield from intake.prepare_unlabelled(self._stopped, among=known)
        if self._stopped():
            return
        if fresh:
            write_json(self._run.folder.plan, plan.model_dump(mode="json"))
        learned = self._begin(schedule, intake, saved, earlier)
        sampler = self._sampler(plan, intake.streams(schedule))
        trainer = self._trainer(plan, sampler)
        if saved is not None:
            trainer.restore(saved)
        elif earlier is not None:
            trainer.begin(earlier, config)
        trainer.schedule = schedule
        if trial is not None:
            trainer.expect(trial)
        del trial  # and its networks
        self._timekeeper = Timekeeper(trainer.step, plan.steps)
        yield Planned(
            device=plan.device,
            steps=plan.steps,
            seconds_per_step=pace,
            parameters=trainer.parameters,
        )
        if learned is not None:
            yield learned
        refresher = Refresher(
            self._project, self._run, config, plan, ripe=earlier is not None
        )
        yield from self._train(trainer, intake, sampler, refresher)
        self._step, self._seconds = trainer.step, trainer.seconds
        self.complete = trainer.step >= trainer.plan.steps

    def _train(
        self, trainer: Trainer, intake: Intake, sampler: Sampler, refresher: Refresher
    ) -> Iterator[Event]:
        """Step by step, to the end or a stop."""
        held_out = intake.validation
        for event in trainer.run(
            self._run.folder.last,
            every_seconds=self._config.checkpoint_seconds,
            stop=self._stopped,
            validate=partial(
                validation_dice,
                cases=held_out,
                labels=self._project.labels,
                heed=partial(heed_stop, self._run),
            )
            if held_out
            else None,
            between=partial(
                self._between, intake=intake, sampler=sampler, refresher=refresher
            ),
        ):
            self._step, self._seconds = trainer.step, trainer.seconds
            yield event

    def _planned(self, kind: type[method.Method]) -> tuple[Plan, int]:
        """Everything but the steps, from cohort and speed here; and about how many."""
        config = self._config
        source = None if self._source is None else self._source.plan
        if source is not None:
            config = config.model_copy(update={"width": source.width})
        facts = fingerprint(self._cohort.training, self._cohort.labelled)
        unlabelled = kind.unlabelled if self._cohort.unlabelled else 0
        plan = draft(config, facts, self._device, unlabelled=unlabelled)
        plan, pace = fastest(plan, self._rehearsal, asked=config.precision)
        need = memory.footprint(self._rehearsal(plan), math.prod(plan.patch_zyx))
        most = memory.largest_crop(need, memory.available(self._device), config)
        plan = with_grid(plan, config, facts, pace, most)
        plan = with_labels(plan, self._project.labels)
        if self._source is not None:
            plan = fitted(plan, self._source, config)
        return plan, expected_steps(config, pace * math.prod(plan.patch_zyx))

    def _rehearsal(self, plan: Plan) -> Trainer:
        """A trainer on noise, to see what a step costs."""
        classes, cases = len(self._project.labels) + 1, len(self._cohort.labelled)
        return self._trainer(plan, Noise(plan, classes, cases))

    def _trainer(self, plan: Plan, batches: Batches) -> Trainer:
        """Networks of a plan as they are before the first step."""
        learner = self._learner(plan)
        return Trainer(learner, batches, plan, self._config.seed, self._device)

    def _learner(self, plan: Plan) -> method.Method:
        """The method of the run, for the classes and channels of a plan."""
        task = make_task(self._project, plan)
        return method.build(self._config.method, self._config.params, task)

    def _sampler(self, plan: Plan, streams: Streams) -> Sampler:
        config = self._config
        return Sampler(
            streams,
            plan,
            config.seed,
            fresh_weight=config.fresh_weight,
            fresh_steps=config.fresh_steps,
        )

    def _saved(self, run: Run | None) -> Checkpoint | None:
        if run is None or not run.has_model:
            return None
        return Checkpoint.load(run.folder.last, self._device)

    def _begin(
        self,
        schedule: Schedule,
        intake: Intake,
        saved: Checkpoint | None,
        earlier: Checkpoint | None,
    ) -> Learned | None:
        """Put the cohort in force; what changed since the last session is told.

        With the weights of an earlier run, labels that it had not seen are fresh.
        """
        if schedule.takes and saved is not None:
            return intake.take(schedule, saved.step)
        known = Schedule.from_state(earlier.schedule if earlier else ())
        fresh = known.new_labels(intake.roles) if known.takes else ()
        schedule.take(0, intake.roles, fresh=fresh)
        return None

    def _between(
        self,
        trainer: Trainer,
        *,
        intake: Intake,
        sampler: Sampler,
        refresher: Refresher,
    ) -> Iterator[Event]:
        """What happens for the annotator between two steps."""
        yield from self._take_in(trainer, intake, sampler)
        yield from self._keep_minutes(trainer, intake, sampler)
        yield from refresher.events(trainer)

    def _take_in(
        self, trainer: Trainer, intake: Intake, sampler: Sampler
    ) -> Iterator[Event]:
        """Learn from labels that the user has changed.

        A checkpoint is written before the first step with them, so that a killed
        session goes on with the same labels at the same steps.
        """
        changed = yield from intake.look()
        if changed and not intake.labelled:
            yield Warned(
                message="no label is left in the project: training goes on with those "
                "it has; label a case, or stop it"
            )
        learned = intake.take(trainer.schedule, trainer.step) if changed else None
        if learned is not None:
            sampler.change(intake.streams(trainer.schedule))
            trainer.state().save(self._run.folder.last)
            yield learned
            yield Checkpointed(step=trainer.step)

    def _keep_minutes(
        self, trainer: Trainer, intake: Intake, sampler: Sampler
    ) -> Iterator[Event]:
        """Fix the steps anew at a set point, as many as the minutes still hold.

        A checkpoint is written before the plan, so that a killed session goes on with
        the same steps.
        """
        known, step = trainer.plan, trainer.step
        steps = self._timekeeper.steps(known, step, trainer.seconds, trainer.pace)
        if steps is None:
            return
        first, *_ = known.reasons["steps"].split(ANEW)
        reason = f"{first}{ANEW} {step:,} steps, which took {trainer.seconds:.0f} s"
        plan = with_steps(
            known, steps, reason, known.validate_every, known.training_seconds
        )
        pace = trainer.pace(steps)
        trainer.replan(plan)
        if not self._all_ready and self._asks_unlabelled(plan, intake, step):
            self._all_ready = True
            yield from intake.prepare_unlabelled(self._stopped)
            learned = intake.take(trainer.schedule, step)
            if learned is not None:
                sampler.change(intake.streams(trainer.schedule))
                yield learned
        trainer.state().save(self._run.folder.last)
        write_json(self._run.folder.plan, plan.model_dump(mode="json"))
        yield Checkpointed(step=step)
        yield Planned(
            device=plan.device,
            steps=steps,
            seconds_per_step=pace,
            parameters=trainer.parameters,
        )

    def _stopped(self) -> bool:
        return self._run.stop_requested

    def _prepare(self, intake: Intake) -> Iterator[Event]:
        """Bring the cohort onto the working grid, and name classes nobody painted."""
        yield from intake.prepare(self._stopped)
        if self._stopped():
            return
        targets = [case.target for case in intake.labelled if case.target is not None]
        shown = {int(index) for target in targets for index in np.unique(target)}
        if not any(0 < index < UNANNOTATED for index in shown):
            raise ProjectError(
                "expected labels that show a structure, found nothing but background "
                "in those of the training cases; paint some of it, then train"
            )
        for index, item in enumerate(self._project.labels, start=1):
            if index not in shown:
                yield Warned(
                    message=f"no labelled voxel of {item.name!r} in any training case: "
                    f"it cannot be learned and will not be predicted; label some"
                )

    def _with_steps(
        self,
        plan: Plan,
        intake: Intake,
        trial: Trainer,
        expected: int,
        begun: float,
    ) -> Generator[Event, None, tuple[Plan, float]]:
        """Measure the speed, and prepare the unlabelled cases if a step will need them.

        Returns the plan with its number of steps, and seconds of one.
        """
        yield Staged(stage="Measuring the speed", done=0, total=1)
        plan, pace = self._measured(plan, trial, expected, begun)
        if self._asks_unlabelled(plan, intake):
            self._all_ready = True
            yield from intake.prepare_unlabelled(self._stopped)
            plan, pace = self._measured(plan, trial, plan.steps, begun)
        told = {"unlabelled": self._use_of_unlabelled(plan, intake)}
        plan = plan.model_copy(update={"reasons": plan.reasons | told})
        if self._config.minutes is not None and plan.steps < FEW_STEPS:
            yield Warned(
                message=f"the minutes hold only {plan.steps} steps on this machine; a "
                f"useful model needs {FEW_STEPS} or more: give it more minutes, or "
                f"close other programs"
            )
        return plan, pace

    def _asks_unlabelled(self, plan: Plan, intake: Intake, done: int = 0) -> bool:
        """Whether a step after those done will take crops of unlabelled cases."""
        return self._first_unlabelled(plan, intake, done) is not None

    def _first_unlabelled(self, plan: Plan, intake: Intake, done: int) -> int | None:
        """First step after those done that takes crops of unlabelled cases."""
        if not plan.unlabelled_batch:
            return None
        learner = self._learner(plan)
        sampler = self._sampler(plan, intake.streams(Schedule()))
        steps = (
            step
            for step in range(done, plan.steps)
            if learner.takes_unlabelled(
                method.Progress(step, plan.steps, sampler.views(step))
            )
        )
        return next(steps, None)

    def _use_of_unlabelled(self, plan: Plan, intake: Intake) -> str:
        """From when on unlabelled scans are learned from, or why they are not."""
        if not self._cohort.unlabelled:
            return "there are none"
        if not plan.unlabelled_batch:
            return f"{self._config.method!r} learns from labels alone, or was asked to"
        first = self._first_unlabelled(plan, intake, 0)
        if first is not None:
            return f"used from step {first:,} of {plan.steps:,} on"
        sampler = self._sampler(plan, intake.streams(Schedule()))
        return (
            f"not used: {self._config.method!r} would begin later than in "
            f"{plan.steps:,} steps, which show each labelled scan "
            f"{sampler.views(plan.steps):.0f} times; more minutes change that"
        )

    def _measured(
        self, plan: Plan, trial: Trainer, expected: int, begun: float
    ) -> tuple[Plan, float]:
        """The plan with its number of steps, and seconds of one, from a trial.

        Reckoned once more where there will be fewer or more steps than was expected,
        since that can change what a method does in them.
        """
        for _ in range(2):
            pace = trial.measure(expected)
            spent = time.perf_counter() - begun
            fixed = fix_steps(plan, self._config, pace, spent)
            if abs(fixed.steps - expected) <= 0.1 * expected:
                break
            expected = fixed.steps
        return fixed, pace


def make_task(project: Project, plan: Plan) -> method.Task:
    """What a method is built for, from a project's labels and a plan."""
    return method.Task(
        classes=len(project.labels) + 1,
        limit_voxels=plan.sdm_limit_mm / min(plan.spacing_mm),
        width=plan.width,
        strides=plan.strides,
        channels=len(plan.intensities),
    )
