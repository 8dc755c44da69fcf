"""Dual-task mutual learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

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
    distances: Literal["mask", "regression", "both"] = Field(
        default="mask",
        description="What the distance network learns from labels: their mask, their "
        "distances, or both",
    )


@register
class DTML(DualTaskMethod):
    """Two V-Nets, one for the mask and one for the signed distance, teach each other.

    Zhang and Zhang, "Dual-task mutual learning for semi-supervised medical image
    segmentation", PRCV 2021. With s the probabilities of the segmentation network,
    T(d) the mask from the distance network (Eq. 2) and lambda ramped up:

    L_s = L_sup(s, y) + lambda (s - sg T(d))^2
    L_d = Dice(T(d), y) + lambda (T(d) - sg s)^2

    on labelled (first terms) and all crops (last terms), Eq. 3-6. The distance network
    has the first of three labelled terms that the paper compares (Table 1: the mask
    90.12, regression |d - phi| 89.72, both 89.89); ``distances`` chooses another.
    Departures from the public code: each target is detached (sg), T is soft (k about
    one voxel instead of 1500), and the mean of both networks predicts.
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

    @property
    def regresses(self) -> bool:
        """Whether labels teach distances, and not their sign alone."""
        return self.params.distances != "mask" and super().regresses

    def _output(self, nets: dict[str, SegmentationNetwork], image: Tensor) -> Output:
        """Both networks as if they were one with two heads."""
        return Output(
            forward(nets["segmentation"], image).logits,
            forward(nets["distance"], image).distance,
        )

    def labelled(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Those of the base class that were asked for."""
        terms = super().labelled(output, batch)
        left_out = {"mask": "distance", "regression": "distance_mask"}
        terms.pop(left_out.get(self.params.distances, ""), None)
        return terms

    def labelled_loss(self, nets: Networks, batch: Batch) -> dict[str, Tensor]:
        """Labelled terms of both networks."""
        image = batch.image[: batch.labelled]
        return self.labelled(self._output(nets.students, image), batch)

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
