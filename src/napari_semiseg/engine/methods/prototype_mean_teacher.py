"""Mean teacher with prototypes of the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    DualTaskMethod,
    MonteCarloParams,
    decoded,
    segmentation,
)
from napari_semiseg.engine.methods.losses import consistency, cross_entropy, one_hot
from napari_semiseg.engine.methods.perturbations import add_noise, monte_carlo
from napari_semiseg.engine.methods.prototypes import class_means, similarity

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


class PrototypeMeanTeacherParams(MonteCarloParams):
    """Parameters of `PrototypeMeanTeacher`."""

    temperature: float = Field(
        default=0.1, gt=0, le=1, description="Of the cosines with the prototypes"
    )


@register
class PrototypeMeanTeacher(DualTaskMethod):
    """Features lie near the prototype of their class, also in unlabelled crops.

    After Lu et al., "UPCoL: uncertainty-informed prototype consistency learning",
    MICCAI 2023. With c_k the mean of the decoded features of a class in the labelled
    crops, q = softmax(cos(f, c) / tau), p' the mean of the teacher's passes and U its
    entropy: L = L_sup + lambda (CE(q, y) + [U < H(t)] (q - sg p')^2), the last term on
    unlabelled crops. Departures: prototypes of the step's labelled crops alone, without
    unlabelled ones mixed in; a class that they do not show has none.
    """

    name = "prototype_mean_teacher"
    title = "Prototype mean teacher"
    cite = "Lu et al., UPCoL, MICCAI 2023"
    needs = frozenset({"dropout"})
    labelled_terms = DualTaskMethod.labelled_terms | {"prototype_labels"}
    Params: ClassVar[type[MethodParams]] = PrototypeMeanTeacherParams
    params: PrototypeMeanTeacherParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and the classes by the prototypes."""
        count, unlabelled = batch.labelled, batch.unlabelled
        teacher, image = nets.teachers["student"], batch.image[unlabelled]
        output = forward(nets.students["student"], batch.image)
        features, classes = decoded(output), self.task.classes
        known = one_hot(batch.target, classes) * batch.valid.unsqueeze(1)
        points, is_known = class_means(features[:count], known)
        scores = similarity(features, points, is_known) / self.params.temperature
        target = monte_carlo(
            teacher,
            self.params.passes,
            lambda: segmentation(forward(teacher, add_noise(image))),
        )
        sure = self.params.certain(target, t) & batch.inside[unlabelled]
        sure = sure & is_known[target.argmax(dim=1, keepdim=True)]
        weight = self.params.weight(t)
        return {
            **self.labelled(output, batch),
            "prototype_labels": weight
            * cross_entropy(scores[:count], batch.target, batch.valid),
            "prototypes": weight
            * consistency(torch.softmax(scores[unlabelled], dim=1), target, sure),
        }
