"""Mean teacher: the student follows its own average."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    logits,
    segmentation,
)
from napari_semiseg.engine.methods.losses import consistency, soft_cross_entropy
from napari_semiseg.engine.methods.perturbations import add_noise

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


class MeanTeacherParams(ConsistencyParams):
    """Parameters of `MeanTeacher`."""

    soft_labels: bool = Field(
        default=False,
        description="Cross-entropy with the teacher's probabilities, not their "
        "squared difference",
    )


@register
class MeanTeacher(DualTaskMethod):
    """Student and averaged teacher agree on a noisy copy of unlabelled crops.

    Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017, for
    segmentation as in UA-MT: L = L_sup + lambda (p(x) - sg p'(x + n))^2, or with
    ``soft_labels`` L_sup + lambda CE(p(x), sg p'(x + n)).
    """

    name = "mean_teacher"
    title = "Mean teacher"
    cite = "Tarvainen & Valpola, NeurIPS 2017"
    Params: ClassVar[type[MethodParams]] = MeanTeacherParams
    params: MeanTeacherParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms and agreement with the teacher."""
        output = forward(nets.students["student"], batch.image)
        unlabelled = batch.unlabelled
        target = segmentation(
            forward(nets.teachers["student"], add_noise(batch.image[unlabelled]))
        )
        inside = batch.inside[unlabelled]
        if self.params.soft_labels:
            difference = soft_cross_entropy(logits(output)[unlabelled], target, inside)
        else:
            difference = consistency(segmentation(output)[unlabelled], target, inside)
        return {
            **self.labelled(output, batch),
            "consistency": self.params.weight(t) * difference,
        }
