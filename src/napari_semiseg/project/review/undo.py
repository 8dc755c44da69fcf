"""Undo acceptances, and bring kept masks back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.errors import Conflict, ProjectError
from napari_semiseg.project.cases.history import (
    HistoryEntry,
    LabelChange,
    Replaced,
    Undone,
    user_name,
)
from napari_semiseg.project.cases.versions import (
    DRAFT,
    forget_oldest,
    keep,
    kept,
    put,
)

if TYPE_CHECKING:
    from napari_semiseg.project.cases.case import Case, CaseRef
    from napari_semiseg.project.project import Project


def undo(
    project: Project,
    case: CaseRef,
    *,
    expected: HistoryEntry | None = None,
) -> HistoryEntry:
    """Undo the newest acceptance or reopening of a case that stands.

    Label and draft are as they were before it. Those of now are kept in ``previous``.

    Parameters
    ----------
    expected : HistoryEntry, optional
        What is to be undone; another change is refused.

    Returns
    -------
    HistoryEntry
        What was undone.

    Raises
    ------
    Conflict
        Somebody else has accepted or reopened the case since.
    ProjectError
        There is nothing to undo, or what was before is not kept any more. Nothing is
        changed then.
    """
    with project.changing(case) as now:
        changes = (
            e for e in reversed(now.record.standing) if isinstance(e, LabelChange)
        )
        last = next(changes, None)
        if last is None:
            raise ProjectError(
                f"case '{now.id}': expected an acceptance to undo, found none"
            )
        if expected is not None and last != expected:
            raise Conflict(
                f"case '{now.id}': expected your acceptance to be the last, found that "
                f"{last.by} has changed the label since; open it and look"
            )
        before, folder = _before(now, last.replaced), now.folder
        keep(folder, folder.label)
        if before[0] is None:
            folder.label.unlink(missing_ok=True)
        else:
            put(before[0], folder.label)
        if before[1] is not None:
            keep(folder, folder.draft)
            put(before[1], folder.draft)
        project.note(now, Undone(by=user_name(), minutes=last.minutes))
        forget_oldest(folder)
    return last


def restore(project: Project, case: CaseRef, version: str) -> None:
    """Make a kept mask the draft of its case, to look at and accept.

    Parameters
    ----------
    version : str
        A name out of `kept_masks`.

    Raises
    ------
    ProjectError
        There is no such mask. Nothing is changed then.
    """
    with project.changing(case) as now:
        names = kept_masks(now)
        if version not in names:
            raise ProjectError(
                f"case '{now.id}': expected one of its kept masks "
                f"({', '.join(names) or 'there are none'}), found {version!r}"
            )
        keep(now.folder, now.folder.draft)
        put(now.folder.previous / version, now.folder.draft)
        forget_oldest(now.folder)


def kept_masks(case: Case) -> list[str]:
    """Names of the kept labels and drafts of a case, the newest of each first."""
    found = [*kept(case.folder)[::-1], *kept(case.folder, DRAFT)[::-1]]
    return [path.name for path in found]


def _before(case: Case, replaced: Replaced | None) -> tuple[Path | None, Path | None]:
    """Kept label and draft that a change took away."""
    known = replaced is not None
    names = (replaced.label, replaced.draft) if replaced is not None else (None, None)
    label, draft = (None if n is None else case.folder.previous / n for n in names)
    for path in (label, draft):
        known &= path is None or path.exists()
    if not known:
        raise ProjectError(
            f"case '{case.id}': expected the masks before it among those kept, found "
            "they are not, or no longer; bring others back with semiseg restore, "
            "or take the label back with semiseg reopen"
        )
    return label, draft
