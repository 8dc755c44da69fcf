"""accept and reopen: predictions that become labels as they are, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from napari_semiseg.cli import render
from napari_semiseg.cli.analysis import bar
from napari_semiseg.cli.options import (
    CaseIds,
    CaseList,
    Json,
    ProjectPath,
    RunId,
    chosen_ids,
)
from napari_semiseg.core.case import CaseState
from napari_semiseg.core.text import count
from napari_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (accept, reopen):
        app.command(verb.__name__)(verb)


def accept(
    project: ProjectPath,
    cases: CaseList = None,
    case: CaseIds = None,
    every: Annotated[
        bool, typer.Option("--all", help="All cases that have only a prediction.")
    ] = False,
    at_least: Annotated[
        float | None,
        typer.Option(
            metavar="DICE", help="Only those with an estimated Dice of at least this."
        ),
    ] = None,
    run: RunId = None,
    seen: Annotated[
        bool, typer.Option("--seen", help="You have looked at every one of them.")
    ] = False,
    json: Json = False,
) -> None:
    """Accept predictions as labels; without --seen they are marked accepted unseen."""
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.accept import accept as take

    opened = Project.open(project)
    ids = chosen_ids(cases, case)
    if bool(ids) == every:
        found = "both" if every else "neither"
        raise ConfigError(
            f"expected cases (--case, --cases) or --all, found {found}; give one"
        )
    if every:
        ids = [item.id for item in opened.cases(state=CaseState.PROPOSED)]
    chosen = opened.run(run) if run is not None else None
    below = {} if at_least is None else _below(opened, ids, at_least, chosen)
    with bar("Accepting", quiet=json) as progress:
        report = take(
            opened,
            [name for name in ids if name not in below],
            run=chosen,
            seen=seen,
            progress=progress,
        )
    skipped = {**report.skipped, **below}
    if json:
        render.emit(
            {
                "accepted": report.accepted,
                "unseen": report.unseen,
                "skipped": skipped,
            }
        )
        return
    unseen = f", {len(report.unseen)} of them unseen" if report.unseen else ""
    render.say(f"Accepted {count(len(report.accepted), 'prediction')}{unseen}.")
    render.left_out(skipped)
    if report.accepted:
        render.say(f"To take one back: semiseg reopen {project} --case ID")


def reopen(
    project: ProjectPath,
    cases: CaseList = None,
    case: CaseIds = None,
    json: Json = False,
) -> None:
    """Take labels back; they are kept in the cases' folders, and so is the history."""
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.accept import reopen as take_back

    opened = Project.open(project)
    ids = chosen_ids(cases, case)
    if not ids:
        raise ConfigError("expected cases (--case, --cases), found none; name some")
    report = take_back(opened, ids)
    if json:
        render.emit({"reopened": report.reopened, "skipped": report.skipped})
        return
    render.say(f"Reopened {count(len(report.reopened), 'case')}.")
    render.left_out(report.skipped)


def _below(
    project: Project, ids: list[str], least: float, chosen: Run | None
) -> dict[str, str]:
    """Cases whose estimated Dice is too low or not known, and which it is."""
    from napari_semiseg.project.review.corrections import corrections
    from napari_semiseg.project.review.quality_estimate import Estimator

    if not 0 <= least <= 1:
        raise ConfigError(f"expected --at-least from 0 to 1, found {least:g}")
    estimator = Estimator(corrections(project.cases()))
    found = {}
    for name in ids:
        run = chosen or project.prediction_run(name)
        if run is None or not run.has_prediction(name):
            continue  # accepting says so
        record = run.prediction_record(name)
        estimate = estimator.estimate(record)
        if estimate is None or estimate.dice < least:
            found[name] = estimator.words(record)
    return found
