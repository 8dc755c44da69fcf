"""init, status, colours and open: the project itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_semiseg.cli import options, render
from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.text import count, duration, number, ranged
from napari_semiseg.errors import SemisegError
from napari_semiseg.project.cases.record import DOUBTED

if TYPE_CHECKING:
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.quality_estimate import Estimator
    from napari_semiseg.project.runs.run import Run

SHOWN = {"verb", "place", "job", "at"}
"""What is told of a verb that waits on another computer."""


def init(
    project: options.ProjectPath,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="VALUE=NAME", help="A class, as 1='left atrium'; repeat."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Classes of a dataset.json, or of a label table of ITK-SNAP, Slicer, "
            "FreeSurfer or BIDS.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Create an empty project with its classes."""
    from napari_semiseg.io.label_tables import read_label_table
    from napari_semiseg.project.cloud_folder import cloud_warning
    from napari_semiseg.project.project import Project

    if bool(label) == bool(labels):
        raise typer.BadParameter("expected either --label or --labels")
    made = Project.create(
        project, label or () if labels is None else read_label_table(labels)
    )
    warning = cloud_warning(made.folder)
    render.answer(
        {"project": str(made.folder), "labels": _labels(made)},
        f"Created {made.folder} with {made.labels}.",
        *([f"Note: {warning}."] if warning else []),
        f"Next: semiseg add {project} IMAGES",
        as_json=json,
    )


def status(project: options.ProjectPath, json: options.Json = False) -> None:
    """Show the cohort, the runs, and the next sensible step."""
    from napari_semiseg.project.review.corrections import corrections, plateau
    from napari_semiseg.project.review.quality_estimate import Estimator

    opened = options.open_project(project)
    problems: dict[str, str] = {}
    found = opened.cases(problems=problems)
    done = corrections(found)
    estimator = Estimator(done)
    predicted = opened.prediction_runs()
    cases = [
        _case_row(case, predicted.get(case.id), estimator, problems) for case in found
    ]
    runs = [_run_row(run, problems) for run in opened.runs()]
    if json:
        work = {"corrections": [asdict(item) for item in done]}
        answer = {"cases": cases, "labels": _labels(opened), "runs": runs}
        names = list(found[0].channel_names) if found else []
        more: dict[str, Any] = {"channels": names} if len(names) > 1 else {}
        if problems:
            more["problems"] = problems
        render.emit(answer | work | {"plateau": plateau(done)} | more)
        return
    _show_status(opened, cases, runs, found[0].channel_names if found else ())
    for name, problem in problems.items():
        render.say(f"{name} cannot be read: {problem}")
    if problems:
        render.say(f"See what can be mended with: semiseg doctor {project}")
    if (news := plateau(done)) is not None:
        render.say(f"{news}: predict the rest? semiseg predict {project}")
    render.say(next_step(found, opened.latest_run(), str(project)))


def open_(project: options.ProjectPath) -> None:
    """Open the project in napari."""
    from napari_semiseg.cli.gui import show

    show(options.open_project(project).folder)


def colours(
    project: options.ProjectPath,
    palette: Annotated[
        str | None,
        typer.Option(help="okabe-ito, bright or vibrant; safe for the colour-blind."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show the colours of a project's structures, or take others."""
    opened = options.open_project(project)
    if palette is not None:
        opened.recolour(palette)
    render.answer(
        {"colours": {item.name: item.colour for item in opened.labels}},
        *(f"{item.colour}  {item.value}={item.name}" for item in opened.labels),
        as_json=json,
    )


def next_step(cases: list[Case], latest: Run | None, path: str) -> str:
    """Say what is worth doing next."""
    if not cases:
        return f"Next: semiseg add {path} IMAGES"
    if not any(case.has_label and case.split == Split.TRAIN for case in cases):
        return (
            f"Next: label some slices in napari (semiseg open {path}) or attach masks "
            f"(semiseg label {path} --masks DIR)"
        )
    if latest is None:
        return f"Next: semiseg train {path}"
    if (waiting := latest.waiting) is not None:
        return f"{latest.id}: {waiting.text}; take it back with: semiseg stop {path}"
    if latest.is_under_way:
        return f"Training is running ({latest.id}); stop it with: semiseg stop {path}"
    if latest.status in ("interrupted", "cancelled") and latest.has_model:
        return f"Next: semiseg resume {path} ({latest.id} was {latest.status})"
    if any(c.state is CaseState.PROPOSED and c.split != Split.TEST for c in cases):
        return f"Next: review the proposals, worst first: semiseg suggest {path}"
    return f"Next: semiseg export {path} OUT"


def _labels(project: Project) -> list[dict[str, Any]]:
    return [item.model_dump() for item in project.labels]


def _run_row(run: Run, problems: dict[str, str]) -> dict[str, Any]:
    source = None
    try:
        source = run.config.start_from if run.is_training else None
    except SemisegError as error:
        problems[run.id] = str(error)
    waiting = run.waiting
    return {
        "id": run.id,
        "method": run.method,
        "status": run.status,
        "steps": run.steps_done,
        "seconds": round(run.seconds, 1),
        "from": source,
        "learned": [
            {"step": event.step, "cases": event.cases, "dropped": event.dropped}
            for event in run.learned
        ],
        **({} if waiting is None else {"waiting": waiting.model_dump(include=SHOWN)}),
    }


def _case_row(
    case: Case, run: Run | None, estimator: Estimator, problems: dict[str, str]
) -> dict[str, Any]:
    from napari_semiseg.project.review.corrections import effort
    from napari_semiseg.project.review.flags import is_put_off

    record = None
    try:
        record = run.prediction_record(case.id) if run is not None else None
    except SemisegError as error:
        problems[f"prediction of {case.id}"] = str(error)
    flag, skipped = case.record.flag, is_put_off(case, record)
    waiting = record is not None and case.state is not CaseState.LABELLED
    estimate = estimator.estimate(record) if record is not None and waiting else None
    spent = effort(case.record)
    return {
        "id": case.id,
        "state": str(case.state),
        "split": str(case.split),
        "shape": list(case.geometry.shape_zyx),
        "spacing_mm": [round(step, 6) for step in case.geometry.spacing_mm],
        "annotated_fraction": case.annotated_fraction,
        "uncertainty": None if record is None else record.score.uncertainty,
        **render.estimated(estimate),
        "corrective_dice": spent.dice,
        "changed_voxels": spent.changed_voxels,
        "minutes": spent.minutes,
        "accepted": case.acceptance,
        **({} if flag is None else {"flag": flag}),
        **({"skipped": True} if skipped else {}),
        **({"draft": True} if case.has_draft else {}),
    }


def _note(row: Mapping[str, Any]) -> str:
    """Flag, skip and draft of a case in words."""
    flag = row.get("flag")
    words = [] if flag is None else [f"flagged: {flag}" if flag else "flagged"]
    if row.get("skipped"):
        words.append("skipped")
    if row.get("draft") and row["accepted"]:
        words.append("has edits that are not accepted")
    return ", ".join(words)


def _status(row: Mapping[str, Any]) -> str:
    """State of a run, and what waits for it where."""
    if "waiting" not in row:
        return str(row["status"])
    verb, place, job = (row["waiting"][name] for name in ("verb", "place", "job"))
    what = "queued" if row["status"] == "queued" else f"{row['status']}, {verb} queued"
    return f"{what} on {place}, job {job}"


def _dice(row: Mapping[str, Any]) -> str:
    """Dice that the correction showed; with its interval where it is estimated."""
    if row["estimated_dice"] is None:
        return number(row["corrective_dice"], ".2f")
    return ranged(*(row[f"estimated_dice{part}"] for part in ("", "_low", "_high")))


def _show_status(
    project: Project,
    cases: list[dict[str, Any]],
    runs: list[dict[str, Any]],
    channels: tuple[str, ...],
) -> None:
    images = ""
    if len(channels) > 1:
        images = f"; {len(channels)} images per case: {', '.join(channels)}"
    cohort = count(len(cases), "case")
    render.say(f"{project.name}: {cohort}; {project.labels}{images}\n")
    if cases:
        render.table(
            {
                "case": row["id"],
                "state": f"accepted {row['accepted']}"
                if row["accepted"] in DOUBTED
                else row["state"],
                "split": row["split"],
                "voxels zyx": "x".join(str(size) for size in row["shape"]),
                "mm zyx": "x".join(f"{step:.3g}" for step in row["spacing_mm"]),
                "annotated ": f"{row['annotated_fraction']:.1%}",
                "uncertainty ": number(row["uncertainty"]),
                "Dice ": _dice(row),
                "minutes ": number(row["minutes"], ".1f"),
                "note": _note(row),
            }
            for row in cases
        )
        render.say("")
    if runs:
        render.table(
            {
                "run": run["id"],
                "method": run["method"] or "-",
                "status": _status(run),
                "steps ": str(run["steps"]),
                "time ": duration(run["seconds"]),
                "labels taken in ": str(sum(len(i["cases"]) for i in run["learned"])),
            }
            for run in runs
        )
        render.say("")
