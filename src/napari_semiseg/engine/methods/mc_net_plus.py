"""Mutual consistency network plus."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import Inference, MethodParams, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    distances,
    segmentation,
    summed_terms,
)
from napari_semiseg.engine.methods.losses import consistency
from napari_semiseg.engine.methods.perturbations import gap, sharpen

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


class MCNetPlusParams(ConsistencyParams):
    """Parameters of `MCNetPlus`."""

    consistency_weight: float = Field(
        default=1.0, ge=0, description="Final weight of the mutual consistency"
    )
    ramp: float = Field(
        default=0.4, gt=0, le=1, description="Fraction of training to reach it"
    )
    temperature: float = Field(
        default=0.1, gt=0, le=1, description="Temperature of the sharpened targets"
    )


@register
class MCNetPlus(DualTaskMethod):
    """Three decoders that up-sample differently agree with each other's labels.

    Wu et al., "Mutual consistency learning for semi-supervised medical image
    segmentation", Med. Image Anal. 2022: L = sum L_sup(p_i)
    + lambda sum_{i != j} (p_i - sharpen(p_j))^2 on all crops. Departures:
    the sharpened targets are detached, the mean of the decoders predicts.
    """

    name = "mc_net_plus"
    title = "MC-Net+: mutual consistency of decoders"
    cite = "Wu et al., Med. Image Anal. 2022"
    needs = frozenset({"several decoders"})
    Params: ClassVar[type[MethodParams]] = MCNetPlusParams
    params: MCNetPlusParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """One encoder and three decoders."""
        network = self.task.network(decoders=("transposed", "linear", "nearest"))
        return {"student": network}

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms of all decoders, and their agreement."""
        network = nets.students["student"]
        outputs = network.outputs(batch.image)
        probabilities = [segmentation(output) for output in outputs]
        targets = [sharpen(one, self.params.temperature) for one in probabilities]
        pairs = [
            consistency(probabilities[i], targets[j], batch.inside)
            for i in range(len(probabilities))
            for j in range(len(probabilities))
            if i != j
        ]
        return {
            **summed_terms([self.labelled(output, batch) for output in outputs]),
            "mutual": self.params.weight(t) * torch.stack(pairs).sum(),
        }

    def infer(
        self, teachers: dict[str, SegmentationNetwork], image: Tensor
    ) -> Inference:
        """Mean of the decoders of the averaged network."""
        network = teachers["student"]
        outputs = network.outputs(image)
        mean, distance, mask = (
            torch.stack([part(output) for output in outputs]).mean(dim=0)
            for part in (segmentation, distances, self.mask)
        )
        return Inference(mean, distance, gap(mean, mask))
