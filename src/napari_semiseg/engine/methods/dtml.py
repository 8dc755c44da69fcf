"""Dual-task mutual learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.methods.base import (
    Inference,
    MethodParams,
    forward,
    register,
)
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    distances,
    segmentation,
)
from napari_semiseg.engine.methods.losses import consistency
from napari_semiseg.engine.methods.perturbations import gap
from napari_semiseg.engine.networks.spec import Output

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


class DTMLParams(ConsistencyParams):
    """Parameters of `DTML`."""

    consistency_weight: float = Field(
        default=1.0, ge=0, description="Final weight of the mutual consistency"
    )
    distance_weight: float = Field(
        default=1.0, ge=0, description="Weight of the signed distance regression"
    )


@register
class DTML(DualTaskMethod):
    """Two V-Nets, one for the mask and one for the signed distance, teach each other.

    Zhang and Zhang, "Dual-task mutual learning for semi-supervised medical image
    segmentation", PRCV 2021. With s the probabilities of the segmentation network,
    T(d) the mask from the distance network (Eq. 2) and lambda ramped up:

    L_s = L_sup(s, y) + lambda (s - sg T(d))^2
    L_d = Dice(T(d), y) + |d - phi| + lambda (T(d) - sg s)^2

    on labelled (first terms) and all crops (last terms), Eq. 3-6. Departures from
    the public code, which differs from the paper: each target is detached (sg), the
    regression of the distance is used, T is soft (k about one voxel instead of
    1500), and the mean of both networks predicts.
    """

    name = "dtml"
    title = "DTML: dual-task mutual learning"
    cite = "Zhang & Zhang, PRCV 2021"
    uncertainty = "gap"
    Params: ClassVar[type[MethodParams]] = DTMLParams
    params: DTMLParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """One single-headed network per task."""
        return {
            "segmentation": self.task.network(heads=("segmentation",)),
            "distance": self.task.network(heads=("distance",)),
        }

    def _output(self, nets: dict[str, SegmentationNetwork], image: Tensor) -> Output:
        """Both networks as if they were one with two heads."""
        return Output(
            forward(nets["segmentation"], image).logits,
            forward(nets["distance"], image).distance,
        )

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Eq. 3-6 of the paper."""
        output = self._output(nets.students, batch.image)
        probabilities, mask = segmentation(output), self.mask(output)
        weight = self.params.weight(t)
        return {
            **self.labelled(output, batch),
            "mutual_segmentation": weight
            * consistency(probabilities, mask, batch.inside),
            "mutual_distance": weight * consistency(mask, probabilities, batch.inside),
        }

    def infer(
        self, teachers: dict[str, SegmentationNetwork], image: Tensor
    ) -> Inference:
        """Mean of both networks; their gap is the uncertainty of two members."""
        output = self._output(teachers, image)
        probabilities, mask = segmentation(output), self.mask(output)
        return Inference(
            0.5 * (probabilities + mask), distances(output), gap(probabilities, mask)
        )
