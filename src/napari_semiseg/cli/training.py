"""train, resume, stop and predict: verbs that need the engine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_semiseg.cli import render
from napari_semiseg.cli.errors import STOPPED
from napari_semiseg.cli.options import (
    CaseIds,
    CaseList,
    Json,
    Minutes,
    ProjectPath,
    RunId,
    Steps,
    check_budget,
    chosen_ids,
    read_settings,
)
from napari_semiseg.core.case import CaseState
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.text import duration
from napari_semiseg.errors import ProjectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_semiseg.cli.progress import Outcome
    from napari_semiseg.core.events import Event
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

NoPredict = Annotated[
    bool, typer.Option("--no-predict", help="Do not predict unlabelled cases after it.")
]
Open = (
    CaseState.UNLABELLED,
    CaseState.PROPOSED,
    CaseState.DRAFT,
    CaseState.PARTIAL,
)
"""States of the cases that wait for a prediction: no complete label, not excluded."""


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (train, resume, stop, predict):
        app.command(verb.__name__)(verb)


def train(
    project: ProjectPath,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="See semiseg methods.")
    ] = None,
    minutes: Minutes = None,
    steps: Steps = None,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to train.")
    ] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Decides every batch.")] = 0,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Begin with the weights of this run; from scratch by default.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; repeat."),
    ] = None,
    no_predict: NoPredict = False,
    run_id: Annotated[str | None, typer.Option("--run-id", hidden=True)] = None,
    json: Json = False,
) -> None:
    """Train to the budget, then predict every case without a label."""
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

    check_budget(minutes, steps)
    opened = Project.open(project)
    if run_id is not None:
        run = opened.run(run_id)
        config = run.config
    else:
        earlier = None if start_from is None else opened.run(start_from).config
        if earlier is not None and method in (None, earlier.method):
            method, params = earlier.method, earlier.params
        else:
            params = {}
        config = TrainingConfig.build(
            read_settings(settings),
            method=method,
            params=params,
            start_from=start_from,
            minutes=minutes,
            steps=steps,
            device=device,
            seed=seed,
        )
    from napari_semiseg import engine

    if run_id is None:
        run = Run.create(opened, config)
    try:
        events = engine.train(opened, config, run=run)
        outcome = run_session(opened, run, events, predict=not no_predict, quiet=json)
    finally:
        if run_id is None:
            run.discard()
    _report(run, outcome, json=json)


def resume(
    project: ProjectPath,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The newest by default.")
    ] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    no_predict: NoPredict = False,
    json: Json = False,
) -> None:
    """Go on with a run, exactly as if it had never ended."""
    from napari_semiseg.project.project import Project

    check_budget(minutes, steps)
    opened = Project.open(project)
    chosen = _run(opened, run)
    from napari_semiseg import engine

    events = engine.resume(opened, chosen, steps=steps, minutes=minutes)
    outcome = run_session(opened, chosen, events, predict=not no_predict, quiet=json)
    _report(chosen, outcome, json=json)


def stop(
    project: ProjectPath,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The one that runs by default.")
    ] = None,
    json: Json = False,
) -> None:
    """Ask a run to write a checkpoint and end."""
    from napari_semiseg.project.project import Project

    opened = Project.open(project)
    live = [item for item in opened.runs() if _goes_on(item)]
    if run is not None:
        chosen = opened.run(run)
        if not _goes_on(chosen):
            raise ProjectError(
                f"expected a run that is going on, found that '{run}' is "
                f"{chosen.status}; there is nothing to stop"
            )
    elif live:
        chosen = live[-1]
    else:
        raise ProjectError(
            "expected a run that is going on, found none; see semiseg status"
        )
    chosen.request_stop()
    if json:
        render.emit({"run": chosen.id})
    else:
        render.say(f"Asked {chosen.id} to stop; it writes a checkpoint first.")


def predict(
    project: ProjectPath,
    run: RunId = None,
    cases: CaseList = None,
    case: CaseIds = None,
    json: Json = False,
) -> None:
    """Predict cases and store what the model says; by default all without a label."""
    from napari_semiseg.cli.progress import Display, stoppable
    from napari_semiseg.project.project import Project

    opened = Project.open(project)
    ids = chosen_ids(cases, case)
    chosen = opened.run(run) if run is not None else _newest_model(opened)
    wanted = [opened.case(name) for name in ids] if ids else _open_cases(opened)
    from napari_semiseg import engine

    begun = time.perf_counter()
    with stoppable(chosen) as signals, Display(quiet=json) as display:
        for event in engine.predict_cases(opened, chosen, wanted) if wanted else ():
            display.take(event)
    seconds = round(time.perf_counter() - begun, 1)
    done = display.outcome.predicted
    if json:
        render.emit({"run": chosen.id, "predicted": done, "seconds": seconds})
    else:
        took = duration(seconds)
        render.say(f"Predicted {len(done)} of {len(wanted)} cases in {took}.")
    if signals.received or chosen.stop_requested:
        raise SystemExit(STOPPED)


def run_session(
    project: Project, run: Run, events: Iterator[Event], *, predict: bool, quiet: bool
) -> Outcome:
    """Show a training and, when it was completed, the predictions that follow it."""
    from napari_semiseg import engine
    from napari_semiseg.cli.progress import Display, stoppable

    with stoppable(run) as signals, Display(quiet=quiet) as display:
        for event in events:
            display.take(event)
        finished = display.outcome.finished
        complete = finished is not None and finished.reason == "completed"
        cases = _open_cases(project) if predict and complete else []
        if cases and not signals.received:
            for event in engine.predict_cases(project, run, cases):
                display.take(event)
        display.outcome.stopped = bool(signals.received) or run.stop_requested
    return display.outcome


def _report(run: Run, outcome: Outcome, *, json: bool) -> None:
    finished = outcome.finished
    if finished is None:
        raise ProjectError(
            f"expected run '{run.id}' to end with its last event, found none; see "
            f"{run.folder.log}"
        )
    if json:
        values: dict[str, Any] = {
            "run": run.id,
            "reason": finished.reason,
            "steps": finished.step,
            "seconds": round(finished.seconds, 1),
            "device": outcome.device,
            "validation": outcome.validation,
        }
        render.emit(values)
    else:
        took = duration(finished.seconds)
        render.say(f"{run.id}: {finished.reason}, {finished.step} steps in {took}.")
        if outcome.predicted:
            render.say(f"Predicted {len(outcome.predicted)} cases.")
    if outcome.stopped or finished.reason == "cancelled":
        raise SystemExit(STOPPED)


def _goes_on(run: Run) -> bool:
    return run.status in ("preparing", "running") or run.is_working


def _open_cases(project: Project) -> list[Case]:
    return project.cases(state=Open)


def _run(project: Project, run_id: str | None) -> Run:
    if run_id is not None:
        return project.run(run_id)
    latest = project.latest_run()
    if latest is None:
        raise ProjectError("expected a run, found none; train first: semiseg train")
    return latest


def _newest_model(project: Project) -> Run:
    for run in reversed(project.runs()):
        if run.has_model:
            return run
    raise ProjectError("expected a trained run, found none; train first: semiseg train")
