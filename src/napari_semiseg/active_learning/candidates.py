"""Cases that may be suggested, with what the newest prediction says of each."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.cases.labels import done_slices
from napari_semiseg.project.review.flags import is_put_off

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from napari_semiseg.core.prediction import CaseScore, SliceScore
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run


@dataclass(frozen=True, eq=False)
class Candidate:
    """A case without a whole human label; ``run`` and ``score`` are its newest ones.

    Attributes
    ----------
    put_off : bool
        Whether somebody has skipped it.
    """

    case: Case
    run: Run | None
    score: CaseScore | None
    put_off: bool

    @property
    def id(self) -> str:
        """Id of the case."""
        return self.case.id

    @cached_property
    def done(self) -> tuple[frozenset[int], ...]:
        """Slices along each axis that need no annotation any more."""
        return done_slices(self.case)

    def axis(self, plane: int | None) -> int:
        """The plane asked for, else the one with the finest pixels."""
        return self.case.geometry.slice_axis if plane is None else plane


@dataclass(frozen=True, eq=False)
class Pool:
    """Everything that a strategy ranks by.

    Attributes
    ----------
    candidates : list of Candidate
        Sorted by id.
    covered : dict
        Features of training cases with a whole label, by the run that predicted them.
    plane : int or None
        Axis that slices shall lie along; None for any.
    seed, round : int
        Of the draws; the round counts the models so far, from 1.
    """

    candidates: list[Candidate]
    covered: dict[str, list[tuple[float, ...]]]
    plane: int | None
    seed: int
    round: int

    def rng(self, *words: str | int) -> np.random.Generator:
        """Chance that depends on what is drawn, and not on what else is drawn.

        So a queue that is ranked anew keeps its order.
        """
        numbers = [
            zlib.crc32(word.encode()) if isinstance(word, str) else word
            for word in words
        ]
        return np.random.default_rng([self.seed, self.round, *numbers])


@dataclass(frozen=True, eq=False)
class Ranked:
    """A volume in its place, with its slices, which are looked up only on demand."""

    candidate: Candidate
    score: float
    reason: str
    slices: Callable[[], list[SliceScore]]


def collect(
    project: Project,
    cases: Collection[str] | None,
    plane: int | None,
    seed: int,
) -> Pool:
    """Find the training cases that lack a whole human label.

    Raises
    ------
    ProjectError
        There are none.
    """
    training = project.cases(split=Split.TRAIN)
    if cases is not None:
        wanted = {project.case(name).id for name in cases}
        training = [case for case in training if case.id in wanted]
    candidates: list[Candidate] = []
    covered: dict[str, list[tuple[float, ...]]] = {}
    for case in training:
        if case.state is CaseState.EXCLUDED:
            continue
        run = project.prediction_run(case.id)
        score = None if run is None else run.prediction_record(case.id).score
        if case.state is not CaseState.LABELLED:
            candidates.append(Candidate(case, run, score, is_put_off(project, case)))
        elif run is not None and score is not None and score.features:
            covered.setdefault(run.id, []).append(score.features)
    if not candidates:
        raise ProjectError(
            "expected training cases without a whole label, found none; add images "
            "with semiseg add"
        )
    rounds = sum(run.has_model for run in project.runs())
    return Pool(candidates, covered, plane, seed, max(1, rounds))
