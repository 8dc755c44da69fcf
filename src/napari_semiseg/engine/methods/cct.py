"""Cross-consistency training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from napari_semiseg.engine.lazy_torch import functional, torch
from napari_semiseg.engine.methods.base import MethodParams, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    segmentation,
    summed_terms,
)
from napari_semiseg.engine.methods.losses import consistency
from napari_semiseg.engine.methods.perturbations import attention_dropout, feature_noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork
    from napari_semiseg.engine.networks.spec import Upsampling


def channel_dropout(features: Tensor) -> Tensor:
    """Drop feature maps, 3 of 10."""
    return functional.dropout3d(features, p=0.3)


PERTURBATIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    feature_noise,
    channel_dropout,
    attention_dropout,
)


@register
class CCT(DualTaskMethod):
    """Auxiliary decoders on perturbed features agree with the main one.

    Ouali et al., "Semi-supervised semantic segmentation with cross-consistency
    training", CVPR 2020: L = L_sup + lambda mean_i (p_i(f_i(z)) - sg p(z))^2 on
    unlabelled crops, with noise, channel dropout and dropout of the most active
    places as f_i on the feature maps z of all levels. Departure, as in the 3D code of
    the family: all decoders have the labelled terms, so that a small lambda will do;
    they are added, where that code takes their mean.
    """

    name = "cct"
    title = "CCT: cross-consistency"
    cite = "Ouali et al., CVPR 2020"
    needs = frozenset({"several decoders"})
    Params: ClassVar[type[MethodParams]] = ConsistencyParams
    params: ConsistencyParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """One encoder, the main decoder and one for each perturbation."""
        ways: list[Upsampling] = ["transposed"] * (1 + len(PERTURBATIONS))
        return {"student": self.task.network(decoders=tuple(ways))}

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms of all decoders, and agreement with the main one."""
        network = nets.students["student"]
        features = network.encoder(batch.image)
        outputs = [network.decode(features)]
        for index, perturb in enumerate(PERTURBATIONS, start=1):
            perturbed = [perturb(maps) for maps in features]
            outputs.append(network.decode(perturbed, index))
        target, *others = (segmentation(output)[batch.unlabelled] for output in outputs)
        inside = batch.inside[batch.unlabelled]
        agreement = [consistency(one, target, inside) for one in others]
        return {
            **summed_terms([self.labelled(output, batch) for output in outputs]),
            "cross_consistency": self.params.weight(t) * torch.stack(agreement).mean(),
        }
