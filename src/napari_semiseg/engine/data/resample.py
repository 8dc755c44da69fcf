"""Between a case's own grid and the working grid of a plan.

Both grids cover the same box of space, edge to edge, so that positions map as
``align_corners=False`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

Shape = tuple[int, int, int]


def working_shape(
    shape: Sequence[int], spacing_mm: Sequence[float], working_mm: Sequence[float]
) -> Shape:
    """Count the working voxels that cover a grid."""
    z, y, x = (
        max(1, round(size * step / working))
        for size, step, working in zip(shape, spacing_mm, working_mm, strict=True)
    )
    return z, y, x


def resample(volume: Tensor, shape: Shape) -> Tensor:
    """Resample (K, Z, Y, X) float maps: averages when shrinking, else trilinear."""
    current = volume.shape[1:]
    if tuple(current) == shape:
        return volume
    batched = volume.unsqueeze(0)
    smaller = [min(a, b) for a, b in zip(shape, current, strict=True)]
    if smaller != list(current):
        batched = functional.interpolate(batched, size=smaller, mode="area")
    if smaller != list(shape):
        batched = functional.interpolate(
            batched, size=list(shape), mode="trilinear", align_corners=False
        )
    return batched[0]


def joined(
    mask: NDArray[np.bool_], starts: NDArray[np.int_], axis: int
) -> NDArray[np.bool_]:
    """Tell whether anything is true from each start to the next, along an axis."""
    bits = mask.view(np.uint8)  # which NumPy joins many at a time
    parts = np.split(bits, starts[1:], axis=axis)
    found = [np.bitwise_or.reduce(part, axis=axis) for part in parts]
    return np.stack(found, axis=axis).view(bool)


def slabs(
    blocks: Iterable[Tensor], depth: int, shape: Shape, voxels: int = 4_000_000
) -> Iterator[tuple[slice, Tensor]]:
    """Resample maps that come in blocks of planes, in bounded memory.

    Parameters
    ----------
    blocks : iterable of Tensor (K, n, Y, X)
        The maps from their first plane to their last; each is taken when needed.
    depth : int
        Number of all their planes.
    shape : (z, y, x)
        What to resample to.
    voxels : int
        Most values to give at once, though always a whole plane.

    Yields
    ------
    slice, Tensor (K, n, Y, X)
        Output planes and their values, float32; the concatenation equals
        ``interpolate(..., mode="trilinear")``.
    """
    position = (torch.arange(shape[0]) + 0.5) * (depth / shape[0]) - 0.5
    position = position.clamp(0, depth - 1)
    below = position.floor().long()
    above = (below + 1).clamp(max=depth - 1)
    share = (position - below).view(1, -1, 1, 1)
    held, first, start = torch.empty(0), 0, 0
    for block in blocks:
        held = torch.cat([held, block], dim=1) if held.numel() else block
        step = max(1, voxels // (block.shape[0] * shape[1] * shape[2]))
        ready = int((above < first + held.shape[1]).sum())
        while start < ready:
            planes = slice(start, min(ready, start + step))
            low, high = (held[:, index[planes] - first] for index in (below, above))
            yield (
                planes,
                functional.interpolate(
                    torch.lerp(low.float(), high.float(), share[:, planes]),
                    size=shape[1:],
                    mode="bilinear",
                    align_corners=False,
                ),
            )
            start = planes.stop
        if start < shape[0]:
            passed = int(below[start]) - first
            held, first = held[:, passed:], first + passed
