"""What to annotate next, and why, from the scores of stored predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.io.masks import read_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_semiseg.core.prediction import CaseScore
    from napari_semiseg.project.cases import Case
    from napari_semiseg.project.runs import Run
    from napari_semiseg.project.store import Project

PLANES = ("axial", "coronal", "sagittal")
APART = 3
"""Suggested slices of a plane lie at least so many voxels apart."""
Scored = dict[str, tuple["Case", "Run", "CaseScore"]]


@dataclass(frozen=True, slots=True)
class VolumeSuggestion:
    """A volume worth annotating; a higher ``score`` is more doubtful."""

    case: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class SliceSuggestion:
    """A slice worth annotating: voxel ``index`` along ``axis`` (0, 1, 2 is z, y, x)."""

    case: str
    axis: int
    index: int
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Volumes and slices, the most worthwhile first."""

    volumes: tuple[VolumeSuggestion, ...]
    slices: tuple[SliceSuggestion, ...]


def suggest(
    project: Project, k: int = 10, strategy: str = "uncertainty", *, seed: int = 0
) -> Suggestions:
    """Rank volumes and slices that lack a whole human label.

    Only training cases are suggested, by the newest prediction of each. Slices are
    taken from the best volumes in turn, so that no volume fills the list, and lie
    apart from each other.

    Parameters
    ----------
    project : Project
        The project.
    k : int
        Most volumes, and most slices, to name.
    strategy : {"uncertainty", "gap", "entropy", "random"}
        The score to rank by. "random" draws volumes, and slices through what was
        predicted in them: a baseline that is hard to beat.
    seed : int
        Of the draw.

    Raises
    ------
    ConfigError
        No such strategy, or ``k`` below 1.
    ProjectError
        No case is left to annotate, or none has a prediction.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(
            f"expected a strategy out of {', '.join(sorted(STRATEGIES))}, found "
            f"{strategy!r}"
        )
    if k < 1:
        raise ConfigError(f"expected k of at least 1, found {k}")
    candidates = [
        case
        for case in project.cases(split=Split.TRAIN)
        if case.state not in (CaseState.LABELLED, CaseState.EXCLUDED)
    ]
    if not candidates:
        raise ProjectError(
            "expected training cases without a whole label, found none; add images "
            "with semiseg add"
        )
    scored: Scored = {}
    for case in candidates:
        run = project.prediction_run(case.id)
        if run is not None:
            scored[case.id] = (case, run, run.prediction_record(case.id).score)
    if not scored:
        raise ProjectError(
            "expected predictions to rank cases by, found none; run semiseg train or "
            "semiseg predict first"
        )
    return STRATEGIES[strategy](scored, k, seed)


def _by_uncertainty(scored: Scored, k: int, _seed: int) -> Suggestions:
    return _ranked(scored, k, lambda score: score.uncertainty, "boundary uncertain")


def _by_gap(scored: Scored, k: int, _seed: int) -> Suggestions:
    words = "segmentation and distance disagree"
    return _ranked(scored, k, lambda score: score.gap, words)


def _by_entropy(scored: Scored, k: int, _seed: int) -> Suggestions:
    return _ranked(scored, k, lambda score: score.entropy, "class undecided")


def _ranked(
    scored: Scored, k: int, value: Callable[[CaseScore], float], words: str
) -> Suggestions:
    ranking = sorted(scored, key=lambda name: (-value(scored[name][2]), name))
    volumes = []
    for name in ranking[:k]:
        score = scored[name][2]
        reason = f"{words} ({value(score):.2f}){_where(score)}"
        if not any(score.volumes_ml.values()):
            reason = f"nothing was found in it ({value(score):.2f})"
        volumes.append(VolumeSuggestion(name, value(score), reason))
    queues = [_spread(name, scored[name][2]) for name in ranking[:k]]
    slices = _in_turn(queues, k)
    slices.sort(key=lambda item: -item.score)
    return Suggestions(tuple(volumes), tuple(slices))


def _spread(case: str, score: CaseScore) -> list[SliceSuggestion]:
    """Worst slices of a volume, without the close neighbours of worse ones."""
    kept: list[SliceSuggestion] = []
    for item in sorted(score.slices, key=lambda item: -item.score):
        near = (
            other.axis == item.axis and abs(other.index - item.index) < APART
            for other in kept
        )
        if not any(near):
            reason = f"{item.reason} ({item.score:.2f}), {PLANES[item.axis]} slice"
            found = SliceSuggestion(case, item.axis, item.index, item.score, reason)
            kept.append(found)
    return kept


def _in_turn(queues: list[list[SliceSuggestion]], k: int) -> list[SliceSuggestion]:
    longest = max((len(queue) for queue in queues), default=0)
    rounds = (
        queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)
    )
    return [item for item, _ in zip(rounds, range(k), strict=False)]


def _where(score: CaseScore) -> str:
    """Axial slices around the worst one, in words."""
    axial = sorted(score.slices, key=lambda item: -item.score)
    indices = {item.index for item in axial if item.axis == 0}
    if not indices:
        return ""
    low = high = next(item.index for item in axial if item.axis == 0)
    while indices & {low - 1, low - 2}:
        low = min(indices & {low - 1, low - 2})
    while indices & {high + 1, high + 2}:
        high = max(indices & {high + 1, high + 2})
    return f", slice {low}" if low == high else f", slices {low}-{high}"


def _at_random(scored: Scored, k: int, seed: int) -> Suggestions:
    """Draw volumes, and slices of the coarsest plane through predicted foreground."""
    rng = np.random.default_rng(seed)
    names = [str(name) for name in rng.permutation(sorted(scored))[:k]]
    volumes = [
        VolumeSuggestion(name, scored[name][2].uncertainty, "drawn at random")
        for name in names
    ]
    queues = [_random_slices(*scored[name], k, rng) for name in names]
    return Suggestions(tuple(volumes), tuple(_in_turn(queues, k)))


def _random_slices(
    case: Case, run: Run, score: CaseScore, k: int, rng: np.random.Generator
) -> list[SliceSuggestion]:
    labels = read_labels(run.folder.prediction(case.id).labels, case.geometry)
    axis = int(np.argmax(case.geometry.spacing_mm))
    across = tuple(other for other in range(3) if other != axis)
    inside = np.flatnonzero((labels > 0).any(axis=across))
    reason = "drawn at random through what was predicted"
    if not len(inside):
        inside = np.arange(labels.shape[axis])
        reason = "drawn at random, nothing was predicted"
    return [
        SliceSuggestion(case.id, axis, int(index), score.uncertainty, reason)
        for index in rng.permutation(inside)[:k]
    ]


STRATEGIES: dict[str, Callable[[Scored, int, int], Suggestions]] = {
    "uncertainty": _by_uncertainty,
    "gap": _by_gap,
    "entropy": _by_entropy,
    "random": _at_random,
}
