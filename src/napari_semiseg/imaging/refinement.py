"""Spread corrections over a volume by what the network has seen of it.

A linear classifier per case, on the decoder's maps of every level, on the network's own
logits and on the position, that starts from these logits, as the image-specific
fine-tuning of Wang et al. (BIFSeg, IEEE Trans. Med. Imaging 2018) starts from the
trained network, but is fitted in a fraction of a second without it. What it leaves
wrong at corrected voxels is added around them, averaged by a Gaussian (Nadaraya,
Theory Probab. Appl. 1964).

Distances are in voxels of the working grid, which is about as coarse across thick
slices as these are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_semiseg.core.boxes import bounding_box
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.core.prediction import LOWEST_LOG, FeatureMaps
from napari_semiseg.imaging.distance import distance_outside

if TYPE_CHECKING:
    Floats = NDArray[np.float32]

FADE_VOXELS = 10.0
"""Distance at which the classifier has no influence."""
REST, REST_VOXELS = 6.0, 2.0
"""Weight in the logits of what the classifier leaves wrong, width of its average."""
LEAST_NEAR = 0.02
"""Part of corrected voxels around a voxel at which that counts half."""
KEEP = 0.3
"""Weight of the prediction elsewhere, over that of the corrections; the same again of
each class that no correction has: its absence there does not say that it is nowhere."""
RIDGE = 30.0
"""Weight of the squared coefficients, over that of one corrected voxel."""
ROUNDS = 25
"""Steps of the fit."""
MOST_CORRECTED, MOST_KEPT = 12_000, 4_000
"""Voxels that the classifier is fitted to."""


def refine_labels(
    maps: FeatureMaps,
    predicted: NDArray[np.uint8],
    corrected: NDArray[np.uint8],
    values: Sequence[int],
) -> NDArray[np.uint8]:
    """Predict anew what lies around corrections.

    Multinomial logistic regression with a ridge on ``corrected``, and with a small
    weight on the prediction elsewhere. What it adds to the logits of the network fades
    linearly with the distance from the corrections; what it leaves wrong there is
    added close to them.

    Parameters
    ----------
    maps : FeatureMaps
        Stored with the prediction.
    predicted : ndarray (Z, Y, X), uint8
        Its mask: values of classes, 0 for background.
    corrected : ndarray (Z, Y, X), uint8
        The same where a person has annotated, 255 elsewhere.
    values : sequence of int
        Of the classes, in the order of the maps.

    Returns
    -------
    ndarray (Z, Y, X), uint8
        A new mask; ``predicted`` where no other class is likelier, ``corrected``
        where that is known.
    """
    logits = _logits(maps)
    grid = logits.shape[1:]
    classes = np.array([0, *values], np.uint8)
    result = np.where(corrected == UNANNOTATED, predicted, corrected)
    where = np.nonzero(corrected != UNANNOTATED)
    if not where[0].size:
        return result
    targets = np.searchsorted(classes, corrected[where])
    shares = _shares(where, targets, len(classes), corrected.shape, grid)
    far = distance_outside(shares.max(axis=0) > 0, (1.0, 1.0, 1.0))
    influence = np.clip(1 - far / np.float32(FADE_VOXELS), 0, 1)
    chosen = np.random.default_rng(0).permutation(targets.size)[:MOST_CORRECTED]
    corrections = [
        _places(index[chosen], many / few, few)
        for index, many, few in zip(where, corrected.shape, grid, strict=True)
    ]
    classifier = _fit(
        maps, logits, np.stack(corrections, 1), targets[chosen], influence
    )
    changed = logits + influence * _apply(classifier, maps, logits)
    _add_rest(changed, shares)
    box = bounding_box(changed.argmax(axis=0) != logits.argmax(axis=0), (1, 1, 1))
    if box is None:
        return result
    own, places = [], []
    for edge, few, many in zip(box, grid, corrected.shape, strict=True):
        at = _places(np.arange(many), many / few, few)
        inside = np.flatnonzero((at >= edge.start) & (at <= edge.stop - 1))
        own.append(slice(inside[0], inside[-1] + 1))
        places.append(at[inside])
    before, after = (
        _interpolated(one, places).argmax(axis=0) for one in (logits, changed)
    )
    here = result[tuple(own)]
    open_to_change = (before != after) & (corrected[tuple(own)] == UNANNOTATED)
    here[open_to_change] = classes[after[open_to_change]]
    return result


def _logits(maps: FeatureMaps) -> Floats:
    """Log probabilities (C, Z, Y, X)."""
    stored = maps.log_probabilities.astype(np.float32)
    return np.float32(LOWEST_LOG) * (1 - stored / np.float32(255))


def _shares(
    at: Sequence[NDArray[np.intp]],
    targets: NDArray[np.intp],
    classes: int,
    shape: Sequence[int],
    grid: Sequence[int],
) -> Floats:
    """Part of each class (C, Z, Y, X) in the corrected voxels of each place, or 0."""
    cells = [
        (place * few) // many for place, few, many in zip(at, grid, shape, strict=True)
    ]
    flat = np.ravel_multi_index((targets, *cells), (classes, *grid))
    votes = np.bincount(flat, minlength=classes * int(np.prod(grid)))
    votes = votes.reshape(classes, *grid).astype(np.float32)
    found: Floats = votes / np.maximum(votes.sum(axis=0), 1)
    return found


def _fit(
    maps: FeatureMaps,
    logits: Floats,
    places: NDArray[np.float64],
    targets: NDArray[np.intp],
    influence: Floats,
) -> Floats:
    """Coefficients (F + 1, C) of the features, the last ones the constants.

    At corrected ``places`` (N, 3), voxels of the grid, and at others that keep what was
    predicted. Newton's method with the bound of the Hessian by Böhning (Ann. Inst.
    Stat. Math. 1992) in place of it: each step lowers the loss, and none needs another
    decomposition.
    """
    elsewhere = np.flatnonzero((influence > 0) & (influence < 1))
    kept = np.random.default_rng(0).permutation(elsewhere)[:MOST_KEPT]
    others = np.stack(np.unravel_index(kept, influence.shape), axis=1)
    count, rest = len(places), max(len(kept), 1)
    weights = np.array([1 / count, KEEP / rest], np.float32)
    share = np.repeat(weights, [count, len(kept)])
    features = _features_at(maps, logits, np.concatenate([places, others]))
    base = features[:, : len(logits)].copy()
    predicted = base[count:].argmax(axis=1)
    for unseen in np.setdiff1d(predicted, targets):
        here = predicted == unseen
        share[count:][here] = KEEP / np.float32(here.sum())
    truth = np.eye(len(logits), dtype=np.float32)[np.concatenate([targets, predicted])]
    middle, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    features = (features - middle) / spread
    features = np.hstack([features, np.ones_like(features[:, :1])])
    features[count:] *= influence.ravel()[kept, None]
    ridge = np.float32(RIDGE / count)
    bound = 0.5 * (features.T * share) @ features + ridge * np.eye(features.shape[1])
    inverse = np.linalg.inv(bound.astype(np.float64)).astype(np.float32)
    found = np.zeros((features.shape[1], len(logits)), np.float32)
    for _ in range(ROUNDS):
        scores = base + features @ found
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = odds / odds.sum(axis=1, keepdims=True) - truth
        found -= inverse @ (features.T @ (share[:, None] * error) + ridge * found)
    found[:-1] /= spread[:, None]
    found[-1] -= middle @ found[:-1]
    return found


def _add_rest(logits: Floats, shares: Floats) -> None:
    """Add what is wrong at corrected voxels to the logits (C, Z, Y, X) around them."""
    known = shares.max(axis=0) > 0
    box = bounding_box(known, (4 * REST_VOXELS,) * 3)
    assert box is not None
    here = (slice(None), *box)
    blur = partial(gaussian_filter, sigma=REST_VOXELS, mode="nearest")
    near = blur(known[box].astype(np.float32)) + np.float32(LEAST_NEAR)
    odds = np.exp(logits[here] - logits[here].max(axis=0))
    odds /= odds.sum(axis=0)
    for index, one in enumerate(odds):
        wrong = np.where(known[box], shares[index][box] - one, np.float32(0))
        if np.abs(wrong).max() > LEAST_NEAR:
            logits[index][box] += REST * blur(wrong) / near


def _blocks(
    maps: FeatureMaps, logits: Floats
) -> Iterator[tuple[NDArray[Any], Sequence[float]]]:
    """Features (F, z, y, x) by level, and voxels of the grid per voxel of each."""
    yield logits, (1.0, 1.0, 1.0)
    yield from zip(maps.levels, maps.strides, strict=True)


def _features_at(
    maps: FeatureMaps, logits: Floats, position: NDArray[np.floating]
) -> Floats:
    """Features (N, F) at places (N, 3): every block interpolated, and the position."""
    found = []
    for block, strides in _blocks(maps, logits):
        low, part, flat = [], [], block.reshape(len(block), -1)
        for axis in range(3):
            at = _places(position[:, axis], strides[axis], block.shape[axis + 1])
            low.append(at.astype(np.intp))
            part.append((at - low[-1]).astype(np.float32))
        total = np.zeros((len(block), len(position)), np.float32)
        for corner in np.ndindex(2, 2, 2):
            index, weight = [], np.ones(len(position), np.float32)
            for axis, side in enumerate(corner):
                index.append(np.minimum(low[axis] + side, block.shape[axis + 1] - 1))
                weight = weight * (part[axis] if side else 1 - part[axis])
            place = np.ravel_multi_index(index, block.shape[1:])
            total += weight * flat.take(place, axis=1)
        found.append(total.T)
    return np.hstack([*found, position.astype(np.float32)])


def _apply(classifier: Floats, maps: FeatureMaps, logits: Floats) -> Floats:
    """What the classifier adds to the logits (C, Z, Y, X).

    It is linear: each level is weighed at its own resolution, and then enlarged.
    """
    grid, weights = logits.shape[1:], classifier.T
    total, start = np.zeros_like(logits), 0
    for block, strides in _blocks(maps, logits):
        own = weights[:, start : start + len(block)]
        start += len(block)
        weighed = np.tensordot(own, block.astype(np.float32), axes=1)
        at = [
            _places(np.arange(size), stride, few)
            for size, stride, few in zip(grid, strides, block.shape[1:], strict=True)
        ]
        total += _interpolated(weighed, at)
    for axis, size in enumerate(grid):
        line = np.arange(size, dtype=np.float32)
        shape = [-1 if at == axis else 1 for at in range(3)]
        total += weights[:, start + axis, None, None, None] * line.reshape(shape)
    return total + weights[:, -1, None, None, None]


def _places(index: NDArray[np.number], stride: float, size: int) -> NDArray[np.float64]:
    """Where voxels lie on a grid of larger or smaller ones, in those."""
    found: NDArray[np.float64] = np.clip((index + 0.5) / stride - 0.5, 0, size - 1)
    return found


def _interpolated(maps: Floats, places: Sequence[NDArray[np.float64]]) -> Floats:
    """Maps (C, Z, Y, X) at the given places along each axis, linearly."""
    for axis, at in enumerate(places, start=1):
        low = at.astype(np.intp)
        high = np.minimum(low + 1, maps.shape[axis] - 1)
        part = (at - low).astype(np.float32).reshape([-1, *[1] * (3 - axis)])
        below = np.take(maps, low, axis)
        maps = below + part * (np.take(maps, high, axis) - below)
    return maps
