"""Suggest the volumes and slices that are most worth annotating next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from napari_semiseg.active_learning.candidates import collect, interleave
from napari_semiseg.active_learning.registry import DEFAULT, STRATEGIES
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.imaging.rendering import PLANES

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_semiseg.active_learning.candidates import RankedVolume
    from napari_semiseg.project.cases.case import CaseRef
    from napari_semiseg.project.project import Project


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
        In words.
    flag : str, optional
        Comment of its flag.
    skipped : bool
        Whether a reviewer has skipped it; it comes after the others then.
    """

    case: str
    score: float
    reason: str
    flag: str | None = None
    skipped: bool = False


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
    annotated already are left out. Skipped volumes come last. No score grows with the
    size of a volume.

    Parameters
    ----------
    project : Project
        The project.
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
    pool = collect(project, cases, axis, seed)
    if chosen.needs_predictions:
        scored = [item for item in pool.candidates if item.stored_score is not None]
        if not scored:
            raise ProjectError(
                "expected predictions to rank cases by, found none; run semiseg train "
                "or semiseg predict first, or take --strategy spread"
            )
        pool = replace(pool, candidates=scored)
    ranked = sorted(chosen.rank(pool), key=lambda item: item.candidate.skipped)[:k]
    queues = [_slices(item, axis, chosen.slice_distance) for item in ranked]
    slices = list(islice(interleave(queues), k))
    if chosen.sort_slices:
        slices.sort(key=lambda item: -item.score)
    return Suggestions(tuple(map(_volume, ranked)), tuple(slices))


def _volume(item: RankedVolume) -> VolumeSuggestion:
    flag, skipped = item.candidate.case.record.flag, item.candidate.skipped
    reason = item.reason
    if flag is not None:
        reason = f"flagged: {flag}; {reason}" if flag else f"flagged; {reason}"
    if skipped:
        reason = f"skipped; {reason}"
    return VolumeSuggestion(item.candidate.id, item.score, reason, flag, skipped)


def _slices(
    item: RankedVolume, axis: int | None, distance: int
) -> list[SliceSuggestion]:
    """Slices of a volume that are not near better or annotated ones."""
    kept: list[SliceSuggestion] = []
    used = [set(done) for done in item.candidate.annotated_slices]
    for place in item.slices():
        near = range(place.index - distance + 1, place.index + distance)
        if axis in (None, place.axis) and used[place.axis].isdisjoint(near):
            used[place.axis].add(place.index)
            reason = f"{place.reason} ({place.score:.2f}), {PLANES[place.axis]} slice"
            kept.append(
                SliceSuggestion(
                    item.candidate.id, place.axis, place.index, place.score, reason
                )
            )
    return kept
