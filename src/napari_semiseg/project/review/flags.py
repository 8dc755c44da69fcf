"""Flag cases for a second look, and put cases off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.errors import ConfigError
from napari_semiseg.project.cases.history import Flagged, Skipped, Unflagged

if TYPE_CHECKING:
    from napari_semiseg.core.prediction import PredictionRecord
    from napari_semiseg.project.cases.case import Case, CaseRef
    from napari_semiseg.project.project import Project

MAX_COMMENT = 500


def flag(project: Project, case: CaseRef, comment: str = "") -> None:
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
    if len(text) > MAX_COMMENT:
        raise ConfigError(
            f"expected a comment of at most {MAX_COMMENT} characters, found "
            f"{len(text)}; shorten it"
        )
    with project.changing(case) as now:
        if now.record.flag != text:
            project.note(now, Flagged(comment=text))


def unflag(project: Project, case: CaseRef) -> None:
    """Take the flag of a case away; its history keeps the comment."""
    with project.changing(case) as now:
        if now.record.flag is not None:
            project.note(now, Unflagged())


def skip(project: Project, case: CaseRef) -> None:
    """Put a case off: it goes to the end of the queue.

    It comes back with the next prediction of it, or when a label is accepted.
    """
    with project.changing(case) as now:
        run = project.prediction_run(now)
        prediction = None if run is None else run.prediction_record(now)
        if not is_put_off(now, prediction):
            project.note(now, Skipped(shown=_shown(prediction)))


def is_put_off(case: Case, prediction: PredictionRecord | None) -> bool:
    """Whether a case was skipped since its newest prediction, which is given."""
    skipped = case.record.skipped_prediction
    return skipped is not None and skipped == _shown(prediction)


def _shown(prediction: PredictionRecord | None) -> str:
    """Run and step of a prediction; empty without one."""
    return "" if prediction is None else f"{prediction.run}:{prediction.step}"
