"""Write masks on the grid of their images, with volumes and provenance."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.case import CaseState
from napari_semiseg.core.labels import LabelScheme, voxel_counts
from napari_semiseg.core.text import with_version
from napari_semiseg.errors import ConfigError, ImageError, ProjectError
from napari_semiseg.io.atomic import read_json, write_json, write_text
from napari_semiseg.io.images import file_sha256
from napari_semiseg.io.masks import read_labels
from napari_semiseg.io.surface import surface_mm2
from napari_semiseg.project.cases.history import Accepted, Labelled
from napari_semiseg.project.exporting.formats import (
    LAYOUTS,
    ending,
    export_formats,
    write_case,
)
from napari_semiseg.project.project import ExportReport, Project

if TYPE_CHECKING:
    from napari_semiseg.project.cases.case import Case, CaseRef
    from napari_semiseg.project.runs.run import Run

What = Literal["best", "labels", "predictions"]
MANIFEST, UNFINISHED = "manifest.json", "unfinished.json"
"""Of an export that has ended, and of one that has not."""


@dataclass(frozen=True, slots=True, eq=False)
class ExportedMask:
    """Where the mask of a case comes from: a person, or the run of a model."""

    case: Case
    mask: Path
    run: Run | None

    def read(self) -> NDArray[np.uint8]:
        """Voxel values (Z, Y, X)."""
        return read_labels(self.mask, self.case.geometry)

    def describe(self) -> dict[str, Any]:
        """Provenance for the manifest."""
        case = self.case
        history = case.record.standing
        facts: dict[str, Any] = {
            "case": case.id,
            "image": str(case.image),
            "image_sha256": case.record.sha256,
            "state": str(case.state),
            "split": str(case.split),
            "human_edits": sum(isinstance(entry, Labelled) for entry in history),
            "minutes": sum(entry.minutes or 0.0 for entry in history),
            "accepted": None,
        }
        if len(case.channels) > 1:
            facts["channels"] = [
                {"name": one.name, "image": str(one.image), "sha256": record.sha256}
                for one, record in zip(case.channels, case.record.channels, strict=True)
            ]
        if self.run is not None:
            record = self.run.prediction_record(case.id)
            return facts | {
                "source": "model",
                "run": self.run.id,
                "method": record.method,
                "step": record.step,
                "uncertainty": record.score.uncertainty,
            }
        last = case.record.last(Labelled, Accepted)
        facts |= {
            "source": "human",
            "accepted": case.acceptance,
            "by": "unknown" if last is None else last.by,
            "at": None if last is None else last.at,
            "annotated_fraction": case.annotated_fraction,
        }
        if isinstance(last, Accepted):
            facts |= {
                "source": "model",
                "run": last.run,
                "method": last.method,
                "step": last.step,
                "uncertainty": last.uncertainty,
            }
        return facts


def export(
    project: Project,
    out: str | Path,
    *,
    what: What = "best",
    fmt: str = "nifti",
    cases: Collection[CaseRef] | None = None,
    run: Run | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ExportReport:
    """Write masks, ``volumes.csv`` and ``manifest.json`` to a folder.

    A case is written whole or left out with a reason. The manifest is written last: a
    folder without one holds an export that did not end.

    Parameters
    ----------
    out : Path
        Folder to write to; is made where it is absent. One with files of this kind
        is refused, unless they are of an earlier export in this format.
    what : {"best", "labels", "predictions"}
        "best" is the human label where it is complete, else the newest prediction.
    fmt : str
        One of `formats.export_formats`. "nnunet" is a raw data set of nnU-Net with
        copies of the images, "bids" a derivative data set of BIDS without them;
        "dicom-seg" is for cases whose image is DICOM. Surfaces are one file a class.
    cases : collection of Case or str, optional
        By default all but the excluded ones.
    run : Run, optional
        Whose predictions to take; by default the newest of each case.
    progress : callable
        Called with the number of cases done, and of all of them.

    Raises
    ------
    ConfigError
        The format is not available.
    ProjectError
        There is nothing that can be exported, or the folder cannot be written.
    """
    known = export_formats()
    if fmt not in known:
        raise ConfigError(
            f"expected a format out of {', '.join(known)}, found {fmt!r}, which is "
            "not available in this version; choose one of these"
        )
    if what not in get_args(What):
        raise ConfigError(
            f"expected one of {', '.join(get_args(What))}, found {what!r}"
        )
    target = Path(out)
    chosen = _chosen(project, cases)
    _check_target(project, target, fmt, chosen)
    manifest, unfinished = target / MANIFEST, target / UNFINISHED
    report = ExportReport()
    newest = {} if run else project.prediction_runs()
    sources = []
    for case in chosen:
        found = _source(case, what, run or newest.get(case.id))
        if isinstance(found, str):
            report.skipped[case.id] = found
        else:
            sources.append(found)
    rows: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    for done, source in enumerate(sources, start=1):
        case = source.case
        try:
            labels, described = _checked(source, project.labels)
            if not unfinished.exists():
                write_json(unfinished, {"format": fmt})
            manifest.unlink(missing_ok=True)  # it describes other masks
            paths = write_case(fmt, project, case, labels, source.run, target)
        except ImageError as error:
            report.skipped[case.id] = str(error)
            continue
        report.written.extend(paths)
        files += [_file(path, target) | described for path in paths]
        rows += _volumes(project, case, labels, described)
        progress(done, len(sources))
    if not files:
        unfinished.unlink(missing_ok=True)
        last = next(reversed(report.skipped.items()), None)
        reason = f" ({last[0]}: {last[1]})" if last else ""
        raise ProjectError(
            f"expected masks to export ({what}), found none{reason}; label or predict "
            "cases first"
        )
    if fmt in LAYOUTS:
        report.written.extend(LAYOUTS[fmt].write_dataset(project, target))
        report.notes.extend(filter(None, [LAYOUTS[fmt].NOTE]))
    report.written.append(_write_volumes(target / "volumes.csv", rows))
    write_json(manifest, _manifest(project, what, fmt, files, report.skipped))
    report.written.append(manifest)
    unfinished.unlink(missing_ok=True)
    return report


def _checked(
    source: ExportedMask, scheme: LabelScheme
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Voxels (Z, Y, X) of a mask, and its provenance; all errors are `ImageError`."""
    source.case.check_images()
    try:
        labels, described = source.read(), source.describe()
    except ProjectError as error:
        raise ImageError(str(error)) from error
    scheme.check(labels, str(source.mask))
    return labels, described


def _file(path: Path, target: Path) -> dict[str, Any]:
    name = path.relative_to(target).as_posix()
    return {"file": name, "sha256": file_sha256(path)}


def _check_target(
    project: Project, target: Path, fmt: str, cases: Collection[Case]
) -> None:
    """Refuse a folder in which masks would replace what no export has written."""
    if target.exists() and not target.is_dir():
        raise ProjectError(f"{target}: expected a folder, found a file; choose another")
    inner = (project.layout.cases, project.layout.runs)
    resolved = target.resolve()
    if any(resolved == part or part in resolved.parents for part in inner):
        raise ProjectError(
            f"{target}: expected a folder outside the project's own ones, found one "
            "inside; choose another"
        )
    known = _is_export(target / MANIFEST, fmt) or _is_export(target / UNFINISHED, fmt)
    images = {one.image.resolve() for case in cases for one in case.channels}
    inside = target.glob("*/**/*" if fmt in LAYOUTS else "*")
    for path in inside:
        alike = path.name.lower().endswith(ending(fmt))
        if alike and (not known or path.resolve() in images):
            raise ProjectError(
                f"{target}: expected a new folder, or that of an earlier export as "
                f"{fmt}, found {path.name}, which a mask might replace; choose another"
            )


def _is_export(path: Path, fmt: str) -> bool:
    """Whether a file describes an export in a format."""
    try:
        values = read_json(path)
    except ProjectError:
        return False
    return isinstance(values, dict) and values.get("format") == fmt


def _chosen(project: Project, cases: Collection[CaseRef] | None) -> list[Case]:
    if cases is not None:
        return [project.case(name) for name in cases]
    return [case for case in project.cases() if case.state is not CaseState.EXCLUDED]


def _source(case: Case, what: What, holder: Run | None) -> ExportedMask | str:
    """Mask to export, or why there is none."""
    complete = case.has_label and case.annotated_fraction == 1
    if what == "labels":
        return (
            ExportedMask(case, case.folder.label, None)
            if case.has_label
            else "no label"
        )
    if what == "best" and complete:
        return ExportedMask(case, case.folder.label, None)
    if holder is None or not holder.has_prediction(case.id):
        lacking = "" if what == "predictions" else "no complete label and "
        return f"{lacking}no prediction"
    return ExportedMask(case, holder.folder.prediction(case.id).labels, holder)


def _volumes(
    project: Project, case: Case, labels: NDArray[np.uint8], facts: dict[str, Any]
) -> list[dict[str, Any]]:
    counts = voxel_counts(labels)
    surfaces = surface_mm2(labels, case.geometry)
    return [
        {
            "case": case.id,
            "value": item.value,
            "label": item.name,
            "voxels": int(counts[item.value]),
            "volume_ml": f"{counts[item.value] * case.geometry.voxel_ml:.6g}",
            "surface_mm2": f"{surfaces.get(item.value, 0.0):.2f}",
            "source": facts.get("run", "human"),
            "accepted": facts["accepted"] or "no",
        }
        for item in project.labels
    ]


def _write_volumes(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    write_text(path, text.getvalue())
    return path


def _cell(value: Any) -> Any:
    """Quote a text that a spreadsheet would take for a formula."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t"))
    return f"'{value}" if formula else value


def _manifest(
    project: Project,
    what: str,
    fmt: str,
    files: list[dict[str, Any]],
    skipped: dict[str, str],
) -> dict[str, Any]:
    return {
        "project": project.name,
        "written_by": with_version("napari-semiseg"),
        "at": time.time(),
        "what": what,
        "format": fmt,
        "labels": [item.model_dump() for item in project.labels],
        "files": files,
        "skipped": skipped,
    }
