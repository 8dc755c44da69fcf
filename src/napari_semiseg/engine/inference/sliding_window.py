"""Sliding-window inference over a whole volume, in bounded memory.

Windows overlap by half and are blended with a Gaussian, as nnU-Net's are. Only the
planes that later windows still reach are held: the memory does not grow with the
number of slices.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

STEP = 0.5
"""Distance of windows over their size, as in nnU-Net."""
COARSE_STEP = 0.75
"""The same of the coarse pass over a large volume."""
MANY_WINDOWS = 100
"""Volumes of more windows get a coarse pass first."""
FAINT = 0.02
"""Probability of any structure from which on a place is predicted closely."""
MARGIN = 0.25
"""How far around it, over the size of a window."""
PLANES = 8
"""Finished planes that are given out at once."""

Box = tuple[slice, slice, slice]


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

    def __iter__(self) -> Iterator[Box]:
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
    >>> image = torch.rand(1, 40, 32, 32)
    >>> sampler = GridSampler(image.shape[1:], (16, 16, 16))
    >>> aggregator = PatchAggregator(sampler, channels=1)
    >>> planes = []
    >>> for box in sampler:
    ...     planes += aggregator.planes_before(box[0].start)
    ...     aggregator.add(image[(..., *box)], box)
    >>> planes += aggregator.planes_before(image.shape[1])
    >>> torch.allclose(torch.cat(planes, dim=1), image)
    True
    """

    def __init__(self, sampler: GridSampler, channels: int) -> None:
        patch = sampler.patch
        self._weight = gaussian_window(patch)
        self._total = torch.zeros((channels + 1, patch[0], *sampler.shape[1:]))
        self._first = 0

    def add(self, maps: Tensor, box: Box) -> None:
        """Add the maps (K, z, y, x) of a window."""
        inner = (slice(None), *box[1:])
        self._total[(slice(0, -1), *inner)] += maps * self._weight
        self._total[(-1, *inner)] += self._weight

    def planes_before(self, stop: int) -> Iterator[Tensor]:
        """Give out the planes before ``stop``, which no window to come reaches.

        Yields
        ------
        Tensor (K, n, Y, X)
            The next n planes, float32; NaN where no window was added.
        """
        done = stop - self._first
        for start in range(0, done, PLANES):
            planes = self._total[:, start : min(done, start + PLANES)]
            weight = planes[-1:]
            mean = planes[:-1] / weight.clamp_min(1e-6)
            yield mean.where(weight > 0, torch.nan)
        if done > 0:
            kept = self._total[:, done:]
            left = kept.shape[1]
            self._total[:, :left] = kept if left <= done else kept.clone()
            self._total[:, left:] = 0
            self._first = stop


def sliding_window(
    image: Tensor,
    patch: Sequence[int],
    channels: int,
    predict: Callable[[Tensor, Box], Tensor],
    boxes: Sequence[Box] | None = None,
    step: float = STEP,
) -> Iterator[Tensor]:
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
    Tensor (K, n, Y, X)
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


def _start(box: Box) -> tuple[int, int, int]:
    return box[0].start, box[1].start, box[2].start


def windows_near_foreground(
    image: Tensor, patch: Sequence[int], foreground: Callable[[Tensor], Tensor]
) -> list[Box] | None:
    """Find the windows near any structure by a coarse pass; None for all windows.

    Small volumes get no coarse pass, and where it finds nothing, nothing is left out.

    Parameters
    ----------
    image : Tensor (..., Z, Y, X)
        The volume.
    patch : (z, y, x)
        Size of a window.
    foreground : callable
        Window (..., z, y, x) to the probability (z, y, x) of any structure.
    """
    shape = image.shape[-3:]
    sampler = GridSampler(shape, patch)
    if len(sampler) <= MANY_WINDOWS:
        return None
    margin = np.ceil(np.multiply(patch, MARGIN)).astype(int)
    found = []
    for box in GridSampler(shape, patch, COARSE_STEP):
        places = (foreground(image[(..., *box)]) > FAINT).nonzero()
        if len(places):
            start = np.array(_start(box))
            low = start + places.amin(dim=0).cpu().numpy() - margin
            high = start + places.amax(dim=0).cpu().numpy() + 1 + margin
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


def padded(image: Tensor, patch: Sequence[int]) -> tuple[Tensor, Box]:
    """Give a volume (..., Z, Y, X) at least the size of a window, and where it lies."""
    padding: list[int] = []
    inner = []
    for size, edge in zip(image.shape[-3:], patch, strict=True):
        missing = max(0, edge - size)
        padding = [missing // 2, missing - missing // 2, *padding]
        inner.append(slice(missing // 2, missing // 2 + size))
    larger = functional.pad(image, padding) if any(padding) else image
    return larger, (inner[0], inner[1], inner[2])


def gaussian_window(patch: Sequence[int]) -> Tensor:
    """Weight of a window: a Gaussian, sigma an eighth of the size, at least 1e-3."""
    window = torch.ones(())
    for size in patch:
        position = torch.arange(size) - (size - 1) / 2
        window = window[..., None] * torch.exp(-0.5 * (position / (size / 8)) ** 2)
    return window.clamp_min(1e-3)
