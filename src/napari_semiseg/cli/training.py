"""train, resume, stop, predict and methods: verbs that need the engine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from napari_semiseg.cli import options, render
from napari_semiseg.cli.display import (
    HANGUP,
    PREDICTING,
    RunDisplay,
    RunSummary,
    stoppable,
)
from napari_semiseg.core.case import CaseState
from napari_semiseg.core.config import Precision, TrainingConfig
from napari_semiseg.core.events import Predicted, Staged, Warned, from_line
from napari_semiseg.core.text import duration
from napari_semiseg.errors import STOPPED, ConfigError, ProjectError
from napari_semiseg.io.atomic import machine
from napari_semiseg.project.runs.event_log import LogReader, checkpoint_facts
from napari_semiseg.project.runs.workers import Worker

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from napari_semiseg.core.events import Event
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

LEFT = 129
"""Exit code of a verb that no longer follows what goes on elsewhere: 128 and SIGHUP."""
NoPredict = Annotated[
    bool, typer.Option("--no-predict", help="Do not predict unlabelled cases after it.")
]
ToPredict = (
    CaseState.UNLABELLED,
    CaseState.PROPOSED,
    CaseState.DRAFT,
    CaseState.PARTIAL,
)
"""States of the cases without a complete label that are not excluded."""


def train(
    project: options.ProjectPath,
    method: options.MethodName = None,
    minutes: options.Minutes = None,
    steps: options.Steps = None,
    device: options.TrainingDevice = "auto",
    devices: options.Devices = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides every batch.")] = 0,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Begin with the weights of this run; from scratch by default.",
        ),
    ] = None,
    untrusted: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Of the labelled crops, from proposed masks; it falls to 0.",
        ),
    ] = 0.0,
    settings: options.SettingPairs = None,
    no_predict: NoPredict = False,
    on: options.On = None,
    run_id: Annotated[str | None, typer.Option("--run-id", hidden=True)] = None,
    json: options.Json = False,
) -> None:
    """Train to the budget, then predict every case without a label."""
    from napari_semiseg.project.runs.run import Run

    options.check_budget(minutes, steps)
    opened = options.open_project(project)
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
            options.read_settings(settings),
            method=method,
            params=params,
            start_from=start_from,
            minutes=minutes,
            steps=steps,
            device=device,
            seed=seed,
            untrusted=untrusted,
        )
    if on is not None:
        run = Run.create(opened, config)
        try:
            words = ["--run-id", run.id, *_flags(devices, no_predict=no_predict)]
            summary = _elsewhere(on, "train", opened, run, words, quiet=json)
        finally:
            run.discard()
        _report(run, summary, json=json)
        return
    with nullcontext() if run_id is None else _starting(run):
        from napari_semiseg import engine

        ranks = engine.join()
        processes = _processes(devices, device)
        engine.check_batches(config, max(processes, ranks.size))
        if run_id is None:
            made = Run.create(opened, config).id if ranks.is_first else None
            run = opened.run(ranks.shared(made) or "")
        try:
            if processes > 1:
                flags = _flags(no_predict=no_predict, json=json)
                words = ["train", str(project), "--run-id", run.id, *flags]
                raise SystemExit(engine.launch(processes, words))
            events = engine.train(opened, config, run=run)
            summary = run_session(
                opened, run, events, predict=not no_predict, quiet=json
            )
        finally:
            if run_id is None and ranks.is_first:
                run.discard()
    _report(run, summary, json=json)


def resume(
    project: options.ProjectPath,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The newest by default.")
    ] = None,
    steps: options.Steps = None,
    minutes: options.Minutes = None,
    devices: options.Devices = None,
    no_predict: NoPredict = False,
    on: options.On = None,
    json: options.Json = False,
) -> None:
    """Continue a run, exactly as if it had never ended."""
    options.check_budget(minutes, steps)
    opened = options.open_project(project)
    chosen = _run(opened, run)
    asked = [("--steps", steps), ("--minutes", minutes)]
    budget = [f"{flag}={value}" for flag, value in asked if value is not None]
    if on is not None:
        words = [chosen.id, *budget, *_flags(devices, no_predict=no_predict)]
        summary = _elsewhere(on, "resume", opened, chosen, words, quiet=json)
        _report(chosen, summary, json=json)
        return
    with _starting(chosen):
        from napari_semiseg import engine

        processes = _processes(devices, chosen.config.device)
        engine.check_batches(chosen.config, processes, chosen.plan)
        if processes > 1:
            flags = _flags(no_predict=no_predict, json=json)
            words = ["resume", str(project), chosen.id, *budget, *flags]
            raise SystemExit(engine.launch(processes, words))
        events = engine.resume(opened, chosen, steps=steps, minutes=minutes)
        summary = run_session(
            opened, chosen, events, predict=not no_predict, quiet=json
        )
    _report(chosen, summary, json=json)


def stop(
    project: options.ProjectPath,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The one that runs by default.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Ask a run to write a checkpoint and end."""
    from napari_semiseg.execution.stop import stop as stop_anywhere

    opened = options.open_project(project)
    if run is not None:
        chosen = opened.run(run)
        if not (_is_active(chosen) or chosen.awaits_workers):
            raise ProjectError(
                f"expected a run that is going on, found that '{run}' is "
                f"{chosen.status}; there is nothing to stop"
            )
    else:
        runs = opened.runs()[::-1]
        live = [item for item in runs if _is_active(item)]
        found = live or [item for item in runs if item.awaits_workers]
        if not found:
            raise ProjectError(
                "expected a run that is going on, found none; see semiseg status"
            )
        chosen = found[0]
    waiting, active = chosen.waiting, _is_active(chosen)
    withdrawn = stop_anywhere(opened, chosen)
    if waiting is not None and withdrawn:
        message = (
            f"Took {chosen.id} back: {waiting.verb} had not begun on {waiting.place}."
        )
    elif waiting is not None:
        message = f"Asked {chosen.id} to stop: {waiting.text}, and ends when it begins."
    elif not active:
        message = (
            f"Asked {chosen.id} to stop: no part of it is at work, those that are "
            "still to begin end at once."
        )
    else:
        message = f"Asked {chosen.id} to stop; it writes a checkpoint first."
    render.answer({"run": chosen.id}, message, as_json=json)


def predict(
    project: options.ProjectPath,
    run: options.RunId = None,
    cases: options.CaseList = None,
    case: options.CaseIds = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Part I of N, for jobs of an array; as 1/8 to 8/8."
        ),
    ] = None,
    cluster: options.Cluster = None,
    on: options.On = None,
    maps: Annotated[
        str, typer.Option(metavar="all|none", help="What to store beside the masks.")
    ] = "all",
    precision: Annotated[
        str | None,
        typer.Option(metavar="fp32|bf16", help="To compute in; else the training's."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Predict cases and store the predictions; by default all without a label."""
    from napari_semiseg.project.runs.run import newest_model

    _check_how(maps, precision, shard, cluster, on)
    opened = options.open_project(project)
    ids = options.chosen_ids(cases, case)
    chosen = opened.run(run) if run is not None else newest_model(opened.runs())
    if on is not None:
        start = time.perf_counter()
        words = ["--run", chosen.id, "--maps", maps]
        words += ["--precision", precision] if precision else []
        words += [word for name in ids for word in ("--case", name)]
        summary = _elsewhere(on, "predict", opened, chosen, words, quiet=json)
        _report_predictions(chosen, summary, len(summary.predicted), start, json=json)
        if summary.stopped:
            raise SystemExit(STOPPED)
        return
    with_maps, worker = maps == "all", None
    found: Iterable[Case]
    if shard is None and cluster is None:
        found = map(opened.case, ids) if ids else _cases_to_predict(opened)
    else:
        part, parts = (1, 1) if shard is None else _shard(shard)
        name = f"shard-{part}-of-{parts}" if shard else f"{machine()}-{os.getpid()}"
        worker = Worker(chosen.folder, name)
        own = slice(part - 1, None, parts)
        part_ids = ids[own] if ids else opened.case_ids(own)
        found = _not_predicted(opened, chosen, part_ids, maps=with_maps)
        if not ids:
            found = (case for case in found if case.state in ToPredict)
    start = time.perf_counter()
    with (
        worker.at_work() if worker else _starting(chosen),
        stoppable(chosen if worker is None else worker) as signals,
        RunDisplay(quiet=json) as display,
    ):
        waiting = list(found)
        if cluster is not None and worker is not None:
            events = _on_cluster(cluster, opened, chosen, waiting, worker, with_maps)
            whole = _shown(events, len(waiting), display)
        else:
            how = {"worker": worker, "maps": with_maps, "precision": precision}
            whole = _predict(opened, chosen, waiting, display, **how)
    _report_predictions(chosen, display.summary, len(waiting), start, json=json)
    if signals or not whole:
        raise SystemExit(STOPPED)


def methods(json: options.Json = False) -> None:
    """List the training methods with their parameters."""
    from napari_semiseg.engine import method_specs

    found = method_specs()
    if json:
        render.emit({"methods": [asdict(item) for item in found]})
        return
    render.table(
        {
            "method": item.name,
            "title": item.title,
            "cite": item.cite,
            "parameters": _parameters(item.params),
        }
        for item in found
    )


def run_session(
    project: Project, run: Run, events: Iterator[Event], *, predict: bool, quiet: bool
) -> RunSummary:
    """Show a training and, when it was completed, the predictions that follow it.

    Of several ranks only the first one predicts and reports.
    """
    from napari_semiseg import engine

    is_first = engine.join().is_first
    with (
        stoppable(run) as signals,
        RunDisplay(quiet=quiet or not is_first) as display,
    ):
        for event in events:
            display.take(event)
        if not is_first:
            raise SystemExit
        finished = display.summary.finished
        complete = finished is not None and finished.reason == "completed"
        cases = _cases_to_predict(project) if predict and complete else []
        whole = _predict(project, run, cases, display)
        display.summary.stopped = bool(signals) or not whole
    return display.summary


def _check_how(maps: str, precision: str | None, *where: str | None) -> None:
    """Refuse what is not known, and two places at once."""
    shard, cluster, _on = where
    if maps not in ("all", "none"):
        raise ConfigError(f"expected --maps all or none, found {maps!r}")
    if precision not in (None, *get_args(Precision)):
        raise ConfigError(f"expected --precision fp32 or bf16, found {precision!r}")
    if precision and (shard or cluster):
        raise ConfigError(
            "expected --precision without --shard and --cluster, found both; leave one"
        )
    if sum(map(bool, where)) > 1:
        raise ConfigError(
            "expected --shard, --cluster or --on, found several; give one"
        )


def _predict(
    project: Project, run: Run, cases: list[Case], display: RunDisplay, **how: Any
) -> bool:
    """Predict cases; whether it went on to the last one."""
    from napari_semiseg import engine

    events = engine.predict_cases(project, run, cases, **how) if cases else iter(())
    return _shown(events, len(cases), display)


def _shown(events: Iterator[Event], left: int, display: RunDisplay) -> bool:
    """Show what is predicted; whether it went on to the last of the cases."""
    if left:
        display.take(Staged(stage=PREDICTING, done=0, total=left))
    for event in events:
        display.take(event)
        left -= 1
    return not left


def _elsewhere(
    place: str, verb: str, project: Project, run: Run, words: list[str], *, quiet: bool
) -> RunSummary:
    """Run a verb on another machine, and show what it writes into the shared folder.

    Raises
    ------
    ProjectError
        It cannot be started there, or it fails.
    """
    from napari_semiseg.execution.executor import submit_for
    from napari_semiseg.execution.follow import follow_process, last_output
    from napari_semiseg.execution.place import executor_at
    from napari_semiseg.execution.stop import withdraw

    before = sum(1 for _ in LogReader(run.folder.events).events())
    handle = submit_for(executor_at(place, project), verb, project, run, *words)
    withdrawn = False
    with (
        stoppable(run, goes_on_elsewhere=True) as signals,
        RunDisplay(quiet=quiet) as display,
    ):

        def left() -> bool:
            """Whether the terminal is gone; what waits is taken back when asked to."""
            nonlocal withdrawn
            if signals and HANGUP not in signals and not withdrawn:
                withdrawn = True
                withdraw(run, handle)
            return HANGUP in signals

        trains = verb != "predict"
        events = follow_process(run, handle, trains=trains, stop=left)
        for event in islice(events, before, None):
            display.take(event)
    if HANGUP in signals:
        raise SystemExit(LEFT)
    code = handle.poll()
    finished = display.summary.finished
    error = None
    if finished is not None and finished.reason == "failed":
        error = finished.error
    elif code not in (0, STOPPED):
        lines = last_output(run.folder.log, handle.log_start) or [
            f"{verb} ended with code {code} on {place}"
        ]
        error = lines[-1]
    if error is not None:
        raise ProjectError(error.removeprefix("semiseg: "))
    display.summary.stopped = bool(signals) or code == STOPPED
    return display.summary


def _starting(run: Run) -> AbstractContextManager[None]:
    """Show that this process, the first of several, is about to work on a run."""
    ranks = (os.environ.get(name, "0") for name in ("RANK", "SLURM_PROCID"))
    return run.starting() if all(rank == "0" for rank in ranks) else nullcontext()


def _flags(
    devices: str | None = None, *, no_predict: bool, json: bool = False
) -> list[str]:
    """Give the options of a training again to the processes that do it."""
    flags = [] if devices is None else ["--devices", devices]
    return flags + ["--no-predict"] * no_predict + ["--json"] * json


def _on_cluster(
    address: str,
    project: Project,
    run: Run,
    cases: Sequence[Case],
    worker: Worker,
    maps: bool,
) -> Iterator[Event]:
    """Predict each case on a worker of a cluster; one that cannot be is a warning."""
    from napari_semiseg import engine
    from napari_semiseg.execution.cluster import compute, connected

    step = _model_step(run)
    sent = (str(project.folder), run.id, step, worker.batch, int(maps))
    calls = {f"semiseg-{run.id}-{step}-{case.id}": (*sent, case.id) for case in cases}
    names = dict(zip(calls, (case.id for case in cases), strict=True))
    if not calls:
        return
    with connected(address) as client:
        results = compute(
            client, engine.predict_case, calls, lambda: worker.stop_requested
        )
        done = 0
        for key, result in results:
            if isinstance(result, BaseException):
                text = f"case {names[key]} is not predicted: {result}"
                event: Event = Warned(message=text)
                worker.append(event)
            elif not result:
                continue  # it was stopped
            else:
                event = from_line(result)
            done += 1
            if isinstance(event, Predicted):
                known = {"done": done, "total": len(cases)}
                event = event.model_copy(update=known)
            yield event


def _processes(devices: str | None, device: str) -> int:
    """Count the processes that train together; those that already do start none."""
    from napari_semiseg import engine

    if devices is None or not engine.join().alone:
        return 1
    return engine.count_devices(devices, device)


def _report_predictions(
    run: Run, summary: RunSummary, asked: int, start: float, *, json: bool
) -> None:
    seconds = round(time.perf_counter() - start, 1)
    done = summary.predicted
    render.answer(
        {"run": run.id, "predicted": done, "seconds": seconds},
        f"Predicted {len(done)} of {asked} cases in {duration(seconds)}.",
        as_json=json,
    )


def _report(run: Run, summary: RunSummary, *, json: bool) -> None:
    finished = summary.finished
    if finished is None:
        raise ProjectError(
            f"expected run '{run.id}' to end with its last event, found none; see "
            f"{run.folder.log}"
        )
    took = duration(finished.seconds)
    sentences = [f"{run.id}: {finished.reason}, {finished.step} steps in {took}."]
    if summary.predicted:
        sentences.append(f"Predicted {len(summary.predicted)} cases.")
    render.answer(
        {
            "run": run.id,
            "reason": finished.reason,
            "steps": finished.step,
            "seconds": round(finished.seconds, 1),
            "device": summary.device,
            "validation": summary.validation,
        },
        *sentences,
        as_json=json,
    )
    if summary.stopped or finished.reason == "cancelled":
        raise SystemExit(STOPPED)


def _is_active(run: Run) -> bool:
    at_work = run.is_working or run.has_workers
    return run.is_under_way or at_work or run.waiting is not None


def _cases_to_predict(project: Project) -> list[Case]:
    return project.cases(state=ToPredict)


def _shard(text: str) -> tuple[int, int]:
    """Read which part of how many."""
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ConfigError(f"expected --shard as 1/8, up to 8/8, found {text!r}")
    return int(part), int(parts)


def _not_predicted(
    project: Project, run: Run, ids: Sequence[str], *, maps: bool
) -> Iterator[Case]:
    """Give those of the cases that this model has not predicted yet."""
    step = _model_step(run)
    for name in ids:
        if not run.is_predicted(name, step, maps=maps):
            yield project.case(name)


def _model_step(run: Run) -> int:
    """Count the steps of the model in use; -1 where its checkpoint is damaged."""
    step = checkpoint_facts(run.folder.last).step
    return -1 if step is None else step


def _run(project: Project, run_id: str | None) -> Run:
    if run_id is not None:
        return project.run(run_id)
    latest = project.latest_run()
    if latest is None:
        raise ProjectError("expected a run, found none; train first: semiseg train")
    return latest


def _parameters(schema: dict[str, Any]) -> str:
    values = schema.get("properties", {}).items()
    return ", ".join(f"{name}={item.get('default')}" for name, item in values)
