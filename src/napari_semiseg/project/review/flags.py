"""What a reviewer notes about a case, kept in its history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.core.case import FLAG, SKIP, UNFLAG
from napari_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project

LONGEST_COMMENT = 500


def flag(project: Project, case_id: str, comment: str = "") -> None:
    """Mark a case for a second look, with the reason in words.

    Parameters
    ----------
    comment : str
        One line; replaces that of an earlier flag.

    Raises
    ------
    ProjectError
        There is no such case.
    ConfigError
        The comment is too long.
    """
    text = " ".join(comment.split())
    if len(text) > LONGEST_COMMENT:
        raise ConfigError(
            f"expected a comment of at most {LONGEST_COMMENT} characters, found "
            f"{len(text)}; shorten it"
        )
    if project.case(case_id).record.flag != text:
        project.note(case_id, FLAG, details={"comment": text})


def unflag(project: Project, case_id: str) -> None:
    """Take the flag of a case away; its history keeps the comment."""
    if project.case(case_id).record.flag is not None:
        project.note(case_id, UNFLAG)


def skip(project: Project, case_id: str) -> None:
    """Put a case off: it goes to the end of the queue.

    It comes back with the next prediction of it, or when a label is accepted.
    """
    case = project.case(case_id)
    if not is_put_off(project, case):
        project.note(case_id, SKIP, details={"shown": _shown(project, case)})


def is_put_off(project: Project, case: Case) -> bool:
    """Whether a case was skipped since its newest prediction."""
    known = case.record.put_off
    return known is not None and known == _shown(project, case)


def _shown(project: Project, case: Case) -> str:
    """Name the newest prediction of a case: run and step, or nothing."""
    run = project.prediction_run(case.id)
    return "" if run is None else f"{run.id}:{run.prediction_record(case.id).step}"
