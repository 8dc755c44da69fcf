"""add, label and export: images and masks into a project, and out of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_semiseg.cli import options, render
from napari_semiseg.cli.display import StopFlag, progress_bar, stoppable
from napari_semiseg.cli.errors import REFUSED
from napari_semiseg.cli.project import next_step
from napari_semiseg.core.cancellation import CancellationToken
from napari_semiseg.core.case import Split
from napari_semiseg.core.text import count
from napari_semiseg.errors import STOPPED
from napari_semiseg.project.exporting.formats import export_formats

if TYPE_CHECKING:
    from napari_semiseg.project.discovery.add_images import AddReport

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only show what goes with what.")
]


class Resample(StrEnum):
    """How a mask may be brought onto the grid of its image."""

    NEAREST = "nearest"


class MaskChoice(StrEnum):
    """Which masks to export."""

    LABELS = "labels"
    PREDICTIONS = "predictions"
    BEST = "best"


def add(
    project: options.ProjectPath,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH…", help="Images, folders, DICOM series."),
    ],
    split: Annotated[
        Split, typer.Option(help="What the images may be used for.")
    ] = Split.TRAIN,
    cases: options.CaseList = None,
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
    json: options.Json = False,
) -> None:
    """Add images by reference; nothing is copied."""
    opened = options.open_project(project)
    with progress_bar("Reading images", quiet=json) as progress:
        report = opened.add(
            *paths,
            split=split,
            cases=options.read_list(cases),
            series=series or (),
            channels=channel or (),
            dry_run=dry_run,
            progress=progress,
        )
    if json:
        value = {
            "added": report.added,
            "skipped": report.skipped,
            "notes": report.notes,
        }
        render.emit(value | (_preview(report) if dry_run else {}))
        return
    if dry_run:
        render.table(
            {
                "case": name,
                "image": _images(report, name),
                "mask": str(report.masks.get(name, "-")),
            }
            for name in report.added
        )
    verb = "Would add" if dry_run else "Added"
    render.say(f"{verb} {count(len(report.added), 'case')} ({split}).")
    for path, reason in report.skipped.items():
        render.say(f"Skipped {path}: {reason}")
    _say_notes(report)
    if report.masks:
        render.say(
            f"{count(len(report.masks), 'mask')} lie beside them: "
            f"semiseg label {project} --masks {paths[0]}"
        )


def label(
    project: options.ProjectPath,
    masks: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Masks named like the cases; 255 = not done."),
    ],
    cases: options.CaseList = None,
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
    json: options.Json = False,
) -> None:
    """Attach human masks by case id; all are checked before any is written."""
    from napari_semiseg.project.importing.match_masks import attach

    opened = options.open_project(project)
    report = attach(
        opened,
        masks,
        options.read_list(cases),
        structures=options.read_structures(structure),
        resample=resample is not None,
        dry_run=dry_run,
    )
    if report.skipped:
        ignored = ", ".join(report.skipped)
        console = render.console(stderr=True)
        console.print(f"Masks without a case were left out: {ignored}", markup=False)
    labelled = count(len(report.added), "case")
    if json:
        preview = {"paths": _texts(report.paths), "dry_run": True}
        notes = {"notes": report.notes} if report.notes else {}
        render.emit({"labelled": report.added} | notes | (preview if dry_run else {}))
    elif dry_run:
        render.table(
            {"case": name, "mask": str(report.paths[name])} for name in report.added
        )
        _say_notes(report)
        render.say(f"Would label {labelled}.")
    else:
        render.say(f"Labelled {labelled}.")
        _say_notes(report)
        render.say(next_step(opened.cases(), opened.latest_run(), str(project)))


def propose(
    project: options.ProjectPath,
    command: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="A program that segments an image, as 'TOOL -i {image} -o {mask}'; "
            "{image:T1} is another channel.",
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Masks that exist already, such as the predictions of nnU-Net.",
        ),
    ] = None,
    atlas: Annotated[
        bool, typer.Option("--atlas", help="Register the labelled scans instead.")
    ] = False,
    cases: options.CaseList = None,
    case: options.CaseIds = None,
    structure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Class of a value in its mask, or of a file where it writes a folder; "
            "repeat.",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="MINUTES", help="It may take for a case.")
    ] = 60.0,
    json: options.Json = False,
) -> None:
    """Take masks of another program or an atlas as proposals; labels stay."""
    from napari_semiseg.project.importing.propose import propose as take

    opened, stop = options.open_project(project), StopFlag()
    chosen = options.chosen_ids(cases, case)
    with stoppable(stop), progress_bar("Segmenting", quiet=json) as progress:
        report = take(
            opened,
            command,
            chosen or None,
            masks=masks,
            atlas=atlas,
            structures=options.read_structures(structure),
            minutes=timeout,
            cancellation=CancellationToken(lambda: stop.requested),
            progress=progress,
        )
    render.answer(
        {"run": report.run, "proposed": report.proposed, "skipped": report.skipped},
        f"{count(len(report.proposed), 'case')} proposed in {report.run}.",
        *render.left_out(report.skipped),
        as_json=json,
    )
    if report.stopped:
        raise SystemExit(STOPPED)
    if not report.proposed:
        raise SystemExit(REFUSED)


def export(
    project: options.ProjectPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    what: Annotated[
        MaskChoice, typer.Option(help="best: complete labels, else predictions.")
    ] = MaskChoice.BEST,
    fmt: Annotated[
        str,
        typer.Option("--format", metavar="|".join(export_formats())),
    ] = "nifti",
    cases: options.CaseList = None,
    run: options.RunId = None,
    json: options.Json = False,
) -> None:
    """Write masks on the grid of the images, volumes.csv and manifest.json."""
    from napari_semiseg.project.exporting.export import export as write

    opened = options.open_project(project)
    with progress_bar("Exporting", quiet=json) as progress:
        report = write(
            opened,
            out,
            what=what.value,
            fmt=fmt,
            cases=options.read_list(cases),
            run=options.find_run(opened, run),
            progress=progress,
        )
    render.answer(
        {"written": [str(path) for path in report.written], "notes": report.notes},
        f"Wrote {len(report.written)} files to {out}.",
        *render.left_out(report.skipped),
        *(f"Note: {note}" for note in report.notes),
        as_json=json,
    )


def _preview(report: AddReport) -> dict[str, Any]:
    preview: dict[str, Any] = {
        "paths": _texts(report.paths),
        "masks": _texts(report.masks),
        "dry_run": True,
    }
    several = {
        name: {channel.name: str(channel.image) for channel in channels}
        for name, channels in report.channels.items()
        if len(channels) > 1
    }
    return preview | ({"channels": several} if several else {})


def _say_notes(report: AddReport) -> None:
    for note in (note for notes in report.notes.values() for note in notes):
        render.say(f"Note: {note}")


def _texts(paths: Mapping[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in sorted(paths.items())}


def _images(report: AddReport, name: str) -> str:
    """Image of a case, or all of its channels."""
    channels = report.channels[name]
    if len(channels) == 1:
        return str(channels[0].image)
    return "; ".join(f"{channel.name}: {channel.image.name}" for channel in channels)
