"""Uncertainty-aware mean teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    DualTaskMethod,
    MonteCarloParams,
    segmentation,
)
from napari_semiseg.engine.methods.losses import consistency
from napari_semiseg.engine.methods.perturbations import add_noise, monte_carlo

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


@register
class UAMT(DualTaskMethod):
    """The student follows the teacher only where the teacher is certain.

    Yu et al., "Uncertainty-aware self-ensembling model for semi-supervised 3D left
    atrium segmentation", MICCAI 2019. With p' the mean of stochastic passes of the
    teacher, U its entropy and H(t) = 0.75 + 0.25 ramp(t) of the largest entropy:
    L = L_sup + lambda [U < H(t)] (p - p')^2 on unlabelled crops. Departures: 2
    passes instead of 8, and their mean is the target instead of another pass.
    """

    name = "ua_mt"
    title = "UA-MT: uncertainty-aware mean teacher"
    cite = "Yu et al., MICCAI 2019"
    needs = frozenset({"dropout"})
    Params: ClassVar[type[MethodParams]] = MonteCarloParams
    params: MonteCarloParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms and agreement where the teacher is certain."""
        output = forward(nets.students["student"], batch.image)
        teacher, image = nets.teachers["student"], batch.image[batch.unlabelled]
        target = monte_carlo(
            teacher,
            self.params.passes,
            lambda: segmentation(forward(teacher, add_noise(image))),
        )
        sure = self.params.certain(target, t) & batch.inside[batch.unlabelled]
        return {
            **self.labelled(output, batch),
            "consistency": self.params.weight(t)
            * consistency(segmentation(output)[batch.unlabelled], target, sure),
        }
