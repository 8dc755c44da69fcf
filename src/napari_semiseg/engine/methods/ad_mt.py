"""Alternate diverse teaching."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    logits,
    segmentation,
)
from napari_semiseg.engine.methods.losses import cross_entropy
from napari_semiseg.engine.methods.perturbations import (
    beta,
    confident,
    entropy,
    random_box,
    weak_to_strong,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress

PERIOD = 20


class ADMTParams(ConsistencyParams):
    """Parameters of `ADMT`."""

    consistency_weight: float = Field(
        default=2.0, ge=0, description="Final weight of the pseudo labels"
    )
    ramp: float = Field(
        default=0.4, gt=0, le=1, description="Fraction of training to reach it"
    )
    threshold: float = Field(
        default=0.8, ge=0.5, lt=1, description="Confidence that a label needs"
    )


@register
class ADMT(DualTaskMethod):
    """Two averaged teachers take turns, each with its own kind of strong view.

    Zhao et al., "Alternate diverse teaching for semi-supervised medical image
    segmentation", ECCV 2024. In its turn of random length a teacher follows the
    student: the first while strong views change intensities, the second while they
    are CutMix. Pseudo labels are the mean of both, weighted by exp(-entropy); where
    the teachers differ and the student differs from their mean, the more confident
    counts. L = L_sup + lambda [max p' >= tau] CE, lambda ramped up in 40 % of the
    training. Departure: batch statistics of teachers are averaged.
    """

    name = "ad_mt"
    title = "AD-MT: alternate diverse teaching"
    cite = "Zhao et al., ECCV 2024"
    least_unlabelled = 2  # they are pasted into each other
    Params: ClassVar[type[MethodParams]] = ADMTParams
    params: ADMTParams

    def teachers(self) -> dict[str, str]:
        """Two averages of one student."""
        return {"student": "student", "second": "student"}

    def followers(self, t: Progress) -> Collection[str]:
        """The teacher that is updated in this period."""
        return ("student",) if self._updates_first(t) else ("second",)

    def _updates_first(self, t: Progress) -> bool:
        """Periods of 1 to 19 steps; the same for the same step."""
        period, position = divmod(t.step, PERIOD)
        turn = torch.randint(
            1, PERIOD, (), generator=torch.Generator().manual_seed(period)
        )
        return position < int(turn)

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and the teachers' labels on a strong view."""
        image, count = batch.image[batch.unlabelled], batch.labelled
        inside = batch.inside[batch.unlabelled]
        weak = (
            batch.image if batch.unlabelled.start else torch.cat([batch.image, image])
        )
        with torch.no_grad():
            first, second = (
                segmentation(forward(teacher, image))
                for teacher in nets.teachers.values()
            )
        if self._updates_first(t):
            strong, pasted = weak_to_strong(image, inside), torch.zeros_like(inside)
        else:
            side = float(torch.sqrt(1.0 - beta(4.0))[0])
            pasted = random_box(image, side).expand_as(inside)
            strong = torch.where(pasted, image.roll(1, 0), image)
        output = forward(nets.students["student"], torch.cat([weak, strong]))
        student = segmentation(output)[count : count + len(image)].detach()
        target = combine_pseudo_labels(first, second, student)
        target = torch.where(pasted, target.roll(1, 0), target)
        inside = torch.where(pasted, inside.roll(1, 0), inside)
        sure = confident(target, self.params.threshold) & inside
        return {
            **self.labelled(output, batch),
            "pseudo_labels": self.params.weight(t)
            * cross_entropy(
                logits(output)[-len(image) :], target.argmax(dim=1), sure[:, 0]
            ),
        }


def combine_pseudo_labels(first: Tensor, second: Tensor, student: Tensor) -> Tensor:
    """Combine the probabilities of two teachers and a student (AD-MT, Sec. 3.3)."""
    trust = torch.softmax(-torch.cat([entropy(first), entropy(second)], dim=1), dim=1)
    mean = trust[:, :1] * first + trust[:, 1:] * second
    labels = [one.argmax(dim=1, keepdim=True) for one in (first, second, student, mean)]
    conflict = (labels[0] != labels[1]) & (labels[2] != labels[3])
    bolder = student.amax(dim=1, keepdim=True) > mean.amax(dim=1, keepdim=True)
    return torch.where(conflict & bolder, student, mean)
