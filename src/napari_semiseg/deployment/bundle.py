"""Put a study into one archive that can be cited, and that goes on elsewhere."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_semiseg.core.text import with_version
from napari_semiseg.errors import ProjectError
from napari_semiseg.imaging.rendering import curves, page
from napari_semiseg.io.atomic import LOCK, TEMPORARY, atomic_path
from napari_semiseg.io.images import files_of
from napari_semiseg.project.review.corrections import corrections, effort
from napari_semiseg.project.runs.curves import loss_curves, validation_curves

if TYPE_CHECKING:
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project

WITHOUT = frozenset(
    {LOCK, "pid", "stop", "wanted.json"}
    | {"sdm.nii.gz", "uncertainty.nii.gz", "feature_maps.npz"}
)
"""Files that belong to this computer, or that ``semiseg predict`` makes again."""
PACKED = (".gz", ".npz", ".pt", ".png", ".zip")
"""Endings of what does not get smaller."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of every file, so that the same study is the same archive."""

README = """\
# {name}

A study made with {version}: {cases} cases, {runs} trainings.

- `project/`: the project. Every version of every label, who made it and how many
  minutes that took; settings, plan, environment, event log and model of each training,
  and its masks.
- `cases.csv`: split, state, minutes, seen or unseen, corrective Dice of each case.
- `figures.html`: how much people had to correct, and the curves of each training.
- `manifest.json`: SHA-256 of every file, and of every image.
- {images}

To go on: `pip install 'napari-semiseg[engine]'`, unpack, then

    semiseg doctor project --images IMAGES --mend
    semiseg status project

where IMAGES is the folder of the images ({where}): they are found by name and checked
by their hash. `runs/*/environment.json` says with which versions it was made.
"""


@dataclass(frozen=True, slots=True)
class BundleReport:
    """Number of files in the archive, its size in bytes, and its SHA-256."""

    files: int
    size: int
    sha256: str


def bundle(project: Project, out: str | Path, *, images: bool = False) -> BundleReport:
    """Write a project as one ZIP archive, the same byte for byte each time.

    Parameters
    ----------
    out : Path
        The archive; is replaced when it is there.
    images : bool
        Whether the images go along. Their headers may name patients.

    Raises
    ------
    SemisegError
        An image that shall go along is missing or was changed, or the archive cannot
        be written.
    """
    target = Path(out)
    if target.suffix.lower() != ".zip":
        raise ProjectError(f"{target}: expected a name that ends in .zip")
    cases = project.cases()
    texts = {
        "cases.csv": _table(cases),
        "figures.html": _figures(project, cases),
        "README.md": _readme(project, cases, images),
    }
    sums: dict[str, str] = {}
    with (
        atomic_path(target) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, path in _files(project):
            sums[name] = _add(archive, name, path)
        if images:
            for case in cases:
                case.check_images()
                for name, path in _images(case):
                    sums[name] = _add(archive, name, path)
        for name, text in texts.items():
            sums[name] = hashlib.sha256(text.encode()).hexdigest()
            archive.writestr(_entry(name), text)
        archive.writestr(_entry("manifest.json"), _manifest(cases, sums, images))
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return BundleReport(len(sums) + 1, target.stat().st_size, digest)


def _files(project: Project) -> Iterator[tuple[str, Path]]:
    """Files of the project that make it up, by their names in the archive."""
    layout = project.layout
    layout.check()
    yield "project/project.toml", layout.project_file
    for root in (layout.cases, layout.runs):
        for folder, inner, names in os.walk(root):
            inner.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if name in WITHOUT or name.startswith(TEMPORARY) or path.is_symlink():
                    continue
                inside = path.relative_to(project.folder).as_posix()
                yield f"project/{inside}", path


def _images(case: Case) -> Iterator[tuple[str, Path]]:
    seen = set()
    for channel in case.channels:
        for path in files_of(channel.image):
            inside = path.relative_to(channel.image.parent).as_posix()
            name = f"images/{case.id}/{inside}"
            if name not in seen:  # channels may be volumes of one file
                seen.add(name)
                yield name, path


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> str:
    """Add a file; returns its SHA-256."""
    digest = hashlib.sha256()
    entry = _entry(name)
    with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as into:
        while block := source.read(1 << 20):
            digest.update(block)
            into.write(block)
    return digest.hexdigest()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    packed = name.endswith(PACKED)
    entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _table(cases: Iterable[Case]) -> str:
    rows = []
    for case in cases:
        spent = effort(case.record)
        rows.append(
            {
                "case": case.id,
                "split": case.split,
                "state": case.state,
                "annotated_fraction": case.annotated_fraction,
                "accepted": case.acceptance or "",
                "minutes": "" if spent.minutes is None else round(spent.minutes, 2),
                "corrective_dice": "" if spent.dice is None else spent.dice,
                "people": "; ".join(sorted({e.by for e in case.record.standing})),
            }
        )
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def _figures(project: Project, cases: Iterable[Case]) -> str:
    """Page with curves of what people corrected, and of all trainings."""
    done, minutes = [], 0.0
    for item in corrections(cases):
        minutes += item.minutes or 0.0
        if item.dice is not None:
            done.append((minutes, 1 - item.dice))
    parts = [f"<h1>{html.escape(project.name)}</h1>"]
    if done:
        parts += [
            "<h2>Corrections</h2>",
            '<p class="soft">1 - Dice of the predictions that people went through, '
            "over the minutes that they spent.</p>",
            curves({"prediction against accepted label": done}, across="min"),
        ]
    for run in project.runs():
        if run.is_training:
            parts += [
                f"<h2>{html.escape(run.id)}</h2>",
                f'<p class="soft">{html.escape(run.config.method)}: weighted terms of '
                "the loss; below, 1 - Dice of the validation cases.</p>",
                loss_curves(run),
                validation_curves(run),
            ]
    return page(project.name, "".join(parts))


def _readme(project: Project, cases: list[Case], images: bool) -> str:
    return README.format(
        name=project.name,
        version=with_version("napari-semiseg"),
        cases=len(cases),
        runs=sum(run.is_training for run in project.runs()),
        images="`images/`: a folder for each case."
        if images
        else "The images are not here: `manifest.json` has their names and hashes.",
        where="`images`" if images else "which you have from elsewhere",
    )


def _manifest(cases: Iterable[Case], sums: Mapping[str, str], images: bool) -> str:
    described: list[dict[str, Any]] = [
        {
            "case": case.id,
            "channel": channel.name,
            "name": channel.image.name,
            "sha256": record.sha256,
        }
        for case in cases
        for channel, record in zip(case.channels, case.record.channels, strict=True)
    ]
    content = {
        "written_by": with_version("napari-semiseg"),
        "images_included": images,
        "images": described,
        "files": dict(sorted(sums.items())),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
