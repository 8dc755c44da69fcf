"""What to annotate next, and why, from the scores of stored predictions."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from napari_semiseg.active_learning.candidates import collect
from napari_semiseg.active_learning.strategies import (
    DEFAULT,
    STRATEGIES,
    Strategy,
    in_turn,
)
from napari_semiseg.active_learning.suggestions import (
    PLANES,
    SliceSuggestion,
    Suggestions,
    VolumeSuggestion,
)
from napari_semiseg.errors import ConfigError, ProjectError

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_semiseg.active_learning.candidates import Candidate, Ranked
    from napari_semiseg.core.prediction import SliceScore
    from napari_semiseg.project.project import Project

__all__ = [
    "DEFAULT",
    "PLANES",
    "STRATEGIES",
    "SliceSuggestion",
    "Strategy",
    "Suggestions",
    "VolumeSuggestion",
    "suggest",
]

APART = 3
"""Suggested slices of a plane lie at least so many voxels apart."""


def suggest(
    project: Project,
    k: int = 10,
    strategy: str = DEFAULT,
    *,
    seed: int = 0,
    cases: Collection[str] | None = None,
    plane: str | None = None,
) -> Suggestions:
    """Rank volumes and slices that lack a whole human label.

    Only training cases are suggested, by the newest prediction of each. Slices are
    taken from the best volumes in turn, so that no volume fills the list, and lie
    apart from each other; those that are annotated already are left out. Volumes
    that somebody has skipped come last. No score grows with the size of a volume.

    Parameters
    ----------
    project : Project
        The project.
    k : int
        Most volumes, and most slices, to name.
    strategy : str
        A name out of `STRATEGIES`. "random", which draws slices through what was
        predicted, is a baseline that is hard to beat; it and "spread" work before
        there is any prediction.
    seed : int
        Of the draws.
    cases : collection of str, optional
        Ids to choose from; by default all.
    plane : {"axial", "coronal", "sagittal"}, optional
        Only slices of this plane; by default of any.

    Raises
    ------
    ConfigError
        No such strategy or plane, or ``k`` below 1.
    ProjectError
        No case is left to annotate, or none has the prediction that is needed.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(
            f"expected a strategy out of {', '.join(sorted(STRATEGIES))}, found "
            f"{strategy!r}"
        )
    if plane is not None and plane not in PLANES:
        raise ConfigError(
            f"expected a plane out of {', '.join(PLANES)}, found {plane!r}"
        )
    if k < 1:
        raise ConfigError(f"expected k of at least 1, found {k}")
    chosen = STRATEGIES[strategy]
    axis = None if plane is None else PLANES.index(plane)
    pool = collect(project, cases, axis, seed)
    if not chosen.cold:
        scored = [item for item in pool.candidates if item.score is not None]
        if not scored:
            raise ProjectError(
                "expected predictions to rank cases by, found none; run semiseg train "
                "or semiseg predict first, or take --strategy spread"
            )
        pool = replace(pool, candidates=scored)
    ranked = sorted(chosen.rank(pool), key=lambda item: item.candidate.put_off)[:k]
    apart = 1 if strategy == "spread" else APART
    queues = [_slices(item, axis, apart) for item in ranked]
    slices = list(islice(in_turn(queues), k))
    if chosen.worst_first:
        slices.sort(key=lambda item: -item.score)
    return Suggestions(tuple(map(_volume, ranked)), tuple(slices))


def _volume(item: Ranked) -> VolumeSuggestion:
    flag, skipped = item.candidate.case.record.flag, item.candidate.put_off
    reason = item.reason
    if flag is not None:
        reason = f"flagged: {flag}; {reason}" if flag else f"flagged; {reason}"
    if skipped:
        reason = f"skipped; {reason}"
    return VolumeSuggestion(item.candidate.id, item.score, reason, flag, skipped)


def _slices(item: Ranked, axis: int | None, apart: int) -> list[SliceSuggestion]:
    """Slices of a volume, without close neighbours of better or annotated ones."""
    kept: list[SliceSuggestion] = []
    for place in item.slices():
        if axis not in (None, place.axis) or _is_done(item.candidate, place, apart):
            continue
        near = (
            other.axis == place.axis and abs(other.index - place.index) < apart
            for other in kept
        )
        if not any(near):
            reason = f"{place.reason} ({place.score:.2f}), {PLANES[place.axis]} slice"
            kept.append(
                SliceSuggestion(
                    item.candidate.id, place.axis, place.index, place.score, reason
                )
            )
    return kept


def _is_done(item: Candidate, place: SliceScore, apart: int) -> bool:
    """Whether a slice or a close neighbour of it is annotated already."""
    around = range(place.index - apart + 1, place.index + apart)
    return not item.done[place.axis].isdisjoint(around)
