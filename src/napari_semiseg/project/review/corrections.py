"""Read from histories how much people corrected, and how long it took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_semiseg.project.cases.history import (
    Accepted,
    Labelled,
    Reopened,
    Viewed,
)
from napari_semiseg.project.cases.record import Acceptance, CaseRecord, acceptance_of

if TYPE_CHECKING:
    from napari_semiseg.core.prediction import PredictionRecord
    from napari_semiseg.project.cases.case import Case

IN_A_ROW = 5
QUICK_MINUTES = 1.0
"""So many cases in a row, each done so quickly, are a plateau."""


@dataclass(frozen=True, slots=True)
class Correction:
    """One acceptance of a label, from the history of its case.

    Attributes
    ----------
    case, by : str
        Which case, and who accepted it.
    at : float
        Unix time, s.
    minutes : float or None
        Active minutes with the case since the acceptance before, viewing included;
        None for masks that came from a file.
    dice, dice_by_class, changed_voxels, run, step, uncertainty, kind
        As in `Comparison`; no Dice where it is not verified.
    seen : bool
        Whether a person had the case open with this very prediction, or drew the mask.
    verified : bool
        Whether moreover something was changed or enough slices were viewed, see
        `acceptance_of`. Only then it tells how good the prediction was.
    whole : bool
        Whether every voxel is annotated.
    first : bool
        Whether the case had no whole label before.
    """

    case: str
    by: str
    at: float
    minutes: float | None
    dice: float | None
    dice_by_class: dict[str, float] = field(compare=False)
    changed_voxels: int | None
    run: str | None
    step: int | None
    uncertainty: float | None
    kind: str | None
    seen: bool
    verified: bool
    whole: bool
    first: bool


def was_viewed(record: CaseRecord, prediction: PredictionRecord) -> bool:
    """Whether a person had the case open in the viewer with this prediction."""
    return bool(_views(record, prediction))


def viewed_fraction(record: CaseRecord, prediction: PredictionRecord) -> float | None:
    """Largest part of the slices that was viewed with this prediction, if known."""
    known = [entry.viewed_fraction for entry in _views(record, prediction)]
    return max((part for part in known if part is not None), default=None)


def _views(
    record: CaseRecord, prediction: PredictionRecord
) -> list[Viewed | Labelled | Accepted]:
    """Entries of when a person had the case open with this prediction."""
    shown = prediction.run, prediction.step
    return [
        entry
        for entry in record.history
        if isinstance(entry, Viewed | Labelled | Accepted)
        and (entry.run, entry.step) == shown
        and (isinstance(entry, Viewed) or entry.seen)
    ]


def corrections_of(record: CaseRecord) -> list[Correction]:
    """Every acceptance in the history of a case, oldest first."""
    found: list[Correction] = []
    spent: float | None = None
    was_whole = False
    acceptance: Acceptance | None = None
    for entry in record.standing:
        if entry.minutes is not None:
            spent = (spent or 0.0) + entry.minutes
        if isinstance(entry, Reopened):
            acceptance = None
        if (
            not isinstance(entry, Labelled | Accepted)
            or entry.annotated_fraction is None  # interrupted: there was no label yet
        ):
            continue
        whole = entry.annotated_fraction == 1.0
        acceptance = acceptance_of(entry, acceptance)
        verified = acceptance is Acceptance.SEEN
        found.append(
            Correction(
                case=record.id,
                by=entry.by,
                at=entry.at,
                minutes=spent,
                dice=entry.corrective_dice if verified else None,
                dice_by_class=entry.corrective_dice_by_class if verified else {},
                changed_voxels=entry.changed_voxels,
                run=entry.run,
                step=entry.step,
                uncertainty=entry.uncertainty,
                kind=entry.uncertainty_kind,
                seen=isinstance(entry, Labelled) or entry.seen,
                verified=verified,
                whole=whole,
                first=not was_whole,
            )
        )
        was_whole |= whole
        spent = None
    return found


@dataclass(frozen=True, slots=True)
class Effort:
    """What a case has cost so far, and how much its prediction was corrected.

    Attributes
    ----------
    minutes : float or None
        Active minutes of all sittings; None without any.
    dice, changed_voxels : float and int, or None
        Of its newest acceptance that corrected a prediction.
    """

    minutes: float | None
    dice: float | None
    changed_voxels: int | None


def effort(record: CaseRecord) -> Effort:
    """Sum up the history of a case."""
    minutes = [entry.minutes for entry in record.standing if entry.minutes]
    compared = [item for item in corrections_of(record) if item.dice is not None]
    last = compared[-1] if compared else None
    return Effort(
        minutes=sum(minutes) if minutes else None,
        dice=None if last is None else last.dice,
        changed_voxels=None if last is None else last.changed_voxels,
    )


def corrections(cases: Iterable[Case]) -> list[Correction]:
    """Every acceptance in a cohort, oldest first; excluded cases are left out."""
    found = [
        item
        for case in cases
        if not case.record.excluded
        for item in corrections_of(case.record)
    ]
    return sorted(found, key=lambda item: (item.at, item.case))


def plateau(found: Sequence[Correction]) -> str | None:
    """Say in words that predictions need hardly any correction by now; or None.

    Parameters
    ----------
    found : sequence of Correction
        Of the cohort, oldest first. Only whole predictions that a person verified
        count.
    """
    timed = [
        item
        for item in found
        if item.verified and item.whole and item.run and item.minutes is not None
    ]
    last = timed[-IN_A_ROW:]
    minutes = [item.minutes for item in last if item.minutes is not None]
    if len(last) < IN_A_ROW or max(minutes) >= QUICK_MINUTES:
        return None
    return f"The last {IN_A_ROW} cases needed under {QUICK_MINUTES:g} minute each"
