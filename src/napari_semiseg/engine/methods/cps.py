"""Cross pseudo supervision."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.co_training import PairMethod, cross_labels
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    logits,
    summed_terms,
)
from napari_semiseg.engine.methods.losses import cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


@register
class CPS(PairMethod):
    """Two networks, each with the other's hard labels on unlabelled crops.

    Chen et al., "Semi-supervised semantic segmentation with cross pseudo
    supervision", CVPR 2021: L = sum_i L_sup(i)
    + lambda (CE(z_1, argmax p_2) + CE(z_2, argmax p_1)).
    """

    name = "cps"
    title = "CPS: cross pseudo supervision"
    cite = "Chen et al., CVPR 2021"
    Params: ClassVar[type[MethodParams]] = ConsistencyParams
    params: ConsistencyParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and each other's labels."""
        outputs = [forward(net, batch.image) for net in nets.students.values()]
        first, second = (logits(output)[batch.unlabelled] for output in outputs)
        inside = batch.inside[batch.unlabelled, 0]
        return {
            **summed_terms([self.labelled(output, batch) for output in outputs]),
            "cross_labels": self.params.weight(t)
            * cross_labels(cross_entropy, first, second, inside),
        }
