"""Keep the masks that newer ones take the place of, and put them back."""

from __future__ import annotations

import filecmp
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from napari_semiseg.io.atomic import atomic_path
from napari_semiseg.io.images import file_sha256

if TYPE_CHECKING:
    from napari_semiseg.project.layout import CaseFolder

KEPT = 5
"""How many labels and how many drafts of a case are kept."""

DRAFT = "draft_"
"""How the names of kept drafts begin; those of labels begin with the time."""

_STAMP = "%Y%m%dT%H%M%S_%fZ.nii.gz"


@dataclass(frozen=True, slots=True)
class MaskVersions:
    """SHA-256 of the label and of the draft of a case; None where there is none.

    Passed when a mask is written, which is refused if another program has changed it.
    """

    label: str | None
    draft: str | None

    @classmethod
    def of(cls, folder: CaseFolder) -> Self:
        """Look at the files of a case."""
        return cls(_sha256(folder.label), _sha256(folder.draft))


def keep(folder: CaseFolder, path: Path) -> str | None:
    """Copy the label or the draft to ``previous``, and give the name of the copy.

    Nothing is copied where the newest copy is the same; None where there is no file.
    The copy has the time of the original, by which records know a label.
    """
    if not path.exists():
        return None
    prefix = DRAFT if path == folder.draft else ""
    known = kept(folder, prefix)
    if known and filecmp.cmp(known[-1], path, shallow=False):
        return known[-1].name
    name = new_name(folder, prefix)
    put(path, folder.previous / name)
    return name


def put(source: Path, target: Path) -> None:
    """Copy a mask, atomically."""
    with atomic_path(target) as copy:
        shutil.copy2(source, copy)


def kept(folder: CaseFolder, prefix: str = "") -> list[Path]:
    """Kept labels, or with `DRAFT` kept drafts, oldest first."""
    return sorted(folder.previous.glob(f"{prefix}[0-9]*.nii.gz"))


def forget_oldest(folder: CaseFolder) -> None:
    """Remove all but the newest kept masks; last, once the new one is there."""
    for prefix in ("", DRAFT):
        for old in kept(folder, prefix)[:-KEPT]:
            old.unlink(missing_ok=True)


def new_name(folder: CaseFolder, prefix: str = "") -> str:
    """Name of a copy that is sorted behind the others, even if the clock went back."""
    name, known = datetime.now(UTC).strftime(_STAMP), kept(folder, prefix)
    newest = known[-1].name.removeprefix(prefix) if known else ""
    if name <= newest:
        last = kept_at(newest)
        if last is not None:
            name = (last + timedelta(microseconds=1)).strftime(_STAMP)
    return f"{prefix}{name}"


def kept_at(name: str) -> datetime | None:
    """When a mask was kept, by its name; None where the name has no such time."""
    try:
        return datetime.strptime(name.removeprefix(DRAFT), _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def _sha256(path: Path) -> str | None:
    return file_sha256(path) if path.exists() else None
