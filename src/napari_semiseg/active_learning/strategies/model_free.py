"""Choose slices without a model: evenly spread, or at random."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.active_learning.candidates import Candidate, Pool, RankedVolume
from napari_semiseg.active_learning.registry import register
from napari_semiseg.core.boxes import others
from napari_semiseg.core.prediction import SliceScore
from napari_semiseg.io.masks import read_labels

MIDDLE = 0.5
"""Central part of a volume from which slices are drawn without a prediction."""


@register(
    "spread",
    "Evenly spread",
    "Slices evenly through all scans; needs no model.",
    needs_predictions=False,
    slice_distance=1,
)
def spread(pool: Pool) -> list[RankedVolume]:
    """Rank the least annotated volumes first, with evenly spread slices."""
    order = sorted(
        pool.candidates,
        key=lambda item: (item.case.annotated_fraction, pool.rng(item.id).random()),
    )
    return [
        RankedVolume(
            item,
            1 - item.case.annotated_fraction,
            f"{item.case.annotated_fraction:.0%} of it is annotated",
            partial(_even_slices, pool, item),
        )
        for item in order
    ]


def _even_slices(pool: Pool, item: Candidate) -> list[SliceScore]:
    """Slices farthest from annotated ones and from each other, then the rest."""
    axis = pool.slice_axis(item)
    annotated = item.annotated_slices[axis]
    size = item.case.geometry.shape_zyx[axis]
    index = np.arange(size)
    # An end counts like a neighbour at twice its distance: 1/2, 1/6, 5/6, 1/3, …
    distance = 2 * np.minimum(index + 0.5, size - index - 0.5)
    for done in annotated:
        distance = np.minimum(distance, np.abs(index - done))
    found = []
    for _ in range(size - len(annotated)):
        best = int(np.argmax(distance))
        place = SliceScore(
            axis=axis,
            index=best,
            score=float(distance[best] / size),
            reason="farthest from what is annotated",
        )
        found.append(place)
        distance = np.minimum(distance, np.abs(index - best))
    return found


@register(
    "random",
    "At random",
    "Any scan, and slices through what was predicted in it; needs no model.",
    needs_predictions=False,
)
def at_random(pool: Pool) -> list[RankedVolume]:
    """Draw volumes, and slices through what was predicted in them.

    Few strategies of active learning beat it (nnActive, arXiv:2511.19183). Without a
    prediction slices are drawn from the middle half of the volume.
    """
    order = sorted(pool.candidates, key=lambda item: pool.rng(item.id).random())
    return [
        RankedVolume(
            item, _score(item), "drawn at random", partial(_random_slices, pool, item)
        )
        for item in order
    ]


def _score(item: Candidate) -> float:
    return 0.0 if item.stored_score is None else item.stored_score.uncertainty


def _random_slices(pool: Pool, item: Candidate) -> list[SliceScore]:
    axis = pool.slice_axis(item)
    size = item.case.geometry.shape_zyx[axis]
    margin = int(size * (1 - MIDDLE) / 2)
    inside = np.arange(margin, size - margin)
    reason = "drawn at random through the middle, nothing was predicted"
    found = _predicted(item, axis)
    if len(found):
        inside, reason = found, "drawn at random through what was predicted"
    return [
        SliceScore(axis=axis, index=int(index), score=_score(item), reason=reason)
        for index in pool.rng(item.id, axis).permutation(inside)
    ]


def _predicted(item: Candidate, axis: int) -> NDArray[np.intp]:
    """Slices through the predicted foreground; read from the mask in old records."""
    if item.run is None:
        return np.arange(0)
    score = item.stored_score
    if score is not None and score.reach is not None:
        low, high = dict(enumerate(score.reach)).get(axis, (0, -1))
        return np.arange(item.case.geometry.shape_zyx[axis])[low : high + 1]
    path = item.run.folder.prediction(item.id).labels
    labels = read_labels(path, item.case.geometry)
    return np.flatnonzero(labels.any(axis=others(axis)))
