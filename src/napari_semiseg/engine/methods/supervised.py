"""The strong reference: labelled volumes only."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from torch import softmax

from napari_semiseg.engine.dual_task import dual_task_inference, dual_task_loss
from napari_semiseg.engine.method import Method, MethodParams, forward, register

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_semiseg.engine.method import Batch, Inference, Networks, Progress


class SupervisedParams(MethodParams):
    """Parameters of `Supervised`."""

    distance_weight: float = Field(
        default=0.3, ge=0, description="Weight of the signed distance regression"
    )


@register
class Supervised(Method):
    """V-Net on the labelled crops: (CE + Dice) / 2, and mask and value of the SDM.

    Full augmentation and an averaged network; every semi-supervised method must
    be compared with this one at the same budget.
    """

    name = "supervised"
    title = "Supervised"
    cite = "Milletari et al., V-Net, 3DV 2016"
    unlabelled = False
    Params: ClassVar[type[MethodParams]] = SupervisedParams
    params: SupervisedParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms only."""
        output = forward(nets.students["student"], batch.image[: batch.labelled])
        return dual_task_loss(
            output, batch, self.task.steepness, self.params.distance_weight
        )

    def infer(self, teachers: dict[str, nn.Module], image: Tensor) -> Inference:
        """Segmentation head of the averaged network."""
        output = forward(teachers["student"], image)
        assert output.logits is not None
        return dual_task_inference(
            output, softmax(output.logits, dim=1), self.task.steepness
        )
