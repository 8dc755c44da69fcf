"""Compare what two models predict of the cases that nobody has verified."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.case import CaseState
from napari_semiseg.errors import ProjectError, SemisegError
from napari_semiseg.imaging.metrics import overlap
from napari_semiseg.project.review.corrections import corrections
from napari_semiseg.project.review.quality_estimate import Estimate, Estimator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

NOTABLE = 0.9
"""A case has changed notably where the two masks agree by a Dice below this."""


@dataclass(frozen=True, slots=True)
class ClassChange:
    """One structure by two models: their Dice, and the volumes in mL.

    The Dice is None where neither has found it.
    """

    dice: float | None
    before_ml: float
    after_ml: float


@dataclass(frozen=True, slots=True)
class CaseChange:
    """One case by two models.

    Attributes
    ----------
    case : str
        Its id.
    dice : float
        Of the two masks, mean over the classes in either; 1 where both are empty.
    classes : dict of str to ClassChange
        By the name of the class.
    before, after : Estimate or None
        Estimated Dice of the two predictions, where known.
    """

    case: str
    dice: float
    classes: dict[str, ClassChange]
    before: Estimate | None
    after: Estimate | None


@dataclass(frozen=True, slots=True)
class ModelChanges:
    """What has changed from one model to the next.

    Attributes
    ----------
    before, run : str
        Ids of the two.
    cases : tuple of CaseChange
        Cases that both have predicted and nobody has verified; most changed first.
    """

    before: str
    run: str
    cases: tuple[CaseChange, ...]

    @property
    def notable(self) -> tuple[CaseChange, ...]:
        """Cases in which the two agree by a Dice below `NOTABLE`."""
        return tuple(item for item in self.cases if item.dice < NOTABLE)

    @property
    def mean(self) -> dict[str, ClassChange]:
        """Means over the cases, by the name of the class."""
        return {
            name: _mean([item.classes[name] for item in self.cases])
            for name in self.cases[0].classes
        }

    @property
    def quality(self) -> tuple[float, float] | None:
        """Mean estimated Dice before and after, of the cases where both are known."""
        known = [
            (item.before.dice, item.after.dice)
            for item in self.cases
            if item.before is not None and item.after is not None
        ]
        if not known:
            return None
        before, after = np.mean(known, axis=0)
        return float(before), float(after)


def compare_models(
    project: Project,
    run: Run | None = None,
    before: Run | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ModelChanges:
    """Compare the predictions of two runs, on the cases that nobody has verified.

    Parameters
    ----------
    project : Project
        The project.
    run : Run, optional
        The later model; by default the newest run with predictions.
    before : Run, optional
        The earlier one; by default the run that ``run`` began with, else the newest
        older one that has predicted some of the same cases.
    progress : callable
        Called with the number of cases done, and of all of them.

    Raises
    ------
    SemisegError
        There are no two runs with predictions of the same unverified cases, or one
        cannot be read.
    """
    everything = project.cases()
    cases = [
        case
        for case in everything
        if case.state is not CaseState.EXCLUDED and not case.human_verified
    ]
    runs = project.runs()
    run = run or next((one for one in reversed(runs) if one.predicted()), None)
    if run is None:
        raise ProjectError("expected predictions, found none; run semiseg predict")
    shared = [case for case in cases if run.has_prediction(case)]
    candidates = _before(run, runs) if before is None else [before]
    for earlier in candidates:
        both = [case for case in shared if earlier.has_prediction(case)]
        if both:
            break
    else:
        other = "an earlier run" if before is None else f"'{before.id}'"
        raise ProjectError(
            f"expected unverified cases that both '{run.id}' and {other} have "
            f"predicted, found none; predict with both (semiseg predict --run)"
        )
    estimator = Estimator(corrections(everything))
    found = []
    for done, case in enumerate(both, start=1):
        found.append(_compare(project, case, earlier, run, estimator))
        progress(done, len(both))
    found.sort(key=lambda item: (item.dice, item.case))
    return ModelChanges(earlier.id, run.id, tuple(found))


def _before(run: Run, runs: Sequence[Run]) -> list[Run]:
    """Earlier runs, most likely first."""
    older = [one for one in reversed(runs) if one.created < run.created]
    source = None
    with suppress(SemisegError):
        source = run.config.start_from
    return sorted(older, key=lambda one: one.id != source)


def _compare(
    project: Project, case: Case, before: Run, run: Run, estimator: Estimator
) -> CaseChange:
    (first, one), (second, other) = (
        item.read_mask(case, case.geometry) for item in (before, run)
    )
    for record, mask in ((first, one), (second, other)):
        project.labels.check(mask, f"prediction of {case.id} by {record.run}")
    dice = overlap(one, other, project.labels).dice
    volumes = [record.score.volumes_ml for record in (first, second)]
    classes = {}
    for name, value in dice.items():
        old, new = (found.get(name, 0.0) for found in volumes)
        classes[name] = ClassChange(value if old or new else None, old, new)
    known = [item.dice for item in classes.values() if item.dice is not None]
    return CaseChange(
        case=case.id,
        dice=float(np.mean(known)) if known else 1.0,
        classes=classes,
        before=estimator.estimate(first),
        after=estimator.estimate(second),
    )


def _mean(found: Sequence[ClassChange]) -> ClassChange:
    known = [item.dice for item in found if item.dice is not None]
    return ClassChange(
        dice=float(np.mean(known)) if known else None,
        before_ml=float(np.mean([item.before_ml for item in found])),
        after_ml=float(np.mean([item.after_ml for item in found])),
    )
