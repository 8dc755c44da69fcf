"""Between a case's own grid and the working grid of a plan.

Both grids cover the same box of space, edge to edge, so that positions map as
``align_corners=False`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

Shape = tuple[int, int, int]


def working_shape(
    shape: Sequence[int], spacing_mm: Sequence[float], working_mm: Sequence[float]
) -> Shape:
    """Number of working voxels that cover a grid."""
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


def slabs(
    volume: Tensor, shape: Shape, voxels: int = 4_000_000
) -> Iterator[tuple[slice, Tensor]]:
    """Trilinear resampling of (K, Z, Y, X) in slabs along z, in bounded memory.

    Yields the slice of output planes and their values (K, n, Y, X), float32; the
    concatenation equals ``interpolate(..., mode="trilinear")``.
    """
    depth = volume.shape[1]
    step = max(1, voxels // (volume.shape[0] * shape[1] * shape[2]))
    for start in range(0, shape[0], step):
        stop = min(shape[0], start + step)
        position = (torch.arange(start, stop) + 0.5) * (depth / shape[0]) - 0.5
        position = position.clamp(0, depth - 1)
        below = position.floor().long()
        above = (below + 1).clamp(max=depth - 1)
        share = (position - below).view(1, -1, 1, 1)
        planes = torch.lerp(volume[:, below].float(), volume[:, above].float(), share)
        yield (
            slice(start, stop),
            functional.interpolate(
                planes, size=shape[1:], mode="bilinear", align_corners=False
            ),
        )
