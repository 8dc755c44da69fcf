"""Collect the decoder's maps over a volume, from which corrections spread later."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_semiseg.core.prediction import LOWEST_LOG, FeatureMaps
from napari_semiseg.engine.networks.blocks import Decoder
from napari_semiseg.imaging.sliding_window import gaussian_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from napari_semiseg.imaging.sliding_window import Start

MOST_BYTES = 48_000_000
"""Of the maps of a volume; a larger one is kept on a coarser grid."""


class FeatureAccumulator:
    """Blends decoder maps of overlapping windows, each level at its own resolution.

    Parameters
    ----------
    shape : (z, y, x)
        Size of the volume, working voxels.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = tuple(shape)
        self._recorded: list[Tensor] = []
        self._pooling: list[tuple[int, ...]] = []
        self._strides: list[tuple[int, ...]] = []
        self._totals: list[Tensor] = []

    @contextmanager
    def recording(self, network: nn.Module | None) -> Iterator[None]:
        """Keep what the levels of the first decoder compute in the block."""
        modules = () if network is None else network.modules()
        decoder = next((one for one in modules if isinstance(one, Decoder)), None)
        levels = getattr(decoder, "levels", ())
        self._recorded = []

        def keep(_module: nn.Module, _given: object, maps: Tensor) -> None:
            self._recorded.append(maps[0].float())

        handles = [level.register_forward_hook(keep) for level in levels]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        # A method may ask a network several times: the first answer counts.
        self._recorded = self._recorded[: len(levels)]

    def add(self, probabilities: Tensor, start: Start) -> None:
        """Add what was recorded last, and the probabilities (C, z, y, x) of a window.

        Parameters
        ----------
        probabilities : Tensor
            On the CPU.
        start : (z, y, x)
            Where the window lies in the volume; less than 0 where it reaches beyond.
        """
        maps = [*(level.cpu() for level in self._recorded), probabilities]
        if not self._totals:
            self._allocate(maps)
        for level, pooling, stride, total in zip(
            maps, self._pooling, self._strides, self._totals, strict=True
        ):
            _blend(_pooled(level, pooling), [*zip(start, stride, strict=True)], total)

    def _allocate(self, maps: list[Tensor]) -> None:
        """Choose the grid of each level, all within `MOST_BYTES`."""
        patch, coarse = maps[-1].shape[1:], 1
        while True:
            grids = [_grid(level.shape[1:], patch, coarse) for level in maps]
            shapes = [
                (len(level), *map(_cells, self._shape, stride))
                for level, (_, stride) in zip(maps, grids, strict=True)
            ]
            if sum(map(math.prod, shapes)) <= MOST_BYTES or coarse >= max(patch):
                break
            coarse *= 2
        self._pooling, self._strides = map(list, zip(*grids, strict=True))
        self._totals = [torch.zeros((n + 1, *sizes)) for n, *sizes in shapes]

    def result(self) -> FeatureMaps | None:
        """All maps in 8 bits; None where no window was added."""
        if not self._totals:
            return None
        *levels, probabilities = (
            total[:-1] / total[-1:].clamp_min(1e-6) for total in self._totals
        )
        probabilities[0][self._totals[-1][-1] == 0] = 1  # no window was needed
        logs = probabilities.clamp_min(1e-9).log().clamp_min(LOWEST_LOG)
        grid = self._strides[-1]
        return FeatureMaps(
            log_probabilities=((1 - logs / LOWEST_LOG) * 255).round().byte().numpy(),
            levels=tuple(_quantised(level).numpy() for level in levels),
            strides=tuple(
                tuple(a / b for a, b in zip(stride, grid, strict=True))
                for stride in self._strides[:-1]
            ),
        )


def _grid(
    size: Sequence[int], patch: Sequence[int], coarse: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Pooling of a level, and working voxels per voxel after it: about ``coarse``."""
    own = [edge // few for edge, few in zip(patch, size, strict=True)]
    pooling = [
        max(1, min(coarse // step, few)) for step, few in zip(own, size, strict=True)
    ]
    strides = (step * pool for step, pool in zip(own, pooling, strict=True))
    return tuple(pooling), tuple(strides)


def _cells(size: int, stride: int) -> int:
    return -(-size // stride)


def _pooled(maps: Tensor, pooling: tuple[int, ...]) -> Tensor:
    return functional.avg_pool3d(maps[None], pooling)[0] if max(pooling) > 1 else maps


def _blend(maps: Tensor, places: list[tuple[int, int]], total: Tensor) -> None:
    """Add maps (F, z, y, x) of a window, and its weight, onto a grid of a volume.

    ``places`` holds offset of the window and stride of the grid along each axis. Where
    the former is no multiple of the latter, maps are interpolated.
    """
    weight = torch.from_numpy(gaussian_window(maps.shape[1:]))[None]
    maps = torch.cat([maps * weight, weight])
    where = [slice(None)]
    for axis, (offset, stride) in enumerate(places, start=1):
        size, first = maps.shape[axis], offset / stride
        low = max(0, math.floor(first))
        high = min(total.shape[axis], math.ceil(first) + size)
        at = (torch.arange(low, high) - first).clamp(0, size - 1)
        below = at.floor().long()
        part = (at - below).view(-1, *[1] * (3 - axis))
        maps = torch.lerp(
            maps.index_select(axis, below),
            maps.index_select(axis, (below + 1).clamp_max(size - 1)),
            part,
        )
        where.append(slice(low, high))
    total[tuple(where)] += maps


def _quantised(maps: Tensor) -> Tensor:
    """Each map (F, ...) from its least to its largest value, in 255 steps."""
    low = maps.amin(dim=(1, 2, 3), keepdim=True)
    high = maps.amax(dim=(1, 2, 3), keepdim=True)
    return ((maps - low) / (high - low).clamp_min(1e-6) * 255).round().byte()
