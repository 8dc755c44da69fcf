"""Two networks of the same kind, and what two networks learn from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.engine.methods.dual_task import ConsistencyParams, DualTaskMethod

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


class PairMethod(DualTaskMethod):
    """Two networks that differ by their initial weights."""

    params: ConsistencyParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """Both networks."""
        return {"first": self.task.network(), "second": self.task.network()}


def cross_labels(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    first: Tensor,
    second: Tensor,
    inside: Tensor,
) -> Tensor:
    """Sum a loss of two networks' maps (B, C, Z, Y, X), each with the other's labels.

    The labels are hard, and no gradient flows through them.
    """
    return loss(first, second.argmax(dim=1), inside) + loss(
        second, first.argmax(dim=1), inside
    )
