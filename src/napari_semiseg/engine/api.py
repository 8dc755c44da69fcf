"""Project and config to events: the verbs of the engine."""

from __future__ import annotations

import os
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import torch

from napari_semiseg.core.cancellation import NEVER, Cancelled
from napari_semiseg.core.events import (
    Predicted,
    Staged,
    Started,
    Warned,
)
from napari_semiseg.engine import devices
from napari_semiseg.engine.data.cache import select
from napari_semiseg.engine.distributed import join, place
from napari_semiseg.engine.inference.predictor import Predictor
from napari_semiseg.engine.methods import perturbations, registry
from napari_semiseg.engine.networks.blocks import placed
from napari_semiseg.engine.planning.plan import with_steps
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.engine.training.session import Training, make_task
from napari_semiseg.engine.training.warm_start import find_source
from napari_semiseg.errors import ConfigError, EngineMissing, ProjectError, SemisegError
from napari_semiseg.io.atomic import remove_stale_temporaries, write_json
from napari_semiseg.project.runs.process import SESSION
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_semiseg.core.cancellation import CancellationToken
    from napari_semiseg.core.config import Precision, TrainingConfig
    from napari_semiseg.core.events import Event
    from napari_semiseg.core.plan import Plan
    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.engine.methods.base import Method
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.workers import Worker


def train(
    project: Project, config: TrainingConfig, *, run: Run | None = None
) -> Iterator[Event]:
    """Train a new run; a generator of events, from ``Started`` to ``Finished``.

    Parameters
    ----------
    project : Project
        Its labelled training cases are learned from, the others as unlabelled data;
        validation cases only score, test cases are out of reach. Labels that change
        meanwhile are taken in, each time with a ``Learned`` event.
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
    registry.check(config)
    source = find_source(project, config, cohort)
    ranks, device = place(join(), devices.choose(config.device))
    run = run or Run.create(project, config)
    if not ranks.is_first:
        yield from Training(project, run, cohort, device, source, ranks).events()
        return
    with run.claimed_alone():
        training = Training(project, run, cohort, device, source, ranks)
        yield from _session(run, training)


def resume(
    project: Project,
    run: Run,
    *,
    steps: int | None = None,
    minutes: float | None = None,
) -> Iterator[Event]:
    """Go on exactly from the last checkpoint of a run, or from its very start.

    Parameters
    ----------
    steps : int, optional
        New total number of steps, larger than what is done.
    minutes : float, optional
        Further minutes of training.

    Raises
    ------
    SemisegError
        The run is still going, or there is nothing left to do. Its folder is as it
        was then.
    """
    if not join().is_first:
        yield from _resumed(project, run, steps, minutes).events()
        return
    with run.claimed_alone():
        training = _resumed(project, run, steps, minutes)
        yield from _session(run, training)


def _resumed(
    project: Project, run: Run, steps: int | None, minutes: float | None
) -> Training:
    """Check that a run can go on, and fix its steps anew where more were asked for."""
    cohort = select(project)
    config = run.config
    plan = run.plan
    name = config.device
    if plan is not None and not name.startswith(plan.device):
        name = plan.device
    ranks, device = place(join(), devices.choose(name))
    if plan is not None:
        _check_classes(project, run, plan)
    source = None if run.has_model else find_source(project, config, cohort)
    training = Training(project, run, cohort, device, source, ranks)
    if plan is not None and ranks.is_first:
        saved = Checkpoint.load(run.folder.last) if run.has_model else None
        plan = _extended(run, plan, saved, steps, minutes)
        write_json(run.folder.plan, plan.model_dump(mode="json"))
    elif plan is None and (steps is not None or minutes is not None):
        raise ConfigError(
            f"run {run.id!r} has not started, so it cannot be extended; resume it "
            f"without --steps and --minutes"
        )
    return training


def _extended(
    run: Run,
    plan: Plan,
    saved: Checkpoint | None,
    steps: int | None,
    minutes: float | None,
) -> Plan:
    """Give a resumed run more steps; nothing else of its plan may change."""
    if steps is not None and minutes is not None:
        raise ConfigError("give --steps or --minutes, not both")
    done, spent = (0, 0.0) if saved is None else (saved.step, saved.seconds)
    seconds = 0.0
    if minutes is not None:
        if not done:
            raise ConfigError(
                f"run {run.id!r} has no checkpoint yet, so how long a step takes is "
                "not known; give --steps, or neither"
            )
        seconds_per_step = spent / done
        seconds = spent + minutes * 60
        steps = done + max(1, int(minutes * 60 / max(seconds_per_step, 1e-3)))
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
    return with_steps(plan, steps, f"extended after {done} steps", seconds=seconds)


def _session(run: Run, training: Training) -> Iterator[Event]:
    """Frame the events of a training, log them, and turn errors into events."""
    remove_stale_temporaries(
        run.folder.path, run.folder.checkpoints
    )  # after a session that was killed
    done = Checkpoint.load(run.folder.last).step if run.has_model else 0
    config = run.config
    opening = Started(
        run=run.id,
        method=config.method,
        pid=os.getpid(),
        step=done,
        source=None if done else config.start_from,
        session=os.environ.get(SESSION, ""),
    )
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
        text = str(error) if isinstance(error, SemisegError) else repr(error)
        closing = training.finished("failed", text)
        with suppress(OSError):  # the disk is full: that is what the error says
            with run.folder.log.open("a", encoding="utf-8") as log:
                log.write(traceback.format_exc())
            run.append(closing)
        yield closing
        raise
    if not training.complete:
        run.clear_stop()  # it was heard
    closing = training.finished("completed" if training.complete else "cancelled")
    run.append(closing)
    yield closing


def load_predictor(
    project: Project,
    run: Run,
    cancellation: CancellationToken = NEVER,
    *,
    feature_maps: bool = True,
    precision: Precision | None = None,
) -> tuple[Predictor, int]:
    """Load the model of a run, and the step it is from.

    ``precision`` is that of the training by default.

    Raises
    ------
    ProjectError
        As `load_networks`.
    """
    config = run.config
    try:
        chosen = devices.choose(config.device)
    except EngineMissing:  # trained on another machine
        chosen = devices.choose("auto")
    torch.set_num_threads(devices.cores())
    learner, teachers, plan, state = load_networks(project, run, chosen)
    if precision is not None:
        plan = plan.model_copy(update={"precision": precision})
    predictor = Predictor(
        learner,
        teachers,
        plan,
        chosen,
        cancellation,
        feature_maps=config.feature_maps and feature_maps,
        familiar=lambda: state.familiar,
    )
    return predictor, state.step


def load_networks(
    project: Project, run: Run, device: torch.device
) -> tuple[Method, dict[str, SegmentationNetwork], Plan, Checkpoint]:
    """Load method, averaged networks, plan and state of a run, onto a device.

    Raises
    ------
    ProjectError
        The run has no plan or no checkpoint yet, or the project other classes by now.
    """
    plan, config = run.plan, run.config
    if plan is None or not run.has_model:
        raise ProjectError(
            f"run {run.id!r} has no model yet (status: {run.status}); let it train "
            f"first, or choose another run"
        )
    _check_classes(project, run, plan)
    state = Checkpoint.load(run.folder.last)
    learner = registry.build(config.method, config.params, make_task(project, plan))
    networks, teachers = learner.networks(), {}
    for name, followed in learner.teachers().items():
        teacher = perturbations.frozen_copy(networks[followed])
        teachers[name] = placed(teacher, device)
        try:
            teachers[name].load_state_dict(state.teachers[name])
        except (RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise ProjectError(
                f"{run.folder.last}: expected the networks of {config.method!r}, found "
                f"others ({type(error).__name__}); train again or restore the file"
            ) from error
    return learner, teachers, plan, state


def _check_classes(project: Project, run: Run, plan: Plan) -> None:
    """Refuse a run of other classes than the project has by now."""
    if plan.classes not in ((), project.labels.values):
        raise ProjectError(
            f"run {run.id!r} was trained for the classes {plan.classes}, the project "
            f"has {project.labels.values}; train a new model"
        )


def predict(project: Project, run: Run, case: Case) -> Prediction:
    """Predict one case with a run's averaged model; nothing is stored."""
    predictor, step = load_predictor(project, run)
    return predictor.predict(case, project.labels, run.id, step)


def predict_cases(
    project: Project,
    run: Run,
    cases: Sequence[Case],
    *,
    worker: Worker | None = None,
    maps: bool = True,
    precision: Precision | None = None,
) -> Iterator[Event]:
    """Predict cases and store each in the run; a broken image is left out.

    Yields ``Predicted`` or ``Warned`` per case; they are logged, behind a ``Staged``
    that says how many there will be.
    Ends early, within a case too, when the run is asked to stop; of that case what
    was stored before stays. A request that came since this process works on the run
    counts, also before this call.

    Parameters
    ----------
    worker : Worker, optional
        This process, where it is one of several that predict for the run.
    maps : bool
        Whether to store distances, uncertainty and feature maps beside the mask.
    precision : {"fp32", "bf16"}, optional
        To compute in; that of the training by default.
    """
    if worker is None and not run.is_working:
        run.claim()  # else a training goes on meanwhile, or has just ended
    cancellation = run.cancellation if worker is None else worker.cancellation
    append = run.append if worker is None else worker.append
    append(Staged(stage="Predicting", done=0, total=len(cases)))
    predictor, step = load_predictor(
        project, run, cancellation, feature_maps=maps, precision=precision
    )
    for done, case in enumerate(cases, start=1):
        event = predicted_case(project, run, case, predictor, step, maps=maps)
        if event is None:
            if worker is None and not run.has_workers:
                run.clear_stop()  # it was heard
            return
        if isinstance(event, Predicted):
            event = event.model_copy(update={"done": done, "total": len(cases)})
        append(event)
        yield event


def predicted_case(
    project: Project,
    run: Run,
    case: Case,
    predictor: Predictor,
    step: int,
    *,
    maps: bool,
) -> Predicted | Warned | None:
    """Predict a case and store that; gives the event, or None where it was cancelled.

    Parameters as in `predict_cases`, with what `load_predictor` gives.
    """
    try:
        prediction = predictor.predict(case, project.labels, run.id, step)
        cancellation = predictor.cancellation
        run.write_prediction(prediction, case.image, cancellation, maps=maps)
    except Cancelled:
        return None
    except SemisegError as error:
        return Warned(message=f"case {case.id} is not predicted: {error}")
    score = prediction.record.score
    return Predicted(case=case.id, uncertainty=score.uncertainty, done=1, total=1)
