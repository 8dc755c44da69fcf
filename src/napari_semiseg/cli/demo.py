"""demo: run the whole loop on virtual patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_semiseg.cli import options, render
from napari_semiseg.cli.display import progress_bar
from napari_semiseg.cli.training import run_session
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import STOPPED

REPORT = "report.html"


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
    json: options.Json = False,
) -> None:
    """Label three virtual patients, learn from twelve, score, and look at it.

    The patients are synthetic: random deformations of the MR template that nilearn
    ships. It needs no network.
    """
    from napari_semiseg.cli.gui import has_display, show
    from napari_semiseg.engine import train
    from napari_semiseg.project.review.evaluate import evaluate
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.samples import prepare
    from napari_semiseg.samples.report import write_report

    options.check_budget(minutes)
    config = TrainingConfig.build(minutes=minutes)
    if not json:
        render.say("Virtual patients: synthetic images from one public MR template.")
    project, cohort = prepare(folder)
    run = Run.create(project, config)
    try:
        events = train(project, config, run=run)
        summary = run_session(project, run, events, predict=True, quiet=json)
    finally:
        run.discard()
    if summary.stopped or not summary.predicted:
        raise SystemExit(STOPPED)
    held_out = [name for name in summary.predicted if name not in cohort.labelled]
    with progress_bar("Scoring", quiet=json) as progress:
        scores = evaluate(
            project, cohort.masks[0].parent, run=run, cases=held_out, progress=progress
        )
    report = write_report(project, run, scores, folder / REPORT)
    render.answer(
        {
            "project": str(project.folder),
            "run": run.id,
            "mean": scores.mean,
            "report": str(report),
        },
        *(
            f"{name}: Dice {values['dice']:.3f}, HD95 {values['hd95_mm']:.1f} mm over "
            f"{len(scores.cases)} patients without a label"
            for name, values in scores.mean.items()
        ),
        f"Report with pictures: {report}",
        as_json=json,
    )
    if not no_gui and has_display():
        show(project.folder)
