"""Uncertainty-rectified pyramid consistency."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from napari_semiseg.engine.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    mean_terms,
    segmentation,
)
from napari_semiseg.engine.losses import divergence, weighted_mean
from napari_semiseg.engine.method import MethodParams, register
from napari_semiseg.engine.nets import PyramidVNet

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_semiseg.engine.method import Batch, Networks, Progress


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
    Params: ClassVar[type[MethodParams]] = ConsistencyParams
    params: ConsistencyParams

    def networks(self) -> dict[str, nn.Module]:
        """A V-Net with heads at every level of its decoder."""
        task = self.task
        network = PyramidVNet(
            task.classes, task.width, task.strides, channels=task.channels
        )
        return {"student": network}

    def labelled_loss(self, nets: Networks, batch: Batch) -> dict[str, Tensor]:
        """Labelled terms of all levels."""
        network = nets.students["student"]
        assert isinstance(network, PyramidVNet)
        outputs = network.outputs(batch.image[: batch.labelled])
        return mean_terms([self.labelled(output, batch) for output in outputs])

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms of all levels, and their agreement."""
        network = nets.students["student"]
        assert isinstance(network, PyramidVNet)
        outputs = network.outputs(batch.image)
        free, inside = batch.free, batch.inside[batch.free]
        levels = [segmentation(output)[free] for output in outputs]
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
