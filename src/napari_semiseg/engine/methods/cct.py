"""Cross-consistency training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch.nn import functional

from napari_semiseg.engine.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    segmentation,
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
    functional.dropout3d,
    attention_dropout,
)


@register
class CCT(DualTaskMethod):
    """Auxiliary decoders on perturbed features agree with the main one.

    Ouali et al., "Semi-supervised semantic segmentation with cross-consistency
    training", CVPR 2020: L = L_sup + lambda mean_i (p_i(f_i(z)) - sg p(z))^2 on
    unlabelled crops, with noise, channel dropout and dropout of the most active
    places as f_i on the feature maps z of all levels.
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
        """Labelled terms of the main decoder, and agreement of the others."""
        network = nets.students["student"]
        assert isinstance(network, VNet)
        features = network.encoder(batch.image)
        output = network.decode(features)
        target = segmentation(output)[batch.free]
        agreement = batch.image.new_zeros(())
        for index, perturb in enumerate(PERTURBATIONS, start=1):
            perturbed = [perturb(maps[batch.free]) for maps in features]
            said = segmentation(network.decode(perturbed, index))
            agreement = agreement + consistency(said, target, batch.inside[batch.free])
        return {
            **self.labelled(output, batch),
            "cross_consistency": self.params.weight(t) * agreement / len(PERTURBATIONS),
        }
