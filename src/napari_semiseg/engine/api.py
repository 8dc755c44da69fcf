"""Project and config to events: the verbs of the engine."""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from napari_semiseg.core.events import (
    Finished,
    Planned,
    Predicted,
    Staged,
    Started,
    Warned,
)
from napari_semiseg.engine import devices, method, ops
from napari_semiseg.engine.checkpoint import Checkpoint
from napari_semiseg.engine.infer import Predictor
from napari_semiseg.engine.plan import make_plan, with_steps
from napari_semiseg.engine.prepare import Cache, Cohort, select
from napari_semiseg.engine.sampler import Sampler
from napari_semiseg.engine.trainer import Trainer, validation_dice
from napari_semiseg.errors import ConfigError, ProjectError, SemisegError
from napari_semiseg.io.atomic import write_json
from napari_semiseg.project.runs import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_semiseg.core.config import Plan, TrainingConfig
    from napari_semiseg.core.events import Event
    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.project.cases import Case
    from napari_semiseg.project.store import Project

SHORTEST_TRAINING = 20
"""Steps below which a training is not worth its name."""


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """What a user needs to know to choose a method; ``params`` is a JSON schema."""

    name: str
    title: str
    cite: str
    params: dict[str, Any]


def methods() -> list[MethodInfo]:
    """All training methods, by name."""
    return [
        MethodInfo(name, kind.title, kind.cite, kind.Params.model_json_schema())
        for name, kind in method.registry().items()
    ]


def train(
    project: Project, config: TrainingConfig, *, run: Run | None = None
) -> Iterator[Event]:
    """Train a new run; a generator of events, from ``Started`` to ``Finished``.

    Parameters
    ----------
    project : Project
        Its labelled training cases are learned from, the others as unlabelled data;
        validation cases only score, test cases are out of reach.
    config : TrainingConfig
        What was asked for; the rest is planned.
    run : Run, optional
        A run that `Run.create` has made for this training.

    Raises
    ------
    SemisegError
        Before ``Started``: nothing is left on disk but ``run``, if it was given.
    """
    cohort = select(project)
    method.check_params(method.find(config.method), config.params)
    device = devices.choose(config.device)
    run = run or Run.create(project, config)
    yield from _session(run, _Training(project, run, cohort, device))


def resume(
    project: Project,
    run: Run,
    *,
    steps: int | None = None,
    minutes: float | None = None,
) -> Iterator[Event]:
    """Go on with a run from its last checkpoint, exactly; or from its very start.

    Parameters
    ----------
    steps : int, optional
        New total number of steps, larger than what is done.
    minutes : float, optional
        Further minutes of training.

    Raises
    ------
    SemisegError
        The run is still going, or there is nothing left to do.
    """
    if run.status == "running" and run.pid != os.getpid():
        raise ProjectError(f"run {run.id!r} is still going; stop it first")
    cohort = select(project)
    config = run.config
    plan = run.plan
    device = devices.choose(plan.device if plan is not None else config.device)
    if plan is not None:
        done = Checkpoint.load(run.folder.last).step if run.has_model else 0
        plan = _extended(run, plan, done, steps, minutes)
        write_json(run.folder.plan, plan.model_dump(mode="json"))
    elif steps is not None or minutes is not None:
        raise ConfigError(
            f"run {run.id!r} has not started, so it cannot be extended; resume it "
            f"without --steps and --minutes"
        )
    yield from _session(run, _Training(project, run, cohort, device))


def _extended(
    run: Run, plan: Plan, done: int, steps: int | None, minutes: float | None
) -> Plan:
    """The plan of a resumed run; only the number of steps may grow."""
    if steps is not None and minutes is not None:
        raise ConfigError("give --steps or --minutes, not both")
    if minutes is not None:
        pace = run.seconds / max(1, run.steps_done)
        steps = done + max(1, int(minutes * 60 / max(pace, 1e-3)))
    if steps is None:
        if done >= plan.steps:
            raise ProjectError(
                f"run {run.id!r} is complete ({done} steps); give --steps or --minutes "
                f"to train it further"
            )
        return plan
    if steps <= done:
        raise ConfigError(
            f"run {run.id!r} has {done} steps already; --steps must be larger, found "
            f"{steps}"
        )
    return with_steps(plan, steps, f"extended after {done} steps")


def _session(run: Run, training: _Training) -> Iterator[Event]:
    """Frame the events of a training, log them, and turn errors into events."""
    run.claim()
    run.clear_stop()
    done = Checkpoint.load(run.folder.last).step if run.has_model else 0
    opening = Started(run=run.id, method=run.config.method, pid=os.getpid(), step=done)
    run.append(opening)
    yield opening
    try:
        for event in training.events():
            run.append(event)
            yield event
    except GeneratorExit:
        run.append(training.finished("cancelled"))
        raise
    except BaseException as error:
        with run.folder.log.open("a", encoding="utf-8") as log:
            log.write(traceback.format_exc())
        text = str(error) if isinstance(error, SemisegError) else repr(error)
        closing = training.finished("failed", text)
        run.append(closing)
        yield closing
        raise
    closing = training.finished("completed" if training.complete else "cancelled")
    run.append(closing)
    yield closing


class _Training:
    """One session of a run, step by step."""

    def __init__(
        self, project: Project, run: Run, cohort: Cohort, device: torch.device
    ) -> None:
        self._project = project
        self._run = run
        self._cohort = cohort
        self._device = device
        self._config = run.config
        self._step = 0
        self._seconds = 0.0
        self.complete = False

    def finished(self, reason: Any, error: str | None = None) -> Finished:
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
        begun = time.perf_counter()
        config, kind = self._config, method.find(self._config.method)
        plan = self._run.plan
        fresh = plan is None
        if plan is None:
            yield Staged(stage="Planning", done=0, total=1)
            plan = make_plan(
                config,
                self._cohort.training,
                self._cohort.labelled,
                self._device,
                uses_unlabelled=kind.unlabelled,
            )
        sampler_cases: dict[str, list[Any]] = {}
        yield from self._prepare(plan, kind, sampler_cases)
        if self._stopped():
            return
        task = make_task(self._project, plan)
        learner = method.build(config.method, config.params, task)
        sampler = Sampler(
            sampler_cases["labelled"],
            sampler_cases["unlabelled"],
            task.classes,
            plan,
            config.seed,
        )
        pace = 0.0
        if fresh:
            yield Staged(stage="Measuring the speed", done=0, total=1)
            probe = Trainer(learner, sampler, plan, config.seed, self._device)
            pace = probe.measure()
            plan = self._fix_steps(plan, pace, time.perf_counter() - begun)
            write_json(self._run.folder.plan, plan.model_dump(mode="json"))
        trainer = Trainer(learner, sampler, plan, config.seed, self._device)
        if self._run.has_model:
            trainer.restore(Checkpoint.load(self._run.folder.last, self._device))
        yield Planned(
            device=plan.device,
            steps=plan.steps,
            seconds_per_step=pace,
            parameters=trainer.parameters,
        )
        held_out = sampler_cases["validation"]
        for event in trainer.run(
            self._run.folder.last,
            every_seconds=config.checkpoint_seconds,
            stop=self._stopped,
            validate=partial(
                validation_dice, cases=held_out, labels=self._project.labels
            )
            if held_out
            else None,
        ):
            self._step, self._seconds = trainer.step, trainer.seconds
            yield event
        self._step, self._seconds = trainer.step, trainer.seconds
        self.complete = trainer.step >= plan.steps

    def _stopped(self) -> bool:
        return self._run.stop_requested

    def _prepare(
        self, plan: Plan, kind: type[method.Method], into: dict[str, list[Any]]
    ) -> Iterator[Event]:
        """Bring the cohort onto the working grid; a broken image is left out."""
        cache = Cache(self._project, plan)
        streams = {
            "labelled": self._cohort.labelled,
            "unlabelled": self._cohort.unlabelled if kind.unlabelled else (),
            "validation": self._cohort.validation,
        }
        total = sum(len(cases) for cases in streams.values())
        done = 0
        for name, cases in streams.items():
            into[name] = []
            for case in cases:
                if self._stopped():
                    return
                try:
                    into[name].append(
                        cache.prepare(case, with_label=name != "unlabelled")
                    )
                except SemisegError as error:
                    yield Warned(message=f"case {case.id} is left out: {error}")
                done += 1
                yield Staged(stage="Preparing the cohort", done=done, total=total)
        if not into["labelled"]:
            raise ProjectError("no labelled case could be read; see the warnings")

    def _fix_steps(self, plan: Plan, pace: float, spent: float) -> Plan:
        config = self._config
        every = config.validate_every or 0
        if config.steps is not None:
            return with_steps(plan, config.steps, "asked for", every)
        assert config.minutes is not None
        left = config.minutes * 60 - spent
        steps = max(SHORTEST_TRAINING, int(left / max(pace, 1e-4)))
        reason = (
            f"{config.minutes:g} min less {spent:.0f} s of preparation at {pace:.3f} s "
            f"a step"
        )
        return with_steps(plan, steps, reason, every)


def make_task(project: Project, plan: Plan) -> method.Task:
    """What a method is built for, from a project's labels and a plan."""
    return method.Task(
        classes=len(project.labels) + 1,
        steepness=2.0 * plan.sdm_limit_mm / min(plan.spacing_mm),
        width=plan.width,
        strides=plan.strides,
    )


def load_predictor(
    project: Project, run: Run, device: str = "auto"
) -> tuple[Predictor, int]:
    """The model of a run, and the step it is from.

    Raises
    ------
    ProjectError
        The run has no plan or no checkpoint yet.
    """
    plan = run.plan
    if plan is None or not run.has_model:
        raise ProjectError(
            f"run {run.id!r} has no model yet (status: {run.status}); let it train "
            f"first, or choose another run"
        )
    chosen = devices.choose(device)
    torch.set_num_threads(devices.cores())
    state = Checkpoint.load(run.folder.last)
    config = run.config
    learner = method.build(config.method, config.params, make_task(project, plan))
    teachers = {}
    for name, network in learner.networks().items():
        network.load_state_dict(state.teachers[name])
        teachers[name] = ops.frozen_copy(network).to(
            chosen,
            memory_format=torch.channels_last_3d,  # type: ignore[call-overload]
        )
    return Predictor(learner, teachers, plan, chosen), state.step


def predict(project: Project, run: Run, case: Case) -> Prediction:
    """Predict one case with a run's averaged model; nothing is stored."""
    predictor, step = load_predictor(project, run)
    return predictor.predict(case, project.labels, run.id, step)


def predict_cases(project: Project, run: Run, cases: Sequence[Case]) -> Iterator[Event]:
    """Predict cases and store each in the run; a broken image is left out.

    Yields ``Staged``, then ``Predicted`` per case or ``Warned``; they are logged.
    Ends early when the run is asked to stop.
    """
    run.clear_stop()
    predictor, step = load_predictor(project, run)
    for done, case in enumerate(cases, start=1):
        if run.stop_requested:
            return
        event: Event
        try:
            prediction = predictor.predict(case, project.labels, run.id, step)
            run.write_prediction(prediction, case.image)
            event = Predicted(
                case=case.id,
                uncertainty=prediction.record.score.uncertainty,
                done=done,
                total=len(cases),
            )
        except SemisegError as error:
            event = Warned(message=f"case {case.id} is not predicted: {error}")
        run.append(event)
        yield event
