"""Methods that train two networks of the same kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.engine.methods.dual_task import ConsistencyParams, DualTaskMethod

if TYPE_CHECKING:
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


class PairMethod(DualTaskMethod):
    """Two networks that differ by their initial weights."""

    params: ConsistencyParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """Both networks."""
        return {"first": self.task.network(), "second": self.task.network()}
