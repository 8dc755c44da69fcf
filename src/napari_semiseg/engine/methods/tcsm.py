"""Transformation-consistent self-ensembling."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    segmentation,
)
from napari_semiseg.engine.methods.losses import consistency
from napari_semiseg.engine.methods.perturbations import add_noise
from napari_semiseg.engine.methods.views import draw_view

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


class TCSMParams(ConsistencyParams):
    """Parameters of `TCSM`."""

    consistency_weight: float = Field(
        default=1.0, ge=0, description="Final weight of the consistency"
    )
    ramp: float = Field(
        default=0.4, gt=0, le=1, description="Fraction of training to reach it"
    )
    zoom: float = Field(
        default=1.2, ge=1, le=2, description="Largest enlargement or reduction"
    )


@register
class TCSM(DualTaskMethod):
    """A turned, mirrored or enlarged crop has the turned, mirrored, enlarged mask.

    Li et al., "Transformation-consistent self-ensembling model for semisupervised
    medical image segmentation", IEEE Trans. Neural Netw. Learn. Syst. 2021:
    L = L_sup + lambda (p(g(x + n)) - sg g p'(x + n'))^2 on unlabelled crops.
    Departures: the student has a gradient here, which the public code keeps from it;
    turns only where edges allow them, and mirror images only where classes do not tell
    sides.
    """

    name = "tcsm"
    title = "TCSM: transformation consistency"
    cite = "Li et al., IEEE TNNLS 2021"
    Params: ClassVar[type[MethodParams]] = TCSMParams
    params: TCSMParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and agreement of a view with the view of the teacher."""
        image, count = batch.image[batch.unlabelled], batch.labelled
        view = draw_view(self.task, image.shape[2:], self.params.zoom)
        crops = torch.cat([batch.image[:count], view(add_noise(image))])
        output = forward(nets.students["student"], crops)
        target = segmentation(forward(nets.teachers["student"], add_noise(image)))
        return {
            **self.labelled(output, batch),
            "transformation": self.params.weight(t)
            * consistency(
                segmentation(output)[count:],
                view(target),
                view.shown(batch.inside[batch.unlabelled]),
            ),
        }
