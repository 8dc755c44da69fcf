"""Rank by the numbers of the stored predictions, the highest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.active_learning.candidates import RankedVolume, interleave
from napari_semiseg.active_learning.registry import register

if TYPE_CHECKING:
    from napari_semiseg.active_learning.candidates import Candidate, Pool
    from napari_semiseg.core.prediction import CaseScore, SliceScore

BETA = 2.0
"""Inverse scale of the noise in the first round; it doubles with every round."""
SMALLEST = 1e-6


@register(
    "uncertainty",
    "Most uncertain first",
    "The scans whose predicted boundaries are least certain.",
    sort_slices=True,
)
def by_uncertainty(pool: Pool) -> list[RankedVolume]:
    """Rank by the stored uncertainty within 3 voxels of the predicted surface."""
    return rank_by_score(
        pool,
        lambda score: score.uncertainty,
        lambda score: score.slices,
        "boundary uncertain",
    )


@register(
    "gap",
    "Mask and distance disagree",
    "Where the predicted mask and the predicted distance differ.",
    sort_slices=True,
)
def by_gap(pool: Pool) -> list[RankedVolume]:
    """Rank by the disagreement of segmentation and signed distance."""
    return rank_by_score(
        pool,
        lambda score: score.gap,
        lambda score: score.gap_slices or score.slices,
        "segmentation and distance disagree",
    )


@register(
    "entropy",
    "Class undecided",
    "Where the probabilities of several classes are alike.",
    sort_slices=True,
)
def by_entropy(pool: Pool) -> list[RankedVolume]:
    """Rank by the entropy of the class probabilities."""
    return rank_by_score(
        pool, lambda score: score.entropy, lambda score: score.slices, "class undecided"
    )


def rank_by_score(
    pool: Pool,
    value: Callable[[CaseScore], float],
    slices: Callable[[CaseScore], Sequence[SliceScore]],
    reason: str,
) -> list[RankedVolume]:
    """Rank by a number in [0, 1] of each stored score, the highest first."""
    ranked = []
    for item in sorted(pool.candidates, key=lambda item: (-value(item.score), item.id)):
        score = item.score
        words = f"{reason} ({value(score):.2f})"
        order = sorted(slices(score), key=lambda place: -place.score)
        ranked.append(RankedVolume(item, value(score), words, partial(list, order)))
    return ranked


@register(
    "stratified",
    "Each structure in turn",
    "The most uncertain scans of every structure, with some chance early on.",
)
def stratified(pool: Pool) -> list[RankedVolume]:
    """Rank by entropy, each structure in its turn, with noise that fades.

    After ClaSP PE (Lüth et al., 2026, arXiv:2601.13677), which samples patches per
    predicted class by the predictive entropy and adds Gumbel noise to its logarithm
    (the power acquisition of Kirsch et al., TMLR 2023) so that early rounds vary
    and later ones exploit. Here volumes and slices take the place of patches, and
    the noise halves with every model that was trained.
    """
    names = {name for item in pool.candidates for name in item.score.classes}
    queues = []
    for name in sorted(names):
        noisy = {
            item: _noisy(pool, item.score.classes[name].entropy, item.id, name)
            for item in pool.candidates
            if name in item.score.classes
        }
        queues.append([(item, name) for item in sorted(noisy, key=lambda c: -noisy[c])])
    found: dict[str, RankedVolume] = {}
    for item, name in interleave(queues):
        if item.id not in found:
            found[item.id] = _volume(pool, item, name)
    rest = [item for item in pool.candidates if item.id not in found]
    return [*found.values(), *by_entropy(replace(pool, candidates=rest))]


def _volume(pool: Pool, item: Candidate, first: str) -> RankedVolume:
    score = item.score.classes[first]
    reason = f"{first} uncertain ({score.entropy:.2f})"
    return RankedVolume(
        item, score.entropy, reason, partial(_slices, pool, item, first)
    )


def _slices(pool: Pool, item: Candidate, first: str) -> list[SliceScore]:
    """Slices of all structures in turn, in noisy order, beginning with ``first``."""
    classes = item.score.classes
    names = sorted(classes, key=lambda name: (name != first, name))
    queues = [
        sorted(
            classes[name].slices,
            key=lambda place: (
                -_noisy(pool, place.score, item.id, place.axis, place.index)
            ),
        )
        for name in names
    ]
    return list(interleave(queues))


def _noisy(pool: Pool, value: float, *key: str | int) -> float:
    """Logarithm of a score plus Gumbel noise: a draw in proportion to score^beta."""
    beta = BETA * 2 ** (pool.round - 1)
    noise = pool.rng(*key).gumbel(0, 1 / beta)
    return float(np.log(max(value, SMALLEST)) + noise)
