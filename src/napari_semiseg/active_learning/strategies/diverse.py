"""Rank scans by how many others they represent, alone or with their uncertainty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.active_learning.candidates import interleave
from napari_semiseg.active_learning.registry import register
from napari_semiseg.active_learning.strategies.by_score import (
    by_entropy,
    by_gap,
    stratified,
)

if TYPE_CHECKING:
    from napari_semiseg.active_learning.candidates import Candidate, Pool, RankedVolume
    from napari_semiseg.core.prediction import SliceScore


@register(
    "diverse",
    "Most diverse scans",
    "Scans that represent many others unlike those that are labelled.",
)
def diverse(pool: Pool) -> list[RankedVolume]:
    """Rank scans that represent most others unlike what has labels.

    The greedy choice of medoids (BUILD of PAM; Kaufman & Rousseeuw, 1990) on the
    encoder's features of each scan; labelled scans count as chosen.
    """
    return choose_greedily(pool, [0.0] * len(pool.candidates), by_entropy(pool))


@register(
    "mix",
    "Uncertain and diverse",
    "Uncertain scans and slices unlike each other and unlike what is labelled.",
)
def mix(pool: Pool) -> list[RankedVolume]:
    """Rank by uncertainty and diversity; slices by entropy and by gap in turn.

    Uncertainty is the mean rank by `stratified` and by `by_gap`; diversity is the gain
    of `diverse`, divided by its largest.
    """
    ranked = {item.candidate.id: item for item in stratified(pool)}
    gaps = {item.candidate.id: item for item in by_gap(pool)}
    ranks = {name: place for place, name in enumerate(ranked)}
    gap_ranks = {name: place for place, name in enumerate(gaps)}
    last = max(1, len(ranked) - 1)
    uncertainty = [
        1 - (ranks[item.id] + gap_ranks[item.id]) / (2 * last)
        for item in pool.candidates
    ]
    both = [
        replace(item, slices=partial(_slices, item, gaps[name]))
        for name, item in ranked.items()
    ]
    return choose_greedily(pool, uncertainty, both)


def _slices(first: RankedVolume, second: RankedVolume) -> list[SliceScore]:
    return list(interleave([first.slices(), second.slices()]))


def choose_greedily(
    pool: Pool, uncertainty: Sequence[float], ranked: Iterable[RankedVolume]
) -> list[RankedVolume]:
    """Choose one scan after the other by its uncertainty and its gain in diversity.

    Parameters
    ----------
    pool : Pool
        The N candidates.
    uncertainty : sequence of float (N,)
        In [0, 1].
    ranked : iterable of RankedVolume
        Reasons and slices of all candidates, in any order.
    """
    described = {item.candidate.id: item for item in ranked}
    distances, nearest = feature_distances(pool)
    left = list(range(len(nearest)))
    chosen = []
    while left:
        # Mean decrease of the distances to the nearest labelled or chosen scan.
        gains = np.maximum(nearest - distances, 0).mean(axis=1)
        most = float(gains[left].max()) or 1.0
        values = [(uncertainty[index] + gains[index] / most) / 2 for index in left]
        index = left.pop(int(np.argmax(values)))
        represented = np.delete(distances[index] < nearest, index).sum() + 1
        nearest = np.minimum(nearest, distances[index])
        item = described[pool.candidates[index].id]
        reason = item.reason
        if represented > 1:
            reason = f"stands for {represented} similar scans; {reason}"
        elif gains[index] > 0:
            reason = f"unlike what is labelled; {reason}"
        score = float(max(values)) if any(uncertainty) else float(gains[index])
        chosen.append(replace(item, score=score, reason=reason))
    return chosen


def feature_distances(pool: Pool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compare N candidates by their encoder features.

    Only features of one model can be compared: that of most candidates. The distance
    of candidates without them to every other scan is 1. Where no prediction has
    features, all distances are 0.

    Returns
    -------
    distances : ndarray (N, N)
        Between candidates, divided by the largest.
    nearest : ndarray (N,)
        To the nearest scan that has human labels; 1 where there is none.
    """
    from scipy.spatial.distance import cdist

    candidates, count = pool.candidates, len(pool.candidates)
    sources = [_source(item) for item in candidates]
    usual = Counter(source for source in sources if source is not None).most_common(1)
    if not usual:
        return np.zeros((count, count)), np.zeros(count)
    run, length = usual[0][0]
    known = [index for index, source in enumerate(sources) if source == (run, length)]
    rows = [candidates[index].score.features for index in known]
    labelled = [
        row for row in pool.labelled_features.get(run, []) if len(row) == length
    ]
    values = np.array([*rows, *labelled], dtype=np.float64)
    deviation = values.std(axis=0)
    varied = deviation > 0
    values = (values - values.mean(axis=0))[:, varied] / deviation[varied]
    between = cdist(values, values)
    between /= between.max() or 1.0
    distances = np.ones((count, count))
    distances[np.ix_(known, known)] = between[: len(known), : len(known)]
    np.fill_diagonal(distances, 0.0)
    nearest = np.ones(count)
    if labelled:
        nearest[known] = between[: len(known), len(known) :].min(axis=1)
    annotated = [i for i, item in enumerate(candidates) if item.case.annotated_fraction]
    if annotated:
        nearest = np.minimum(nearest, distances[:, annotated].min(axis=1))
    return distances, nearest


def _source(item: Candidate) -> tuple[str, int] | None:
    """Run that a candidate's features are of, and their number; None without any."""
    score = item.stored_score
    if item.run is None or score is None or not score.features:
        return None
    return item.run.id, len(score.features)
