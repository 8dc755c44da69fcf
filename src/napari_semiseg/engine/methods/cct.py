"""Cross-consistency training."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional

from napari_semiseg.engine.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    segmentation,
    summed_terms,
)
from napari_semiseg.engine.losses import consistency
from napari_semiseg.engine.method import MethodParams, register
from napari_semiseg.engine.nets import VNet
from napari_semiseg.engine.ops import attention_dropout, feature_noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from napari_semiseg.engine.method import Batch, Networks, Progress
    from napari_semiseg.engine.nets import Upsampling

PERTURBATIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    feature_noise,
    partial(functional.dropout3d, p=0.3),
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
    Params: ClassVar[type[MethodParams]] = ConsistencyParams
    params: ConsistencyParams

    def networks(self) -> dict[str, nn.Module]:
        """One encoder, the main decoder and one for each perturbation."""
        ways: list[Upsampling] = ["transposed"] * (1 + len(PERTURBATIONS))
        return {"student": self.task.network(upsampling=tuple(ways))}

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms of all decoders, and agreement with the main one."""
        network = nets.students["student"]
        assert isinstance(network, VNet)
        features = network.encoder(batch.image)
        outputs = [network.decode(features)]
        for index, perturb in enumerate(PERTURBATIONS, start=1):
            perturbed = [perturb(maps) for maps in features]
            outputs.append(network.decode(perturbed, index))
        target, *said = (segmentation(output)[batch.free] for output in outputs)
        inside = batch.inside[batch.free]
        agreement = [consistency(one, target, inside) for one in said]
        return {
            **summed_terms([self.labelled(output, batch) for output in outputs]),
            "cross_consistency": self.params.weight(t) * torch.stack(agreement).mean(),
        }
