"""Uncertainty-rectified pyramid consistency."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    mean_terms,
    segmentation,
)
from napari_semiseg.engine.methods.losses import divergence, weighted_mean

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


@register
class URPC(DualTaskMethod):
    """Predictions from all levels of the decoder agree with their mean.

    Luo et al., "Efficient semi-supervised gross target volume segmentation via
    uncertainty rectified pyramid consistency", MICCAI 2021. With m the mean of the
    levels' p_i and D_i = KL(m || p_i): L = mean L_sup(p_i)
    + lambda mean_i ((m - p_i)^2 exp(-D_i) / mean exp(-D_i) + D_i) on unlabelled crops.
    """

    name = "urpc"
    title = "URPC: pyramid consistency"
    cite = "Luo et al., MICCAI 2021"
    needs = frozenset({"output pyramid"})
    Params: ClassVar[type[MethodParams]] = ConsistencyParams
    params: ConsistencyParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """A network with heads at every level of its decoder."""
        return {"student": self.task.network(pyramid=True)}

    def labelled_loss(self, nets: Networks, batch: Batch) -> dict[str, Tensor]:
        """Labelled terms of all levels."""
        network = nets.students["student"]
        outputs = network.outputs(batch.image[: batch.labelled])
        return mean_terms([self.labelled(output, batch) for output in outputs])

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms of all levels, and their agreement."""
        network = nets.students["student"]
        outputs = network.outputs(batch.image)
        unlabelled, inside = batch.unlabelled, batch.inside[batch.unlabelled]
        levels = [segmentation(output)[unlabelled] for output in outputs]
        mean = torch.stack(levels).mean(dim=0)
        rectified = batch.image.new_zeros(())
        for level in levels:
            doubt = divergence(mean, level)
            trust = torch.exp(-doubt)
            error = weighted_mean((mean - level).square() * trust, inside)
            rectified = rectified + (
                error / weighted_mean(trust, inside).clamp_min(1e-6)
                + weighted_mean(doubt, inside)
            )
        return {
            **mean_terms([self.labelled(output, batch) for output in outputs]),
            "pyramid": self.params.weight(t) * rectified / len(levels),
        }
