"""pull and push: scans from the hospital's archive, and masks back into it."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_semiseg.cli import options, render
from napari_semiseg.cli.data import MaskChoice
from napari_semiseg.cli.display import StopFlag, progress_bar, stoppable
from napari_semiseg.cli.errors import REFUSED
from napari_semiseg.core.cancellation import CancellationToken
from napari_semiseg.core.case import Split
from napari_semiseg.core.text import count
from napari_semiseg.errors import STOPPED

Url = Annotated[
    str,
    typer.Option("--dicomweb", metavar="URL", help="As https://HOST/dicom-web."),
]


def pull(
    project: options.ProjectPath,
    url: Url,
    study: Annotated[
        list[str] | None,
        typer.Option(metavar="UID", help="All scans of a study; repeat."),
    ] = None,
    series: Annotated[
        list[str] | None, typer.Option(metavar="UID", help="A series; repeat.")
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="An attribute to match, as StudyDate=20200101-20211231; repeat.",
        ),
    ] = None,
    split: Annotated[
        Split, typer.Option(help="What the images may be used for.")
    ] = Split.TRAIN,
    json: options.Json = False,
) -> None:
    """Fetch scans from a DICOMweb archive and add them; goes on where it ended."""
    from napari_semiseg.project.importing.pull import pull as fetch

    opened, stop = options.open_project(project), StopFlag()
    with stoppable(stop), progress_bar("Fetching", quiet=json) as progress:
        report = fetch(
            opened,
            url,
            studies=study or (),
            series=series or (),
            query=options.read_settings(query, "--query"),
            split=split,
            cancellation=CancellationToken(lambda: stop.requested),
            progress=progress,
        )
    render.answer(
        {
            "added": report.added,
            "skipped": report.skipped,
            "fetched": report.fetched,
            "present": report.present,
        },
        f"Fetched {count(report.fetched, 'object')}, {report.present} were here "
        f"already. Added {count(len(report.added), 'case')} ({split}).",
        *render.left_out(report.skipped),
        as_json=json,
    )
    if report.stopped:
        raise SystemExit(STOPPED)


def push(
    project: options.ProjectPath,
    url: Url,
    what: Annotated[
        MaskChoice, typer.Option(help="best: complete labels, else predictions.")
    ] = MaskChoice.BEST,
    cases: options.CaseList = None,
    case: options.CaseIds = None,
    run: options.RunId = None,
    json: options.Json = False,
) -> None:
    """Store masks in a DICOMweb archive, as DICOM SEG beside their images."""
    from napari_semiseg.project.exporting.push import push as store

    opened = options.open_project(project)
    with progress_bar("Storing", quiet=json) as progress:
        report = store(
            opened,
            url,
            what=what.value,
            cases=options.chosen_ids(cases, case) or None,
            run=options.find_run(opened, run),
            progress=progress,
        )
    render.answer(
        {"stored": report.stored, "skipped": report.skipped},
        f"Stored {count(len(report.stored), 'mask')} at {url}.",
        *render.left_out(report.skipped),
        as_json=json,
    )
    if not report.stored:
        raise SystemExit(REFUSED)
