"""Fetch series from an archive into the project's folder, and add them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.core.cancellation import NEVER, CancellationToken, Cancelled
from napari_semiseg.core.case import Split
from napari_semiseg.errors import ConfigError, ImageError, ProjectError
from napari_semiseg.io.dicom.web import NOT_IMAGES, Archive

if TYPE_CHECKING:
    from napari_semiseg.io.dicom.web import RemoteSeries
    from napari_semiseg.project.project import Project

FOLDER = "dicom"
"""Where series lie in a project's folder."""
ENDING = ".dcm"


@dataclass(frozen=True, slots=True)
class PullReport:
    """What came of it.

    Attributes
    ----------
    added : list of str
        Ids of new cases.
    skipped : dict of str to str
        Why a series became none, by the name of its folder.
    fetched, present : int
        Objects that were fetched, and that were there already.
    stopped : bool
        Whether it was asked to end before all was there.
    """

    added: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    fetched: int = 0
    present: int = 0
    stopped: bool = False


def pull(
    project: Project,
    url: str,
    *,
    studies: Sequence[str] = (),
    series: Sequence[str] = (),
    query: Mapping[str, str] | None = None,
    split: Split = Split.TRAIN,
    cancellation: CancellationToken = NEVER,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PullReport:
    """Fetch scans from a DICOMweb archive, and add each series as a case.

    What is there already is not fetched again, so that an interrupted pull goes on
    where it was. Folders are named by a hash of the study and the number of the
    series: nothing that names a patient gets into an id.

    Parameters
    ----------
    url : str
        Of the archive; see `io.dicom.web.Archive` for who is let in.
    studies, series : sequence of str
        UIDs. Of a study all series are taken that hold images.
    query : mapping of str to str, optional
        Attributes to match, as ``{"StudyDate": "2020-2021", "Modality": "MR"}``.
    split : Split
        What the cases may be used for.
    cancellation : CancellationToken
        Looked at before each object.
    progress : callable
        Called with the number of objects done, and of all of them.

    Raises
    ------
    SemisegError
        The archive does not answer, or there is nothing that matches. What was
        fetched before stays.
    """
    archive = Archive(url)
    chosen = _find(archive, studies, series, query or {})
    root, waiting = project.folder / FOLDER, []
    total = present = fetched = 0
    folders: dict[Path, RemoteSeries] = {}
    for one in chosen:
        folder = root / _name(one)
        folders[folder] = one
        for instance in archive.instances(one):
            total += 1
            target = folder / f"{instance}{ENDING}"
            if target.exists():
                present += 1
            else:
                waiting.append((one, instance, target))
    stopped = False
    try:
        for one, instance, target in waiting:
            progress(present + fetched, total)
            cancellation.check()
            archive.fetch(one, instance, target)
            fetched += 1
    except Cancelled:
        stopped = True
    progress(present + fetched, total)
    left = {target.parent for _, _, target in waiting[fetched:]}
    report = PullReport(fetched=fetched, present=present, stopped=stopped)
    for folder in folders:
        if folder in left:
            report.skipped[folder.name] = "not all of it was fetched; pull once more"
            continue
        try:
            found = project.add(folder, split=split)
        except ImageError as error:  # a localiser, as most studies have one
            report.skipped[folder.name] = str(error).removeprefix(f"{folder}: ")
            continue
        report.added.extend(found.added)
        for why in found.skipped.values():
            report.skipped[folder.name] = why
    return report


def _find(
    archive: Archive,
    studies: Sequence[str],
    series: Sequence[str],
    query: Mapping[str, str],
) -> list[RemoteSeries]:
    """Series that were named, and those with images that match; each once."""
    if not (studies or series or query):
        raise ConfigError("expected --study, --series or --query, found none; give one")
    found: dict[str, RemoteSeries] = {}
    for uid in series:
        named = archive.find_series({**query, "SeriesInstanceUID": uid})
        found.update({one.uid: one for one in named})
    filters = [{**query, "StudyInstanceUID": uid} for uid in studies]
    if not (studies or series):
        filters = [dict(query)]
    for criteria in filters:
        matching = archive.find_series(criteria)
        found.update({o.uid: o for o in matching if o.modality not in NOT_IMAGES})
    if not found:
        raise ProjectError(
            f"{archive.url}: expected series of images that match, found none; check "
            f"the UIDs or the query"
        )
    return list(found.values())


def _name(series: RemoteSeries) -> str:
    """Name of a folder: a hash of the study, the number, and a hash of the series."""
    study, own = (
        hashlib.sha256(uid.encode()).hexdigest() for uid in (series.study, series.uid)
    )
    number = series.number if series.number.isdecimal() else "0"
    return f"{study[:8]}-{int(number):03d}-{own[:4]}"
