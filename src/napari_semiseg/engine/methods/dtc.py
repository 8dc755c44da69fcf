"""Dual-task consistency."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    segmentation,
)
from napari_semiseg.engine.methods.losses import weighted_mean

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


class DTCParams(ConsistencyParams):
    """Parameters of `DTC`."""

    consistency_weight: float = Field(
        default=1.0, ge=0, description="Final weight of the dual-task consistency"
    )


@register
class DTC(DualTaskMethod):
    """The mask head and the distance head of one network agree on all crops.

    Luo et al., "Semi-supervised medical image segmentation through dual-task
    consistency", AAAI 2021: L = L_sup + 0.3 |d - phi| + lambda (T(d) - p)^2, with a
    gradient into both heads as in the paper; L_sup has Dice(T(d), y), as it has in
    every method here. T is soft (about one voxel).
    """

    name = "dtc"
    title = "DTC: dual-task consistency"
    cite = "Luo et al., AAAI 2021"
    uncertainty = "gap"
    Params: ClassVar[type[MethodParams]] = DTCParams
    params: DTCParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms and agreement of the heads."""
        output = forward(nets.students["student"], batch.image)
        difference = (self.mask(output) - segmentation(output)).square()
        return {
            **self.labelled(output, batch),
            "dual_task": self.params.weight(t)
            * weighted_mean(difference, batch.inside),
        }
