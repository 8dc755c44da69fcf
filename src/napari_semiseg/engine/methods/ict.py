"""Interpolation consistency training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    segmentation,
)
from napari_semiseg.engine.methods.losses import consistency
from napari_semiseg.engine.methods.perturbations import beta

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


@register
class ICT(DualTaskMethod):
    """The prediction of a blend is the blend of the predictions.

    Verma et al., "Interpolation consistency training for semi-supervised learning",
    IJCAI 2019. With g ~ Beta(0.2, 0.2) and m(a, b) = g a + (1 - g) b:
    L = L_sup + lambda (p(m(x1, x2)) - m(p'(x1), p'(x2)))^2, p' the teacher's.
    """

    name = "ict"
    title = "ICT: interpolation consistency"
    cite = "Verma et al., IJCAI 2019"
    least_unlabelled = 2  # they are blended with each other
    Params: ClassVar[type[MethodParams]] = ConsistencyParams
    params: ConsistencyParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and agreement on blends of unlabelled crops."""
        image = batch.image[batch.unlabelled]
        share = beta(0.2, len(image)).to(image.device).view(-1, 1, 1, 1, 1)
        blend = torch.lerp(image.roll(1, 0), image, share)
        known = batch.image[: batch.labelled]
        output = forward(nets.students["student"], torch.cat([known, blend]))
        teacher = segmentation(forward(nets.teachers["student"], image))
        target = torch.lerp(teacher.roll(1, 0), teacher, share)
        inside = batch.inside[batch.unlabelled]
        return {
            **self.labelled(output, batch),
            "interpolation": self.params.weight(t)
            * consistency(
                segmentation(output)[batch.labelled :],
                target,
                inside & inside.roll(1, 0),
            ),
        }
