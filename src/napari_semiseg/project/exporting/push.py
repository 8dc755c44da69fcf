"""Store masks in an archive, as DICOM segmentations of the series they are of."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.io.dicom.web import Archive
from napari_semiseg.project.exporting.export import export

if TYPE_CHECKING:
    from napari_semiseg.project.cases.case import CaseRef
    from napari_semiseg.project.exporting.export import What
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

FORMAT = "dicom-seg"


@dataclass(frozen=True, slots=True)
class PushReport:
    """Instance UID of what was stored by case, and why others were not."""

    stored: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def push(
    project: Project,
    url: str,
    *,
    what: What = "best",
    cases: Collection[CaseRef] | None = None,
    run: Run | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PushReport:
    """Store masks in a DICOMweb archive, in the studies of their images.

    Parameters
    ----------
    url : str
        Of the archive; see `io.dicom.web.Archive` for who is let in.
    what, cases, run
        As of `export`. Cases whose image is not DICOM are left out.
    progress : callable
        Called with the number done, and of all of them.

    Raises
    ------
    SemisegError
        There is nothing to store, or the archive does not take it; what was stored
        before stays there.
    """
    archive = Archive(url)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = export(project, folder, what=what, fmt=FORMAT, cases=cases, run=run)
        report = PushReport(skipped=made.skipped)
        masks = [path for path in made.written if path.suffix == ".dcm"]
        for done, path in enumerate(masks, start=1):
            (report.stored[_case(path)],) = archive.store([path])
            progress(done, len(masks))
    return report


def _case(mask: Path) -> str:
    return mask.name.removesuffix(".dcm")
