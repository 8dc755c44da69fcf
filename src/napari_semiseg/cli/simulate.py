"""simulate: what a strategy of suggestions costs, and what it brings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_semiseg.cli import render
from napari_semiseg.cli.bench import Stop, check_trainings, whole, words
from napari_semiseg.cli.errors import STOPPED
from napari_semiseg.cli.options import (
    CaseList,
    Json,
    Minutes,
    ProjectPath,
    Steps,
    check_budget,
    read_list,
    read_settings,
)
from napari_semiseg.errors import ProjectError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.cli.bench_board import Board
    from napari_semiseg.experiments.simulation.curves import Point
    from napari_semiseg.experiments.simulation.results import Results, TrialRecord
    from napari_semiseg.experiments.simulation.runner import Simulator


def register(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command(simulate.__name__)(simulate)


def simulate(
    project: ProjectPath,
    masks: Annotated[
        Path, typer.Option(metavar="DIR", help="Reference masks, named like the cases.")
    ],
    strategy: Annotated[
        list[str],
        typer.Option(
            metavar="A,B", help="Names as in suggest, or whole; mix:5% sets slices."
        ),
    ],
    rounds: Annotated[
        int, typer.Option(metavar="R", help="Annotate, train, score: so many times.")
    ],
    slices: Annotated[
        str,
        typer.Option(
            "--slices-per-round", metavar="K", help="A number, or 5% of all slices."
        ),
    ],
    minutes: Minutes = None,
    steps: Steps = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="See semiseg methods.")
    ] = None,
    seeds: Annotated[
        list[str] | None,
        typer.Option("--seeds", "--seed", metavar="0,1,2", help="One trial each."),
    ] = None,
    cases: CaseList = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="LIST", help="Ids that are scored, not the test split."),
    ] = None,
    plane: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="axial, coronal or sagittal; else any."),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to train.")
    ] = "auto",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="For all trainings; repeat."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Results; PROJECT_simulation by default."),
    ] = None,
    json: Json = False,
) -> None:
    """Play a user who annotates suggested slices; the same command goes on.

    It works on copies of the project, which stays as it is.
    """
    from napari_semiseg.cli.bench_board import Board
    from napari_semiseg.cli.progress import stoppable
    from napari_semiseg.execution.local import LocalExecutor
    from napari_semiseg.experiments.benchmark import figures
    from napari_semiseg.experiments.simulation import annotator, results
    from napari_semiseg.experiments.simulation.runner import Simulator
    from napari_semiseg.experiments.simulation.spec import Amount, Entry, Simulation
    from napari_semiseg.project.project import Project

    check_budget(minutes, steps)
    opened = Project.open(project)
    held = read_list(test) or annotator.held_out(opened)
    simulation = Simulation(
        project=opened.folder,
        masks=masks,
        cases=tuple(read_list(cases) or annotator.choose(opened, masks, held)),
        test=tuple(held),
        entries=tuple(map(Entry.parse, words(strategy))),
        rounds=rounds,
        amount=Amount.parse(slices),
        seeds=tuple(whole(text, "--seeds", 0) for text in words(seeds or ["0"])),
        plane=plane,
        method=method,
        minutes=minutes,
        steps=steps,
        device=device,
        settings=read_settings(settings),
    )
    figures.check_installed()
    check_trainings([simulation.config(trial) for trial in simulation.trials()])
    folder = out or opened.folder.with_name(f"{opened.folder.name}_simulation")
    begun = results.begin(folder, simulation)
    references = annotator.References.check(opened, simulation)
    executor = LocalExecutor(low_priority=False)
    ours = Simulator(opened, simulation, references, folder, executor)
    stop = Stop()
    with stoppable(stop), Board(quiet=json, name="Simulation") as board:
        found = _run(ours, begun, board, stop)
    if stop.asked:
        if not json:
            render.say("Stopped; the same command goes on from here.")
        raise SystemExit(STOPPED)
    _report(ours, found, json=json)


def _run(ours: Simulator, results: Results, board: Board, stop: Stop) -> Results:
    """Go through all rounds that are not done; the figure grows with each."""
    from napari_semiseg.experiments.simulation.curves import draw, summarise
    from napari_semiseg.experiments.simulation.runner import RoundBegan, RoundEnded

    for event in ours.run(results, stop=lambda: stop.asked):
        if isinstance(event, RoundBegan):
            text = f"{event.trial.text}, round {event.round}"
            board.begin(text, event.number, event.total)
        elif isinstance(event, RoundEnded):
            results = event.results
            board.end(f"{event.trial.text}: {_outcome(event.record)}")
            if points := summarise(results):
                draw(ours.out, points)
        else:
            board.take(event)
    return results


def _outcome(record: TrialRecord) -> str:
    if record.error is not None:
        return f"failed: {record.error}"
    if record.exhausted:
        return "everything is annotated"
    last = record.rounds[-1]
    return f"{last.slices} slices, Dice {render.number(last.dice)}"


def _report(ours: Simulator, results: Results, *, json: bool) -> None:
    from napari_semiseg.experiments.simulation.curves import draw, summarise
    from napari_semiseg.experiments.simulation.results import FILE

    points = summarise(results)
    wanted = [results.of(trial) for trial in ours.simulation.trials()]
    failed = [record for record in wanted if record.error is not None]
    figure = draw(ours.out, points) if points else None
    if json:
        values: dict[str, Any] = {
            "results": str(ours.out / FILE),
            "figure": None if figure is None else str(figure),
            "curves": [_curve(record) for record in results.trials],
            "mean": [asdict(point) for point in points],
            "failed": [
                {"strategy": item.strategy, "seed": item.seed, "error": item.error}
                for item in failed
            ],
        }
        render.emit(values)
    elif points:
        _show(points)
        render.say(f"Curves: {figure}")
    if failed:
        raise ProjectError(
            f"expected {len(wanted)} trials with scores, found that {len(failed)} "
            f"failed, the first ({failed[0].strategy}) with '{failed[0].error}'; the "
            "same command tries them again"
        )


def _curve(record: TrialRecord) -> dict[str, Any]:
    return {
        "strategy": record.strategy,
        "seed": record.seed,
        "rounds": [
            {
                "round": item.round,
                "slices": item.slices,
                "voxels_changed": item.voxels_changed,
                "annotated_fraction": item.annotated_fraction,
                "dice": item.dice,
                "dice_per_class": item.dice_per_class,
                "steps": item.steps,
                "seconds": item.seconds,
            }
            for item in record.rounds
            if item.dice is not None
        ],
    }


def _show(points: Sequence[Point]) -> None:
    heads = ("round ", "slices ", "annotated ", "voxels changed ", "Dice ", "SD ")
    render.table(
        ("strategy", *heads),
        (
            (
                point.strategy,
                str(point.round),
                f"{point.slices:.0f}",
                f"{point.annotated_fraction:.1%}",
                f"{point.voxels_changed:.0f}",
                f"{point.dice:.3f}",
                render.number(point.sd),
            )
            for point in points
        ),
    )
