"""Collect the cases that may be suggested, with their newest predictions."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.cases.labels import done_slices
from napari_semiseg.project.review.flags import is_put_off
from napari_semiseg.project.review.label_audit import LabelAudit

if TYPE_CHECKING:
    from napari_semiseg.core.prediction import CaseScore, SliceScore
    from napari_semiseg.project.cases.case import Case, CaseRef
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Candidate:
    """A case without a complete human label, or one whose label is to be checked.

    Attributes
    ----------
    run : Run or None
        That made the newest prediction.
    stored_score : CaseScore or None
        Of the newest prediction.
    skipped : bool
        Whether a reviewer has skipped it since.
    """

    case: Case
    run: Run | None
    stored_score: CaseScore | None
    skipped: bool

    @property
    def id(self) -> str:
        """Id of the case."""
        return self.case.id

    @property
    def score(self) -> CaseScore:
        """Score of the newest prediction, for strategies that need predictions."""
        assert self.stored_score is not None
        return self.stored_score

    @property
    def found_nothing(self) -> bool:
        """Whether the newest prediction is empty, which no score can rank."""
        score = self.stored_score
        return score is not None and not any(score.volumes_ml.values())

    @cached_property
    def annotated_slices(self) -> tuple[frozenset[int], ...]:
        """Slices along each axis that are annotated whole."""
        return done_slices(self.case)


@dataclass(frozen=True, eq=False)
class Pool:
    """Everything that a strategy ranks by.

    Attributes
    ----------
    candidates : list of Candidate
        Sorted by id.
    labelled_features : dict
        Encoder features of training cases with a complete label, by the run that
        predicted them.
    plane : int or None
        Axis that slices shall lie along; None for any.
    seed, round : int
        Of the random draws; the round counts the models so far, from 1.
    audit : LabelAudit
        Of the labels; empty for strategies that do not check labels.
    """

    candidates: list[Candidate]
    labelled_features: dict[str, list[tuple[float, ...]]]
    plane: int | None
    seed: int
    round: int
    audit: LabelAudit

    def slice_axis(self, candidate: Candidate) -> int:
        """Axis of the plane asked for, else of the one with the finest pixels."""
        return candidate.case.geometry.slice_axis if self.plane is None else self.plane

    def rng(self, *key: str | int) -> np.random.Generator:
        """Make a generator that depends on what is drawn, not on other draws.

        So the order stays when cases leave the pool.
        """
        numbers = [
            zlib.crc32(word.encode()) if isinstance(word, str) else word for word in key
        ]
        return np.random.default_rng([self.seed, self.round, *numbers])


@dataclass(frozen=True, eq=False)
class RankedVolume:
    """A volume in its place, with a function that lists its slices, best first.

    ``score`` is in [0, 1]; more is more urgent.
    """

    candidate: Candidate
    score: float
    reason: str
    slices: Callable[[], list[SliceScore]]


def collect(
    project: Project,
    cases: Collection[CaseRef] | None,
    plane: int | None,
    seed: int,
    *,
    of_labels: bool = False,
) -> Pool:
    """Find the training cases without a complete label; or all cases with a label."""
    training = project.cases(split=None if of_labels else Split.TRAIN)
    if cases is not None:
        chosen = {project.case(name).id for name in cases}
        training = [case for case in training if case.id in chosen]
    candidates: list[Candidate] = []
    runs = project.prediction_runs()
    labelled: dict[str, list[tuple[float, ...]]] = {}
    for case in training:
        if case.state is CaseState.EXCLUDED:
            continue
        run = runs.get(case.id)
        record = None if run is None else run.prediction_record(case.id)
        score = None if record is None else record.score
        if of_labels and not case.has_label:
            continue
        if of_labels or case.state is not CaseState.LABELLED:
            candidates.append(Candidate(case, run, score, is_put_off(case, record)))
        elif run is not None and score is not None and score.features:
            labelled.setdefault(run.id, []).append(score.features)
    if not candidates and of_labels:
        raise ProjectError("expected cases with a label, found none; label some")
    if not candidates:
        raise ProjectError(
            "expected training cases without a whole label, found none; add images "
            "with semiseg add"
        )
    rounds = sum(run.has_model for run in project.runs())
    audit = LabelAudit.read(project) if of_labels else LabelAudit()
    return Pool(candidates, labelled, plane, seed, max(1, rounds), audit)


def interleave(queues: Iterable[Iterable[Item]]) -> Iterator[Item]:
    """Yield the first items of all queues, then the second ones; no item is None."""
    for row in zip_longest(*queues):
        yield from (item for item in row if item is not None)
