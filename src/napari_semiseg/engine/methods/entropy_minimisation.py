"""Entropy minimisation: be decided everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    segmentation,
)
from napari_semiseg.engine.methods.losses import weighted_mean
from napari_semiseg.engine.methods.perturbations import entropy

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


@register
class EntropyMinimisation(DualTaskMethod):
    """Low entropy of the prediction on all crops.

    Grandvalet and Bengio, "Semi-supervised learning by entropy minimization",
    NeurIPS 2004; per voxel as in ADVENT (Vu et al., CVPR 2019), without its
    adversary: L = L_sup + lambda H(p) / ln C.
    """

    name = "entropy_minimisation"
    title = "Entropy minimisation"
    cite = "Grandvalet & Bengio, NeurIPS 2004; Vu et al., CVPR 2019"
    Params: ClassVar[type[MethodParams]] = ConsistencyParams
    params: ConsistencyParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms and entropy."""
        output = forward(nets.students["student"], batch.image)
        return {
            **self.labelled(output, batch),
            "entropy": self.params.weight(t)
            * weighted_mean(entropy(segmentation(output)), batch.inside),
        }
