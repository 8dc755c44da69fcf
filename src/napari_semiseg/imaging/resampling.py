"""Resample between a case's own grid and the working grid of a plan.

Both grids cover the same box of space, edge to edge, so that positions map as
``align_corners=False`` of PyTorch does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

Shape = tuple[int, int, int]

THICK = 1.5
"""From so much longer than wide, voxels are of slices that are thick."""
ALIKE = 2.0
"""Slices are kept where they are up to so much thicker or thinner than those of most
cases: an organ moves and changes between thick slices, and their mean shows neither."""


def thick_axis(spacing_mm: Sequence[float]) -> int | None:
    """Find the axis across thick slices, if voxels are of such."""
    wider, longest = sorted(spacing_mm)[1:]
    return list(spacing_mm).index(longest) if longest >= THICK * wider else None


def working_shape(
    shape: Sequence[int], spacing_mm: Sequence[float], working_mm: Sequence[float]
) -> Shape:
    """Count the working voxels that cover a grid; thick slices are kept as they are."""
    counts = [
        max(1, round(size * step / working))
        for size, step, working in zip(shape, spacing_mm, working_mm, strict=True)
    ]
    across = thick_axis(working_mm)
    if across is not None:
        ratio = round(spacing_mm[across] / working_mm[across], 2)
        if 1 / ALIKE <= ratio <= ALIKE:
            counts[across] = int(shape[across])
    z, y, x = counts
    return z, y, x


def linear_weights(own: int, target: int) -> NDArray[np.float32]:
    """Matrix (target, own) that interpolates linearly along an axis."""
    position = np.clip((np.arange(target) + 0.5) * (own / target) - 0.5, 0, own - 1)
    below = position.astype(int)
    weights = np.zeros((target, own), np.float32)
    rows = np.arange(target)
    weights[rows, np.minimum(below + 1, own - 1)] = position - below
    weights[rows, below] += (1 - (position - below)).astype(np.float32)
    return weights


def axis_weights(own: int, target: int) -> NDArray[np.float32]:
    """Matrix (target, own) of `resample`: averages when shrinking, else linear."""
    if target >= own:
        return linear_weights(own, target)
    low = np.arange(target) * own // target
    high = -(-np.arange(1, target + 1) * own // target)
    at = np.arange(own)
    within = (at >= low[:, None]) & (at < high[:, None])
    shares = within / within.sum(axis=1, keepdims=True)
    weights: NDArray[np.float32] = shares.astype(np.float32)
    return weights


def resample(volume: NDArray[np.float32], shape: Shape) -> NDArray[np.float32]:
    """Resample (K, Z, Y, X) float maps: averages when shrinking, else trilinear."""
    axes = sorted(range(3), key=lambda axis: shape[axis] / volume.shape[axis + 1])
    for axis in axes:
        own, target = volume.shape[axis + 1], shape[axis]
        if own != target:
            volume = _along(volume, axis_weights(own, target), axis + 1)
    return volume


def _along(
    volume: NDArray[np.float32], weights: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Multiply by a matrix (target, own) along an axis."""
    before, (own, *after) = volume.shape[:axis], volume.shape[axis:]
    if after:
        moved = weights @ volume.reshape(math.prod(before), own, math.prod(after))
    else:
        moved = volume.reshape(-1, own) @ weights.T
    result: NDArray[np.float32] = moved.reshape(*before, len(weights), *after)
    return result


def joined(
    mask: NDArray[np.bool_], starts: NDArray[np.int_], axis: int
) -> NDArray[np.bool_]:
    """Tell whether anything is true from each start to the next, along an axis."""
    bits = mask.view(np.uint8)  # which NumPy joins many at a time
    parts = np.split(bits, starts[1:], axis=axis)
    found = [np.bitwise_or.reduce(part, axis=axis) for part in parts]
    return np.stack(found, axis=axis).view(bool)


def slabs(
    blocks: Iterable[NDArray[np.float32]],
    depth: int,
    shape: Shape,
    voxels: int = 4_000_000,
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Resample maps that come in blocks of planes, in bounded memory.

    Parameters
    ----------
    blocks : iterable of ndarray (K, n, Y, X), float32
        The maps from their first plane to their last; each is taken when needed.
    depth : int
        Number of all their planes.
    shape : (z, y, x)
        What to resample to.
    voxels : int
        Most values to give at once, though always a whole plane.

    Yields
    ------
    slice, ndarray (K, n, Y, X)
        Output planes and their values, float32: trilinear interpolation.
    """
    weights = linear_weights(depth, shape[0])
    below = (weights > 0).argmax(axis=1)
    above = depth - 1 - (weights[:, ::-1] > 0).argmax(axis=1)
    held: NDArray[np.float32] | None = None
    first = start = 0
    for block in blocks:
        held = block if held is None else np.concatenate([held, block], axis=1)
        stop = first + held.shape[1]
        step = max(1, voxels // (len(block) * shape[1] * shape[2]))
        ready = int((above < stop).sum())
        while start < ready:
            planes = slice(start, min(ready, start + step))
            part = _along(held, weights[planes, first:stop], 1)
            for axis in (2, 3):
                own, target = part.shape[axis], shape[axis - 1]
                if own != target:
                    part = _along(part, linear_weights(own, target), axis)
            yield planes, part
            start = planes.stop
        if start < shape[0]:
            # The next plane that is needed may lie behind those that came by now.
            passed = min(int(below[start]), stop) - first
            held, first = held[:, passed:], first + passed
