"""init, add, label, status, export and open: the project itself."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_semiseg.cli import render
from napari_semiseg.cli.options import (
    CaseList,
    Json,
    ProjectPath,
    read_list,
    read_structures,
)
from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.events import Learned
from napari_semiseg.core.text import count, duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.discovery.add_images import AddReport
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.quality_estimate import Estimator


class Resample(StrEnum):
    """How a mask may be brought onto the grid of its image."""

    NEAREST = "nearest"


DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only show what goes with what.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (init, add, label, status, open_):
        app.command(verb.__name__.rstrip("_"))(verb)


def init(
    project: ProjectPath,
    label: Annotated[
        list[str],
        typer.Option(
            "--label", metavar="VALUE=NAME", help="A class, as 1='left atrium'; repeat."
        ),
    ],
    json: Json = False,
) -> None:
    """Create an empty project with its classes."""
    from napari_semiseg.project.project import Project

    made = Project.create(project, label)
    if json:
        render.emit({"project": str(made.folder), "labels": _labels(made)})
        return
    names = ", ".join(f"{item.value}={item.name}" for item in made.labels)
    render.say(f"Created {made.folder} with {names}.")
    render.say(f"Next: semiseg add {project} IMAGES")


def add(
    project: ProjectPath,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH…", help="Images, folders, DICOM series."),
    ],
    split: Annotated[
        Split, typer.Option(help="What the images may be used for.")
    ] = Split.TRAIN,
    cases: CaseList = None,
    series: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NUMBER|NAME|UID|all",
            help="DICOM series to take from folders with several; repeat.",
        ),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|NUMBER|NAME=ENDING",
            help="Images of a case to use together: channels of a known data set, or "
            "as T1=_t1 by the ending of file names; repeat.",
        ),
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Add images by reference; nothing is copied."""
    from napari_semiseg.project.project import Project

    report = Project.open(project).add(
        *paths,
        split=split,
        cases=read_list(cases),
        series=series or (),
        channels=channel or (),
        dry_run=dry_run,
    )
    if json:
        answer: dict[str, Any] = {
            "added": report.added,
            "skipped": report.skipped,
            "notes": report.notes,
        }
        preview = {
            "paths": _texts(report.paths),
            "masks": _texts(report.masks),
            "dry_run": True,
        }
        several = {
            name: {one.name: str(one.image) for one in channels}
            for name, channels in report.channels.items()
            if len(channels) > 1
        }
        if several:
            preview["channels"] = several
        render.emit(answer | (preview if dry_run else {}))
        return
    if dry_run:
        render.table(
            ("case", "image", "mask"),
            (
                (name, _images(report, name), str(report.masks.get(name, "-")))
                for name in report.added
            ),
        )
    verb = "Would add" if dry_run else "Added"
    render.say(f"{verb} {count(len(report.added), 'case')} ({split}).")
    for path, reason in report.skipped.items():
        render.say(f"Skipped {path}: {reason}")
    for note in (note for notes in report.notes.values() for note in notes):
        render.say(f"Note: {note}")
    if report.masks:
        render.say(
            f"{count(len(report.masks), 'mask')} lie beside them: "
            f"semiseg label {project} --masks {paths[0]}"
        )


def label(
    project: ProjectPath,
    masks: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Masks named like the cases; 255 = not done."),
    ],
    cases: CaseList = None,
    structure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Label value of a structure in RTSTRUCT and SEG files; repeat.",
        ),
    ] = None,
    resample: Annotated[
        Resample | None, typer.Option(help="Allow masks on another grid.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Attach human masks by case id; all are checked before any is written."""
    from napari_semiseg.project.importing.match_masks import attach
    from napari_semiseg.project.project import Project

    opened = Project.open(project)
    report = attach(
        opened,
        masks,
        read_list(cases),
        structures=read_structures(structure or ()),
        resample=resample is not None,
        dry_run=dry_run,
    )
    if report.skipped:
        ignored = ", ".join(report.skipped)
        console = render.console(stderr=True)
        console.print(f"Masks without a case were left out: {ignored}", markup=False)
    if json:
        preview = {"paths": _texts(report.paths), "dry_run": True}
        render.emit({"labelled": report.added} | (preview if dry_run else {}))
        return
    if dry_run:
        pairs = ((name, str(report.paths[name])) for name in report.added)
        render.table(("case", "mask"), pairs)
        render.say(f"Would label {count(len(report.added), 'case')}.")
        return
    render.say(f"Labelled {count(len(report.added), 'case')}.")
    render.say(_next_step(opened, opened.cases(), str(project)))


def status(project: ProjectPath, json: Json = False) -> None:
    """Show the cohort, the runs, and the next sensible step."""
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.corrections import corrections, plateau
    from napari_semiseg.project.review.quality_estimate import Estimator

    opened = Project.open(project)
    found = opened.cases()
    done = corrections(found)
    estimator = Estimator(done)
    cases = [_case_row(opened, case, estimator) for case in found]
    runs = [
        {
            "id": run.id,
            "method": run.config.method,
            "status": run.status,
            "steps": run.steps_done,
            "seconds": round(run.seconds, 1),
            "from": run.config.start_from,
            "learned": [
                {"step": event.step, "cases": event.cases, "dropped": event.dropped}
                for event in run.events()
                if isinstance(event, Learned)
            ],
        }
        for run in opened.runs()
    ]
    if json:
        answer = {"cases": cases, "labels": _labels(opened), "runs": runs}
        work: dict[str, Any] = {
            "corrections": [asdict(item) for item in done],
            "plateau": plateau(done),
        }
        channels = opened.channels or ()
        if len(channels) > 1:
            work["channels"] = list(channels)
        render.emit(answer | work)
        return
    _show_status(opened, cases, runs)
    if (said := plateau(done)) is not None:
        render.say(f"{said}: predict the rest? semiseg predict {project}")
    render.say(_next_step(opened, found, str(project)))


def open_(project: ProjectPath) -> None:
    """Open the project in napari."""
    from napari_semiseg.cli.gui import show
    from napari_semiseg.project.project import Project

    show(Project.open(project).folder)


def _texts(paths: Mapping[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in sorted(paths.items())}


def _images(report: AddReport, name: str) -> str:
    """Image of a case, or all of its channels."""
    channels = report.channels[name]
    if len(channels) == 1:
        return str(channels[0].image)
    return "; ".join(f"{one.name}: {one.image.name}" for one in channels)


def _labels(project: Project) -> list[dict[str, Any]]:
    return [item.model_dump() for item in project.labels]


def _case_row(project: Project, case: Case, estimator: Estimator) -> dict[str, Any]:
    from napari_semiseg.project.review.corrections import effort
    from napari_semiseg.project.review.flags import is_put_off

    noted: dict[str, Any] = {}
    if case.record.flag is not None:
        noted["flag"] = case.record.flag
    if is_put_off(project, case):
        noted["skipped"] = True
    run = project.prediction_run(case.id)
    record = run.prediction_record(case.id) if run is not None else None
    waiting = record is not None and case.state is not CaseState.LABELLED
    estimate = estimator.estimate(record) if record is not None and waiting else None
    spent = effort(case.record)
    accepted = "unseen" if case.accepted_unseen else "seen"
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
        "accepted": accepted if case.has_label else None,
        **noted,
    }


def _noted(row: Mapping[str, Any]) -> str:
    """Flag and skip of a case in words."""
    flag = row.get("flag")
    words = [] if flag is None else [f"flagged: {flag}" if flag else "flagged"]
    return ", ".join([*words, *(["skipped"] if row.get("skipped") else [])])


def _state(row: Mapping[str, Any]) -> str:
    return "accepted unseen" if row["accepted"] == "unseen" else str(row["state"])


def _dice(row: Mapping[str, Any]) -> str:
    """Dice that the correction showed; with a ~ and its error where estimated."""
    if row["estimated_dice"] is None:
        return render.number(row["corrective_dice"], 2)
    estimate, error = row["estimated_dice"], row["estimated_dice_error"]
    return f"~{estimate:.2f} ± {error:.2f}"


def _show_status(
    project: Project, cases: list[dict[str, Any]], runs: list[dict[str, Any]]
) -> None:
    labels = ", ".join(f"{item.value}={item.name}" for item in project.labels)
    channels = project.channels or ()
    images = ""
    if len(channels) > 1:
        images = f"; {len(channels)} images per case: {', '.join(channels)}"
    cohort = count(len(cases), "case")
    render.say(f"{project.name}: {cohort}; {labels}{images}\n")
    if cases:
        render.table(
            (
                "case",
                "state",
                "split",
                "voxels zyx",
                "mm zyx",
                "annotated ",
                "uncertainty ",
                "Dice ",
                "minutes ",
                "note",
            ),
            (
                (
                    row["id"],
                    _state(row),
                    row["split"],
                    "x".join(str(size) for size in row["shape"]),
                    "x".join(f"{step:.3g}" for step in row["spacing_mm"]),
                    f"{row['annotated_fraction']:.1%}",
                    render.number(row["uncertainty"]),
                    _dice(row),
                    render.number(row["minutes"], 1),
                    _noted(row),
                )
                for row in cases
            ),
        )
        render.say("")
    if runs:
        render.table(
            ("run", "method", "status", "steps ", "time ", "labels taken in "),
            (
                (
                    run["id"],
                    run["method"],
                    run["status"],
                    str(run["steps"]),
                    duration(run["seconds"]),
                    str(sum(len(item["cases"]) for item in run["learned"])),
                )
                for run in runs
            ),
        )
        render.say("")


def _next_step(project: Project, cases: list[Case], path: str) -> str:
    """Say what is worth doing next."""
    if not cases:
        return f"Next: semiseg add {path} IMAGES"
    if not any(case.has_label and case.split == Split.TRAIN for case in cases):
        return (
            f"Next: label some slices in napari (semiseg open {path}) or attach masks "
            f"(semiseg label {path} --masks DIR)"
        )
    latest = project.latest_run()
    if latest is None:
        return f"Next: semiseg train {path}"
    if latest.status in ("preparing", "running"):
        return f"Training goes on ({latest.id}); stop it with: semiseg stop {path}"
    if latest.status in ("interrupted", "cancelled") and latest.has_model:
        return f"Next: semiseg resume {path} ({latest.id} was {latest.status})"
    if any(case.state is CaseState.PROPOSED for case in cases):
        return f"Next: review the proposals, worst first: semiseg suggest {path}"
    return f"Next: semiseg export {path} OUT"
