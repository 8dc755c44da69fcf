"""Accept predictions as they are, and take labels back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.core.case import CaseState
from napari_semiseg.errors import ImageError
from napari_semiseg.project.cases.case import Case, CaseRef, id_of
from napari_semiseg.project.cases.history import (
    Accepted,
    Reopened,
    Replaced,
    user_name,
)
from napari_semiseg.project.cases.labels import check_mask, replace_label
from napari_semiseg.project.cases.versions import forget_oldest, keep
from napari_semiseg.project.review.corrections import (
    corrections,
    viewed_fraction,
    was_viewed,
)
from napari_semiseg.project.review.quality_estimate import Estimate, Estimator
from napari_semiseg.project.runs.comparison import describe_prediction

if TYPE_CHECKING:
    from napari_semiseg.core.prediction import PredictionRecord
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run


@dataclass(frozen=True, slots=True)
class AcceptReport:
    """Ids that were accepted, which of them unseen, and why others were not."""

    accepted: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReopenReport:
    """Ids that were reopened, and why others were not."""

    reopened: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ReviewItem:
    """A case with a prediction that may be accepted, or that was.

    Attributes
    ----------
    mask : Path
        The label where there is one, else the newest prediction.
    record : PredictionRecord or None
        Of the newest prediction.
    estimate : Estimate or None
        Probable Dice of that prediction; None where it is not known.
    words : str
        The same in words, or why it is not known.
    seen : bool
        Whether a person had the prediction open, or drew the label.
    """

    case: Case
    mask: Path
    record: PredictionRecord | None
    estimate: Estimate | None
    words: str
    seen: bool

    @property
    def accepted(self) -> bool:
        """Whether there is a label."""
        return self.case.has_label

    @property
    def doubt(self) -> float:
        """Priority for a look at it.

        1 less the estimated Dice; above 1 where that is not known, by uncertainty;
        an empty prediction is the worst of all.
        """
        if self.estimate is not None:
            return 1 - self.estimate.dice
        if self.record is None or not any(self.record.score.volumes_ml.values()):
            return 3.0
        return 1 + self.record.score.uncertainty


def review_items(project: Project) -> list[ReviewItem]:
    """Cases that wait with a prediction, and all that were accepted, by id.

    Cases with edits that are not accepted, and excluded ones, are left out.
    """
    cases = project.cases()
    estimator = Estimator(corrections(cases))
    runs = project.prediction_runs()
    found = []
    for case in cases:
        holder = runs.get(case.id)
        if case.state is CaseState.EXCLUDED or not (
            case.has_label or _why_not(case, holder) is None
        ):
            continue
        record = None if holder is None else holder.prediction_record(case.id)
        seen = not case.accepted_unseen
        mask, words, estimate = case.folder.label, "", None
        if not case.has_label and record is not None and holder is not None:
            seen = was_viewed(case.record, record)
            mask = holder.folder.prediction(case.id).labels
            words, estimate = estimator.words(record), estimator.estimate(record)
        found.append(ReviewItem(case, mask, record, estimate, words, seen))
    return found


def accept(
    project: Project,
    cases: Iterable[CaseRef],
    *,
    run: Run | None = None,
    seen: bool = False,
    by: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AcceptReport:
    """Make predictions the labels of their cases, as they are.

    A prediction that was not open in the viewer is marked "accepted unseen", in the
    history and in exports. Training does not learn from such a label.

    Parameters
    ----------
    cases : iterable of Case or str
        Cases, or their ids.
    run : Run, optional
        Whose predictions; by default the newest of each case.
    seen : bool
        A person has looked at all of them in another program.
    by : str, optional
        Who; the user of this computer by default.
    progress : callable
        Called with the number of cases done, and of all of them.

    Returns
    -------
    AcceptReport
        Cases with a label, with edits that are not accepted, without a prediction or
        excluded are skipped, and those whose image has changed or whose prediction
        cannot be the label.

    Raises
    ------
    ProjectError
        An id is no case. Nothing is changed then.
    """
    chosen = [project.case(name).id for name in dict.fromkeys(map(id_of, cases))]
    report = AcceptReport()
    for done, name in enumerate(chosen, start=1):
        with project.changing(name) as case:
            holder = run or project.prediction_run(case.id)
            reason = _why_not(case, holder)
            if reason is not None or holder is None:
                report.skipped[case.id] = reason or ""
            else:
                try:
                    case.check_images()
                    if not _accept(project, case, holder, seen=seen, by=by):
                        report.unseen.append(case.id)
                    report.accepted.append(case.id)
                except ImageError as error:
                    report.skipped[case.id] = str(error)
        progress(done, len(chosen))
    return report


def reopen(
    project: Project, cases: Iterable[CaseRef], *, by: str | None = None
) -> ReopenReport:
    """Take labels back: the cases are without a label again.

    The label goes to the case's ``previous`` folder and the history stays, so nothing
    is lost. Edits that are not accepted stay too.

    Parameters
    ----------
    cases : iterable of Case or str
        Cases, or their ids.
    by : str, optional
        Who; the user of this computer by default.

    Raises
    ------
    ProjectError
        An id is no case. Nothing is changed then.
    """
    report = ReopenReport()
    for name in [project.case(name).id for name in dict.fromkeys(map(id_of, cases))]:
        with project.changing(name) as case:
            if not case.has_label:
                report.skipped[case.id] = "it has no label"
                continue
            replaced = Replaced(label=keep(case.folder, case.folder.label))
            case.folder.label.unlink()
            project.note(case, Reopened(by=by or user_name(), replaced=replaced))
            forget_oldest(case.folder)
            report.reopened.append(case.id)
    return report


def _accept(
    project: Project, case: Case, run: Run, *, seen: bool, by: str | None
) -> bool:
    """Accept one prediction; gives whether a person had seen it.

    The history has the entry before the label is there: whatever interrupts this, no
    prediction ever passes for a mask that a person drew.
    """
    record, labels = run.read_mask(case, case.geometry)
    labels = check_mask(labels, case, project.labels)
    viewed = was_viewed(case.record, record)
    compared = describe_prediction(record).model_copy(update={"changed_voxels": 0})
    part = None if seen else viewed_fraction(case.record, record)
    if viewed:  # else nothing is known of how good the prediction is
        by_class = {item.name: 1.0 for item in project.labels}
        right = {"corrective_dice": 1.0, "corrective_dice_by_class": by_class}
        compared = compared.model_copy(update=right)
    entry = Accepted(
        by=by or user_name(),
        method=record.method,
        seen=seen or viewed,
        viewed_fraction=part,
        replaced=Replaced(),
        **dict(compared),
    )
    project.note(case, entry)
    facts = replace_label(case, labels)
    project.amend(case, entry, **dict(facts))
    return entry.seen


def _why_not(case: Case, run: Run | None) -> str | None:
    if case.state is CaseState.EXCLUDED:
        return "it is excluded"
    if case.has_label:
        return "it has a label already"
    if case.has_draft:
        return "it has edits that are not accepted: open it"
    if run is None or not run.has_prediction(case.id):
        return "it has no prediction"
    return None
