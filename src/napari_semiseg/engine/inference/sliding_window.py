"""A network over a whole volume, window by window and plane by plane.

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
"""The same of the first look at a large volume."""
MANY_WINDOWS = 100
"""Volumes of more windows are looked at coarsely first."""
FAINT = 0.02
"""Probability of any structure from which on a place is looked at closely."""
MARGIN = 0.25
"""How far around it, over the size of a window."""

PLANES = 8
"""Finished planes that are given out at once."""

Box = tuple[slice, slice, slice]


def sweep(
    image: Tensor,
    patch: Sequence[int],
    channels: int,
    look: Callable[[Tensor], Tensor],
    boxes: Sequence[Box] | None = None,
) -> Iterator[Tensor]:
    """Blend what is said of overlapping windows.

    Parameters
    ----------
    image : Tensor (..., Z, Y, X)
        The volume, at least as large as a window; see `padded`.
    patch : (z, y, x)
        Size of a window.
    channels : int
        K, the number of maps.
    look : callable
        Window (..., z, y, x) to maps (K, z, y, x).
    boxes : sequence of box, optional
        Which windows of `windows` to look at; all by default.

    Yields
    ------
    Tensor (K, n, Y, X)
        The next n planes, float32; NaN where no window was looked at.
    """
    shape = image.shape[-3:]
    weight = gaussian_window(patch)
    wanted = None if boxes is None else {_start(box) for box in boxes}
    total = torch.zeros((channels + 1, patch[0], *shape[1:]))
    first = 0
    layers = itertools.groupby(windows(shape, patch), key=lambda box: box[0].start)
    for start, layer in layers:
        if start > first:
            done = start - first
            yield from _means(total[:, :done])
            left = patch[0] - done
            kept = total[:, done:]
            total[:, :left] = kept if left <= done else kept.clone()
            total[:, left:] = 0
            first = start
        for box in layer:
            if wanted is None or _start(box) in wanted:
                inner = (slice(None), *box[1:])
                total[(slice(0, -1), *inner)] += look(image[(..., *box)]) * weight
                total[(-1, *inner)] += weight
    yield from _means(total[:, : shape[0] - first])


def _means(total: Tensor) -> Iterator[Tensor]:
    """Weighted means of finished planes, a few at a time."""
    for start in range(0, total.shape[1], PLANES):
        planes = total[:, start : start + PLANES]
        weight = planes[-1:]
        yield (planes[:-1] / weight.clamp_min(1e-6)).where(weight > 0, torch.nan)


def _start(box: Box) -> tuple[int, int, int]:
    return box[0].start, box[1].start, box[2].start


def worthwhile(
    image: Tensor, patch: Sequence[int], foreground: Callable[[Tensor], Tensor]
) -> list[Box] | None:
    """Windows near anything that a first, coarser look finds; None for all of them.

    Small volumes are not worth the look, and where it finds nothing, nothing is left
    out: that a structure is absent is not said from a glance.

    Parameters
    ----------
    image : Tensor (..., Z, Y, X)
        The volume.
    patch : (z, y, x)
        Size of a window.
    foreground : callable
        Window (..., z, y, x) to the probability (z, y, x) of any structure.
    """
    boxes = list(windows(image.shape[-3:], patch))
    if len(boxes) <= MANY_WINDOWS:
        return None
    reach = np.ceil(np.multiply(patch, MARGIN)).astype(int)
    found = []
    for box in windows(image.shape[-3:], patch, COARSE_STEP):
        places = (foreground(image[(..., *box)]) > FAINT).nonzero()
        if len(places):
            start = np.array(_start(box))
            low = start + places.amin(dim=0).cpu().numpy() - reach
            high = start + places.amax(dim=0).cpu().numpy() + 1 + reach
            found.append((low, high))
    if not found:
        return None
    lows, highs = (np.stack(side) for side in zip(*found, strict=True))
    near = []
    for box in boxes:
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


def windows(
    shape: Sequence[int], patch: Sequence[int], step: float = STEP
) -> Iterator[Box]:
    """Boxes of ``patch`` that cover ``shape`` evenly, at most ``step`` of it apart."""
    starts = []
    for size, edge in zip(shape, patch, strict=True):
        count = int(np.ceil((size - edge) / (edge * step))) + 1
        starts.append(np.round(np.linspace(0, size - edge, count)).astype(int))
    for z, y, x in itertools.product(*starts):
        yield (
            slice(int(z), int(z) + patch[0]),
            slice(int(y), int(y) + patch[1]),
            slice(int(x), int(x) + patch[2]),
        )
