"""Deep co-training."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.co_training import PairMethod
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    logits,
    segmentation,
    summed_terms,
)
from napari_semiseg.engine.methods.losses import (
    cross_entropy,
    divergence,
    jensen_shannon,
    weighted_mean,
)
from napari_semiseg.engine.methods.perturbations import adversarial

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


class DeepCoTrainingParams(ConsistencyParams):
    """Parameters of `DeepCoTraining`."""

    attack: float = Field(
        default=0.05, gt=0, description="Size of an adversarial step, in image SD"
    )
    difference_weight: float = Field(
        default=0.5, ge=0, description="Weight of the view difference, over the other"
    )


@register
class DeepCoTraining(PairMethod):
    """Two networks agree on unlabelled crops and resist each other's attacks.

    Qiao et al., "Deep co-training for semi-supervised image recognition", ECCV
    2018: L_sup(1) + L_sup(2), Jensen-Shannon divergence on unlabelled crops, and the
    view difference KL(sg p_1(x) || p_2(g_1(x))) and its mirror, where g_i attacks the
    labels that network i gives itself, argmax p_i(x), by one fast gradient sign step.
    Departure: attacks are made on unlabelled crops only.
    """

    name = "deep_co_training"
    title = "Deep co-training"
    cite = "Qiao et al., ECCV 2018"
    Params: ClassVar[type[MethodParams]] = DeepCoTrainingParams
    params: DeepCoTrainingParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, agreement, and resistance."""
        networks = list(nets.students.values())
        outputs = [forward(network, batch.image) for network in networks]
        image, inside = batch.image[batch.unlabelled], batch.inside[batch.unlabelled]
        first, second = (segmentation(output)[batch.unlabelled] for output in outputs)
        resistance = self._resistance(networks, image, (first, second), inside)
        weight = self.params.weight(t)
        return {
            **summed_terms([self.labelled(output, batch) for output in outputs]),
            "agreement": weight * weighted_mean(jensen_shannon(first, second), inside),
            "view_difference": weight * self.params.difference_weight * resistance,
        }

    def _resistance(
        self,
        networks: list[SegmentationNetwork],
        image: Tensor,
        probabilities: tuple[Tensor, Tensor],
        inside: Tensor,
    ) -> Tensor:
        """Divergence of each network under the attack on the other, summed."""

        def doubt(network: SegmentationNetwork, label: Tensor, view: Tensor) -> Tensor:
            return cross_entropy(logits(forward(network, view)), label, inside[:, 0])

        terms = []
        for attacked, target, other in zip(
            networks, probabilities, networks[::-1], strict=True
        ):
            # Its own hard labels: at its own probabilities a divergence has no slope.
            against = partial(doubt, attacked, target.argmax(dim=1))
            view = adversarial(image, against, self.params.attack)
            answer = segmentation(forward(other, view))
            terms.append(weighted_mean(divergence(target.detach(), answer), inside))
        return torch.stack(terms).sum()
