"""Suggest the volumes and slices that are most worth annotating next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from napari_semiseg.active_learning.candidates import collect, interleave
from napari_semiseg.active_learning.registry import DEFAULT, STRATEGIES
from napari_semiseg.core.prediction import SliceScore
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.imaging.rendering import PLANES, slice_name

if TYPE_CHECKING:
    from napari_semiseg.active_learning.candidates import Pool, RankedVolume
    from napari_semiseg.active_learning.registry import Strategy
    from napari_semiseg.project.cases.case import CaseRef
    from napari_semiseg.project.project import Project

APART = (0.2, 0.1)
"""Distance of suggested slices over the extent of what was predicted, while there are
such slices: what is corrected in them then spreads farthest by `refine`."""


@dataclass(frozen=True, slots=True)
class VolumeSuggestion:
    """A volume worth annotating.

    Attributes
    ----------
    case : str
        Its id.
    score : float
        In [0, 1]; what it means depends on the strategy, more is more urgent.
    reason : str
        In words; ends with the name of ``place``.
    flag : str, optional
        Comment of its flag.
    skipped : bool
        Whether a reviewer has skipped it; it comes after the others then.
    place : (int, int), optional
        Axis and index of the slice to look at first, as in `SliceSuggestion`; None
        where all that are worth it are annotated.
    """

    case: str
    score: float
    reason: str
    flag: str | None = None
    skipped: bool = False
    place: tuple[int, int] | None = None


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
    project: Project,
    k: int = 10,
    strategy: str = DEFAULT,
    *,
    seed: int = 0,
    cases: Collection[CaseRef] | None = None,
    plane: str | None = None,
) -> Suggestions:
    """Rank volumes and slices that lack a complete human label.

    Only training cases are suggested, by the newest prediction of each. Slices are
    taken from the best volumes in turn and lie apart from each other; those that are
    annotated already are left out. Volumes in which nothing was predicted come first
    where predictions are ranked, for no score of theirs says whether the structure was
    missed; skipped volumes come last. No score grows with the size of a volume.

    Strategies that check labels name slices of all cases that have one instead.

    Parameters
    ----------
    k : int
        Most volumes, and most slices, to name.
    strategy : str
        A name out of `napari_semiseg.active_learning.registry.strategies`. "random",
        which draws slices through the predicted foreground, is a strong baseline; it
        and "spread" need no predictions.
    seed : int
        Of the random draws.
    cases : collection of str or Case, optional
        To choose from; by default all.
    plane : {"axial", "coronal", "sagittal"}, optional
        Only slices of this plane; by default of any.

    Raises
    ------
    ConfigError
        No such strategy or plane, or ``k`` below 1.
    ProjectError
        No case is left to annotate, or none has the prediction that is needed.
    """
    chosen = STRATEGIES.find(strategy)
    if plane is not None and plane not in PLANES:
        raise ConfigError(
            f"expected a plane out of {', '.join(PLANES)}, found {plane!r}"
        )
    if k < 1:
        raise ConfigError(f"expected k of at least 1, found {k}")
    axis = None if plane is None else PLANES.index(plane)
    pool = collect(project, cases, axis, seed, of_labels=chosen.of_labels)
    if chosen.needs_predictions:
        scored = [item for item in pool.candidates if item.stored_score is not None]
        if not scored:
            raise ProjectError(
                "expected predictions to rank cases by, found none; run semiseg train "
                "or semiseg predict first, or take --strategy spread"
            )
        pool = replace(pool, candidates=scored)
    ranked = chosen.rank(pool)
    if chosen.needs_predictions:
        ranked = [_empty(pool, item) for item in ranked]
        ranked.sort(key=lambda item: not item.candidate.found_nothing)
    ranked = sorted(ranked, key=lambda item: item.candidate.skipped)[:k]
    queues = [_slices(item, axis, chosen) for item in ranked]
    most = None if chosen.of_labels else k  # errors may all lie in one volume
    slices = list(islice(interleave(queues), most))
    if chosen.sort_slices:
        slices.sort(key=lambda item: -item.score)
    volumes = map(_volume, ranked, queues)
    return Suggestions(tuple(volumes), tuple(slices[:k]))


def _empty(pool: Pool, item: RankedVolume) -> RankedVolume:
    """Describe a volume in which nothing was predicted, whatever its scores are."""
    if not item.candidate.found_nothing:
        return item
    axis = pool.slice_axis(item.candidate)
    middle = SliceScore(
        axis=axis,
        index=item.candidate.case.geometry.shape_zyx[axis] // 2,
        score=1.0,
        reason="nothing was found, here is the middle",
    )
    return replace(
        item,
        score=1.0,
        reason="nothing was found in it",
        slices=lambda: item.slices() or [middle],
    )


def _volume(item: RankedVolume, slices: Sequence[SliceSuggestion]) -> VolumeSuggestion:
    flag, skipped = item.candidate.case.record.flag, item.candidate.skipped
    place = (slices[0].axis, slices[0].index) if slices else None
    reason = item.reason if place is None else f"{item.reason}, {slice_name(*place)}"
    if flag is not None:
        reason = f"flagged: {flag}; {reason}" if flag else f"flagged; {reason}"
    if skipped:
        reason = f"skipped; {reason}"
    return VolumeSuggestion(item.candidate.id, item.score, reason, flag, skipped, place)


def _slices(
    item: RankedVolume, axis: int | None, strategy: Strategy
) -> list[SliceSuggestion]:
    """Slices of a volume that are not near better or annotated ones.

    First those that are far from each other too, for their corrections spread.
    """
    kept: list[SliceSuggestion] = []
    used: list[set[int]] = [set(), set(), set()]
    if not strategy.of_labels:
        used = [set(done) for done in item.candidate.annotated_slices]
    score = item.candidate.stored_score
    reach = (score and score.reach) or ((0, 0),) * 3
    for apart in (0.0,) if strategy.of_labels else (*APART, 0.0):
        for place in item.slices():
            first, last = reach[place.axis]
            room = max(strategy.slice_distance, round(apart * (last - first)))
            near = range(place.index - room + 1, place.index + room)
            if axis in (None, place.axis) and used[place.axis].isdisjoint(near):
                used[place.axis].add(place.index)
                reason = f"{place.reason} ({place.score:.2f}), "
                reason += f"{PLANES[place.axis]} slice"
                kept.append(
                    SliceSuggestion(
                        item.candidate.id, place.axis, place.index, place.score, reason
                    )
                )
    return kept
