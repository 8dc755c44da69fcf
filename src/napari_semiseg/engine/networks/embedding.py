"""Average encoder features over a scan, by which scans are compared."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_semiseg.engine.networks.blocks import SegmentationNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


class EmbeddingAccumulator:
    """Averages the coarsest encoder features over the windows of a volume.

    Each place weighs as much as there is foreground in it, so that the structures and
    not the field of view decide; `FLOOR` is added everywhere, so that a prediction of
    nothing has features too.
    """

    FLOOR = 0.01

    def __init__(self) -> None:
        self._last: Tensor | None = None
        self._sum: Tensor | None = None
        self._weight: Tensor | float = 0.0

    @contextmanager
    def recording(self, network: nn.Module | None) -> Iterator[None]:
        """Keep the features that the encoder of a network computes in the block."""
        if not isinstance(network, SegmentationNetwork):
            yield
            return

        def keep(_module: nn.Module, _given: object, levels: list[Tensor]) -> None:
            self._last = levels[-1]

        handle = network.encoder.register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()

    def add(self, probabilities: Tensor) -> None:
        """Add what was recorded last, for a window (1, C, Z, Y, X) so predicted."""
        if self._last is None:
            return
        maps, self._last = self._last.float(), None
        inside = 1 - probabilities[:, :1].float()
        # A window is a multiple of its coarsest maps; MPS lacks adaptive pooling.
        places = zip(inside.shape[2:], maps.shape[2:], strict=True)
        weight = functional.avg_pool3d(inside, [size // few for size, few in places])
        weight = weight + self.FLOOR
        total = (maps * weight).sum(dim=(0, 2, 3, 4))
        self._sum = total if self._sum is None else self._sum + total
        self._weight = self._weight + weight.sum()

    @property
    def mean(self) -> Tensor:
        """Features (F,) of all windows so far, on the CPU; empty without any."""
        if self._sum is None:
            return torch.zeros(0)
        return (self._sum / self._weight).cpu()
