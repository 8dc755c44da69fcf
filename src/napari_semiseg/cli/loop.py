"""demo: the whole loop on virtual patients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_semiseg.cli import render
from napari_semiseg.cli.errors import STOPPED
from napari_semiseg.cli.options import Json, check_budget
from napari_semiseg.core.config import TrainingConfig

if TYPE_CHECKING:
    from napari_semiseg.project.review.evaluate import Evaluation

REPORT = "report.html"


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command(demo.__name__)(demo)


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to work in.")
    ] = Path("semiseg-demo"),
    minutes: Annotated[
        float, typer.Option("--minutes", help="Budget of the training.")
    ] = 5.0,
    no_gui: Annotated[
        bool, typer.Option("--no-gui", help="Do not open napari at the end.")
    ] = False,
    json: Json = False,
) -> None:
    """Label three virtual patients, learn from twelve, score, and look at it.

    The patients are synthetic: random deformations of the MR template that nilearn
    ships. It needs no network.
    """
    from napari_semiseg import engine
    from napari_semiseg.cli.analysis import bar
    from napari_semiseg.cli.gui import has_display, show
    from napari_semiseg.cli.training import run_session
    from napari_semiseg.project.review.evaluate import evaluate
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.samples import prepare
    from napari_semiseg.samples.report import write_report

    check_budget(minutes)
    config = TrainingConfig.build(minutes=minutes)
    if not json:
        render.say("Virtual patients: synthetic images from one public MR template.")
    project, cohort = prepare(folder)
    run = Run.create(project, config)
    try:
        events = engine.train(project, config, run=run)
        outcome = run_session(project, run, events, predict=True, quiet=json)
    finally:
        run.discard()
    if outcome.stopped or not outcome.predicted:
        raise SystemExit(STOPPED)
    held_out = [name for name in outcome.predicted if name not in cohort.labelled]
    with bar("Scoring", quiet=json) as progress:
        scores = evaluate(
            project, cohort.masks[0].parent, run=run, cases=held_out, progress=progress
        )
    report = write_report(project, run, scores, folder / REPORT)
    if json:
        render.emit(
            {
                "project": str(project.folder),
                "run": run.id,
                "mean": scores.mean,
                "report": str(report),
            }
        )
    else:
        _say(scores, report)
    if not no_gui and has_display():
        show(project.folder)


def _say(scores: Evaluation, report: Path) -> None:
    for name, values in scores.mean.items():
        render.say(
            f"{name}: Dice {values['dice']:.3f}, HD95 {values['hd95_mm']:.1f} mm over "
            f"{len(scores.cases)} patients without a label"
        )
    render.say(f"Report with pictures: {report}")
