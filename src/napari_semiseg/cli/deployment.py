"""export-model, run-model, bundle and log: what leaves, and what runs it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_semiseg.cli import options, render
from napari_semiseg.cli.display import progress_bar
from napari_semiseg.core.text import count
from napari_semiseg.deployment.tracking import TRACKERS


def export_model(
    project: options.ProjectPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    run: options.RunId = None,
    layout: Annotated[
        str,
        typer.Option(metavar="plain|monai", help="monai: the layout of its bundles."),
    ] = "plain",
    licence: Annotated[
        str, typer.Option(metavar="TEXT", help="Terms of the model, for its card.")
    ] = "",
    json: options.Json = False,
) -> None:
    """Write a run's model as ONNX, with its pipeline and a card."""
    from napari_semiseg.deployment.export import export_model as write

    opened = options.open_project(project)
    report = write(
        opened,
        out,
        run=options.find_run(opened, run),
        layout=layout,  # type: ignore[arg-type]
        licence=licence,
    )
    render.answer(
        {
            "run": report.run,
            "written": [str(path) for path in report.written],
            "difference": report.difference,
        },
        f"Wrote the model of {report.run} to {out}.",
        f"Probabilities differ from PyTorch's by {report.difference:.1g} at most.",
        f"Run it: semiseg run-model {out} IMAGE --out MASKS",
        as_json=json,
    )


def run_model(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Folder of an exported model.")
    ],
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE…",
            help="Images or DICOM folders; all channels of a case one after the other.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the masks.")
    ] = Path("masks"),
    json: options.Json = False,
) -> None:
    """Segment images with an exported model; needs no PyTorch and no project."""
    from napari_semiseg.deployment.runner import run_model as segment

    with progress_bar("Segmenting", quiet=json) as progress:
        found = segment(model, images, out, progress=progress)
    render.answer(
        {
            "masks": {name: str(one.mask) for name, one in found.items()},
            "volumes_ml": {name: one.volumes_ml for name, one in found.items()},
        },
        f"Wrote {count(len(found), 'mask')} to {out}.",
        as_json=json,
    )


def bundle(
    project: options.ProjectPath,
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The archive.")],
    images: Annotated[
        bool, typer.Option("--with-images", help="Their headers may name patients.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Put a study into one archive: labels, minutes, trainings, hashes of images."""
    from napari_semiseg.deployment.bundle import bundle as pack

    report = pack(options.open_project(project), out, images=images)
    render.answer(
        {"files": report.files, "size": report.size, "sha256": report.sha256},
        f"Wrote {count(report.files, 'file')} to {out} ({report.size / 1e6:.1f} MB).",
        f"SHA-256 {report.sha256}",
        as_json=json,
    )


def log(
    project: options.ProjectPath,
    to: Annotated[
        str, typer.Option(metavar="NAME", help=f"{', '.join(TRACKERS)}.")
    ] = "tensorboard",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="By default in the project."),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN", help="Id of a training; repeat. All by default."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Write losses and scores of trainings for a tracker of experiments."""
    from napari_semiseg.deployment.tracking import log_runs

    opened = options.open_project(project)
    runs = [opened.run(name) for name in run or ()]
    written = log_runs(opened, out, to=to, runs=runs)
    where = opened.folder / to if out is None else out
    render.answer(
        {"runs": written, "folder": str(where)},
        f"Wrote {count(len(written), 'training')}; see them with: "
        f"{TRACKERS[to].shown_by.format(where.resolve())}",
        as_json=json,
    )
