"""The default: what measured best, for a user who asks for a mask and not a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field

from napari_semiseg.engine.cut_paste import mixed
from napari_semiseg.engine.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    logits,
    segmentation,
)
from napari_semiseg.engine.losses import cross_entropy_dice, soft_dice
from napari_semiseg.engine.method import MethodParams, forward, register
from napari_semiseg.engine.ops import confident, gap, random_box, weak_to_strong

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.method import Batch, Networks, Progress


class AutoParams(ConsistencyParams):
    """Parameters of `Auto`."""

    consistency_weight: float = Field(
        default=0.5, ge=0, description="Final weight of the pseudo labels"
    )
    ramp: float = Field(
        default=0.5, gt=0, le=1, description="Fraction of training to reach it"
    )
    threshold: float = Field(
        default=0.8, ge=0.5, lt=1, description="Confidence that a label needs"
    )
    largest_gap: float = Field(
        default=1.0, ge=0, le=1, description="Gap of mask and distance it may have"
    )
    paste: Literal["both", "into", "none"] = Field(
        default="into",
        description="Boxes of labelled crops in unlabelled ones, also the other way, "
        "or no boxes",
    )
    side: float = Field(
        default=0.5, gt=0, lt=1, description="Edge of the pasted box, over the crop's"
    )
    strong: bool = Field(
        default=True, description="Whether pseudo labels train a strong view"
    )


@register
class Auto(DualTaskMethod):
    """Cut-paste, weak to strong, an averaged teacher and the SDM head in one.

    The teacher labels the unlabelled crops in their weak view, by the mean p' of its
    mask and distance heads. The student sees the labelled crops, and strong views of
    the unlabelled ones with a box of a labelled crop pasted in (after BCP, Bai et
    al., CVPR 2023, and FixMatch, Sohn et al., NeurIPS 2020):

    L = L_sup + lambda [max p' >= tau, gap' <= g] ((CE + Dice) / 2 (p, argmax p')
        + Dice(T(d), argmax p'))

    where L_sup also counts the labelled voxels of the mixed crops. The ablation is
    in ``docs/benchmark.md``.
    """

    name = "auto"
    title = "Automatic"
    cite = "this project"
    Params: ClassVar[type[MethodParams]] = AutoParams
    params: AutoParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms on labelled voxels, pseudo labels on the others."""
        with torch.no_grad():
            teacher = forward(nets.teachers["student"], batch.image[batch.free])
            pair = segmentation(teacher), self.mask(teacher)
            said = torch.cat([0.5 * (pair[0] + pair[1]), gap(*pair)], dim=1)
        crops, moved, guessed = mixed(batch, said, self._labelled_where(batch))
        guess, apart = moved[:, :-1], moved[:, -1:]
        image = crops.image
        if self.params.strong:
            image = torch.where(guessed, weak_to_strong(image), image)
        output = forward(nets.students["student"], image)
        sure = guessed & confident(guess, self.params.threshold)
        sure = (sure & (apart <= self.params.largest_gap))[:, 0]
        label = guess.argmax(dim=1)
        weight = self.params.weight(t)
        return {
            **self.labelled(output, crops),
            "pseudo_labels": weight * cross_entropy_dice(logits(output), label, sure),
            "pseudo_distance": weight * soft_dice(self.mask(output), label, sure),
        }

    def _labelled_where(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Voxels of the first and the second crops that show a labelled volume."""
        box = random_box(batch.image, self.params.side)
        everywhere = torch.ones_like(box)
        return {
            "both": (box, ~box),
            "into": (everywhere, box),
            "none": (everywhere, ~everywhere),
        }[self.params.paste]
