"""Sliding-window inference over a whole volume, in bounded memory.

Windows overlap by a quarter and are blended with a Gaussian, as nnU-Net's are. Only the
planes that later windows still reach are held: the memory does not grow with the
number of slices.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.boxes import VolumeBox

STEP = 0.75
"""Distance of windows over their size. nnU-Net's 0.5 takes up to 2.5 times as long for
masks that are no better on hearts, atria, hippocampi and heads; 1.0 leaves seams."""
SIGMA = 0.125
"""Deviation of a window's weights over its size, as in nnU-Net."""
COARSE_STEP = 0.75
"""The same of the coarse pass over a large volume."""
MANY_WINDOWS = 100
"""Volumes of more windows get a coarse pass first."""
FAINT = 0.02
"""Probability of any structure from which on a place is predicted closely."""
MARGIN = 0.25
"""How far around it, over the size of a window."""
PLANES_AT_ONCE = 8
"""Finished planes that are given out at once."""

Start = tuple[int, int, int]


class GridSampler:
    """Boxes of windows that cover a volume evenly, ordered by their first plane.

    Parameters
    ----------
    shape, patch : (z, y, x)
        Size of the volume, at least that of a window (see `padded`), and of a window.
    step : float
        Largest distance of two windows over their size.
    """

    def __init__(
        self, shape: Sequence[int], patch: Sequence[int], step: float = STEP
    ) -> None:
        self.shape = tuple(shape)
        self.patch = tuple(patch)
        self._starts = []
        for size, edge in zip(shape, patch, strict=True):
            count = int(np.ceil((size - edge) / (edge * step))) + 1
            self._starts.append(np.linspace(0, size - edge, count).round().astype(int))

    def __len__(self) -> int:
        """Count the windows."""
        return int(np.prod([len(starts) for starts in self._starts]))

    def __iter__(self) -> Iterator[VolumeBox]:
        """Give the boxes one by one."""
        for start in itertools.product(*self._starts):
            z, y, x = (
                slice(int(first), int(first) + edge)
                for first, edge in zip(start, self.patch, strict=True)
            )
            yield z, y, x


class PatchAggregator:
    """Blends the maps of overlapping windows, and gives out finished planes.

    Parameters
    ----------
    sampler : GridSampler
        Where the windows lie.
    channels : int
        K, the number of maps.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((1, 40, 32, 32), np.float32)
    >>> sampler = GridSampler(image.shape[1:], (16, 16, 16))
    >>> aggregator = PatchAggregator(sampler, channels=1)
    >>> planes = []
    >>> for box in sampler:
    ...     planes += aggregator.planes_before(box[0].start)
    ...     aggregator.add(image[(..., *box)], box)
    >>> planes += aggregator.planes_before(image.shape[1])
    >>> np.allclose(np.concatenate(planes, axis=1), image)
    True
    """

    def __init__(self, sampler: GridSampler, channels: int) -> None:
        patch = sampler.patch
        self._weight = gaussian_window(patch)
        self._total = np.zeros((channels + 1, patch[0], *sampler.shape[1:]), np.float32)
        self._first = 0

    def add(self, maps: NDArray[np.float32], box: VolumeBox) -> None:
        """Add the maps (K, z, y, x) of a window."""
        inner = (slice(None), *box[1:])
        self._total[(slice(0, -1), *inner)] += maps * self._weight
        self._total[(-1, *inner)] += self._weight

    def planes_before(self, stop: int) -> Iterator[NDArray[np.float32]]:
        """Give out the planes before ``stop``, which no window to come reaches.

        Yields
        ------
        ndarray (K, n, Y, X)
            The next n planes, float32; NaN where no window was added.
        """
        done = stop - self._first
        for start in range(0, done, PLANES_AT_ONCE):
            planes = self._total[:, start : min(done, start + PLANES_AT_ONCE)]
            weight = planes[-1:]
            mean = planes[:-1] / np.maximum(weight, np.float32(1e-6))
            yield np.where(weight > 0, mean, np.float32(np.nan))
        if done > 0:
            kept = self._total[:, done:]
            left = kept.shape[1]
            self._total[:, :left] = kept
            self._total[:, left:] = 0
            self._first = stop


def sliding_window(
    image: NDArray[np.float32],
    patch: Sequence[int],
    channels: int,
    predict: Callable[[NDArray[np.float32], VolumeBox], NDArray[np.float32]],
    boxes: Sequence[VolumeBox] | None = None,
    step: float = STEP,
) -> Iterator[NDArray[np.float32]]:
    """Predict a volume (..., Z, Y, X) window by window, and blend the maps.

    Parameters
    ----------
    image, patch, channels, step
        As in `GridSampler` and `PatchAggregator`.
    predict : callable
        Window (..., z, y, x), and where it lies, to maps (K, z, y, x).
    boxes : sequence of box, optional
        Which windows of the grid to predict; all by default.

    Yields
    ------
    ndarray (K, n, Y, X)
        As `PatchAggregator.planes_before`.
    """
    sampler = GridSampler(image.shape[-3:], patch, step)
    aggregator = PatchAggregator(sampler, channels)
    chosen = None if boxes is None else {_start(box) for box in boxes}
    for box in sampler:
        yield from aggregator.planes_before(box[0].start)
        if chosen is None or _start(box) in chosen:
            aggregator.add(predict(image[(..., *box)], box), box)
    yield from aggregator.planes_before(image.shape[-3])


def _start(box: VolumeBox) -> Start:
    return box[0].start, box[1].start, box[2].start


def windows_near_foreground(
    image: NDArray[np.float32],
    patch: Sequence[int],
    foreground: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    step: float = STEP,
) -> list[VolumeBox] | None:
    """Find the windows near any structure by a coarse pass; None for all windows.

    Small volumes get no coarse pass, and where it finds nothing, nothing is left out.

    Parameters
    ----------
    image : ndarray (..., Z, Y, X)
        The volume.
    patch : (z, y, x)
        Size of a window.
    foreground : callable
        Window (..., z, y, x) to the probability (z, y, x) of any structure.
    step : float
        As in `GridSampler`.
    """
    shape = image.shape[-3:]
    sampler = GridSampler(shape, patch, step)
    if len(sampler) <= MANY_WINDOWS:
        return None
    margin = np.ceil(np.multiply(patch, MARGIN)).astype(int)
    found = []
    for box in GridSampler(shape, patch, COARSE_STEP):
        places = np.argwhere(foreground(image[(..., *box)]) > FAINT)
        if len(places):
            start = np.array(_start(box))
            low = start + places.min(axis=0) - margin
            high = start + places.max(axis=0) + 1 + margin
            found.append((low, high))
    if not found:
        return None
    lows, highs = (np.stack(side) for side in zip(*found, strict=True))
    near = []
    for box in sampler:
        start = np.array(_start(box))
        if ((start < highs) & (start + patch > lows)).all(axis=1).any():
            near.append(box)
    return near


def predict_planes(
    image: NDArray[np.float32],
    patch: Sequence[int],
    elsewhere: Sequence[float],
    predict: Callable[[NDArray[np.float32], Start], NDArray[np.float32]],
    foreground: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    step: float = STEP,
) -> Iterator[NDArray[np.float32]]:
    """Predict a volume of any size, where there may be something, in blocks of planes.

    Parameters
    ----------
    image : ndarray (..., Z, Y, X)
        The volume.
    patch : (z, y, x)
        Size of a window.
    elsewhere : sequence of K float
        Values of the maps where no window needs to be predicted.
    predict : callable
        Window (..., z, y, x), and where it starts in ``image``, to maps (K, z, y, x).
    foreground, step
        As in `windows_near_foreground`.

    Yields
    ------
    ndarray (K, n, Y, X)
        From the first plane to the last, float32.
    """
    larger, inner = padded(image, patch)
    boxes = windows_near_foreground(larger, patch, foreground, step)
    offset = tuple(edge.start for edge in inner)

    def predicted(window: NDArray[np.float32], box: VolumeBox) -> NDArray[np.float32]:
        z, y, x = (one - other for one, other in zip(_start(box), offset, strict=True))
        return predict(window, (z, y, x))

    certain = np.array(elsewhere, np.float32).reshape(-1, 1, 1, 1)
    depth, at = image.shape[-3], -offset[0]
    channels = len(elsewhere)
    for block in sliding_window(larger, patch, channels, predicted, boxes, step):
        where = slice(max(0, -at), max(0, depth - at))
        at += block.shape[1]
        maps = block[:, where, inner[1], inner[2]]
        yield maps if boxes is None else np.where(np.isnan(maps), certain, maps)


def padded(
    image: NDArray[np.float32], patch: Sequence[int]
) -> tuple[NDArray[np.float32], VolumeBox]:
    """Give a volume (..., Z, Y, X) at least the size of a window, and where it lies."""
    margins, inner = [(0, 0)] * (image.ndim - 3), []
    for size, edge in zip(image.shape[-3:], patch, strict=True):
        missing = max(0, edge - size)
        margins.append((missing // 2, missing - missing // 2))
        inner.append(slice(missing // 2, missing // 2 + size))
    larger = np.pad(image, margins) if np.any(margins) else image
    return larger, (inner[0], inner[1], inner[2])


def mirrored_views(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Axes that are mirrored in each of the views to average, none in the first."""
    return [
        chosen
        for count in range(len(axes) + 1)
        for chosen in itertools.combinations(axes, count)
    ]


def gaussian_window(patch: Sequence[int]) -> NDArray[np.float32]:
    """Weight of a window: a Gaussian, sigma an eighth of the size, at least 1e-3."""
    window = np.ones((), np.float32)
    for size in patch:
        position = (np.arange(size) - (size - 1) / 2) * (1 / (SIGMA * size))
        window = window[..., None] * np.exp(-0.5 * position**2).astype(np.float32)
    return np.maximum(window, np.float32(1e-3))
