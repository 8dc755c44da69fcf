"""evaluate, suggest and export: what comes out of a project."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from napari_semiseg.active_learning.registry import DEFAULT, strategies
from napari_semiseg.cli import render
from napari_semiseg.cli.options import CaseList, Json, ProjectPath, RunId, read_list
from napari_semiseg.project.exporting.formats import export_formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_semiseg.active_learning.suggest import VolumeSuggestion
    from napari_semiseg.project.review.evaluate import Evaluation

SHOWN = ("dice", "jaccard", "hd95_mm", "assd_mm", "volume_ml", "reference_ml")


class What(StrEnum):
    """Which masks to export."""

    LABELS = "labels"
    PREDICTIONS = "predictions"
    BEST = "best"


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (evaluate, suggest, export):
        app.command(verb.__name__)(verb)


def evaluate(
    project: ProjectPath,
    masks: Annotated[
        Path, typer.Option(metavar="DIR", help="Reference masks, named like the cases.")
    ],
    run: RunId = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Score these masks instead of a run's."),
    ] = None,
    cases: CaseList = None,
    json: Json = False,
) -> None:
    """Score predictions against reference masks."""
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.evaluate import evaluate as score

    opened = Project.open(project)
    chosen = opened.run(run) if run is not None else None
    with bar("Scoring", quiet=json) as progress:
        result = score(
            opened,
            masks,
            run=chosen,
            predictions=predictions,
            cases=read_list(cases),
            progress=progress,
        )
    if json:
        scores = {
            case: {name: metrics.model_dump() for name, metrics in classes.items()}
            for case, classes in result.cases.items()
        }
        render.emit({"cases": scores, "mean": result.mean})
        return
    _show(result)


def suggest(
    project: ProjectPath,
    k: Annotated[int, typer.Option("-k", min=1, help="How many to name.")] = 10,
    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"{', '.join(strategies())}.",
        ),
    ] = DEFAULT,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    plane: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="axial, coronal or sagittal; else any."),
    ] = None,
    cases: CaseList = None,
    json: Json = False,
) -> None:
    """Say what to annotate next, and why."""
    from napari_semiseg.active_learning.suggest import suggest as rank_cases
    from napari_semiseg.imaging.rendering import PLANES
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.corrections import corrections
    from napari_semiseg.project.review.quality_estimate import Estimator

    opened = Project.open(project)
    found = rank_cases(
        opened, k, strategy, seed=seed, plane=plane, cases=read_list(cases)
    )
    estimator = Estimator(corrections(opened.cases()))
    estimates = estimator.newest(opened, [item.case for item in found.volumes])
    if json:
        render.emit(
            {
                "volumes": [
                    _volume(item) | render.estimated(estimates.get(item.case))
                    for item in found.volumes
                ],
                "slices": [asdict(item) for item in found.slices],
            }
        )
        return
    render.table(
        ("volume", "score ", "estimated Dice ", "reason"),
        (
            (
                item.case,
                f"{item.score:.3f}",
                str(estimates.get(item.case, "-")),
                item.reason,
            )
            for item in found.volumes
        ),
    )
    render.say("")
    render.table(
        ("slice of", "plane", "index ", "score ", "reason"),
        (
            (
                item.case,
                PLANES[item.axis],
                str(item.index),
                f"{item.score:.3f}",
                item.reason,
            )
            for item in found.slices
        ),
    )


def export(
    project: ProjectPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    what: Annotated[
        What, typer.Option(help="best: complete labels, else predictions.")
    ] = What.BEST,
    fmt: Annotated[
        str,
        typer.Option("--format", metavar="|".join(export_formats())),
    ] = "nifti",
    cases: CaseList = None,
    run: RunId = None,
    json: Json = False,
) -> None:
    """Write masks on the grid of the images, volumes.csv and manifest.json."""
    from napari_semiseg.project.exporting.export import export as write
    from napari_semiseg.project.project import Project

    opened = Project.open(project)
    chosen = opened.run(run) if run is not None else None
    with bar("Exporting", quiet=json) as progress:
        report = write(
            opened,
            out,
            what=what.value,
            fmt=fmt,
            cases=read_list(cases),
            run=chosen,
            progress=progress,
        )
    if json:
        render.emit({"written": [str(path) for path in report.written]})
        return
    render.say(f"Wrote {len(report.written)} files to {out}.")
    render.left_out(report.skipped)


@contextmanager
def bar(name: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while something goes on; gives the function that moves it."""
    console = render.console(stderr=True)
    progress = Progress(console=console, disable=quiet, transient=True)
    task = progress.add_task(name, total=None)

    def move(done: int, total: int) -> None:
        progress.start()  # not before: a refusal stays the only line
        progress.update(task, completed=done, total=total)

    try:
        yield move
    finally:
        if progress.live.is_started:
            progress.stop()


def _volume(item: VolumeSuggestion) -> dict[str, Any]:
    """What is said of every volume, and what a reviewer has noted, if anything."""
    values = asdict(item)
    flag, skipped = values.pop("flag"), values.pop("skipped")
    noted = {} if flag is None else {"flag": flag}
    return values | noted | ({"skipped": True} if skipped else {})


def _show(result: Evaluation) -> None:
    rows = [
        (case, name, *(f"{getattr(metrics, key):.3f}" for key in SHOWN))
        for case, classes in result.cases.items()
        for name, metrics in classes.items()
    ]
    rows += [
        ("mean", name, *(f"{values[key]:.3f}" for key in SHOWN))
        for name, values in result.mean.items()
    ]
    heads = ("Dice ", "Jaccard ", "HD95 mm ", "ASSD mm ", "mL ", "reference mL ")
    render.table(("case", "label", *heads), rows)
