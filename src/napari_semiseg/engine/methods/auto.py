"""The default: what measured best, for a user who asks for a mask and not a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field

from napari_semiseg.engine.cut_paste import mixed, neighbours
from napari_semiseg.engine.dual_task import (
    DualTaskMethod,
    DualTaskParams,
    logits,
    segmentation,
)
from napari_semiseg.engine.losses import cross_entropy_dice, soft_dice
from napari_semiseg.engine.method import MethodParams, forward, register
from napari_semiseg.engine.ops import confident, gap, random_box, weak_to_strong

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.method import Batch, Networks, Progress


class AutoParams(DualTaskParams):
    """Parameters of `Auto`."""

    begin: float = Field(
        default=0.5, ge=0, le=1, description="Fraction of training with labels alone"
    )
    weight: float = Field(default=0.5, ge=0, description="Weight of the pseudo labels")
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
    exchange: bool = Field(
        default=False, description="Boxes of labelled crops in each other, at first"
    )
    side: float = Field(
        default=0.5, gt=0, lt=1, description="Edge of a pasted box, over the crop's"
    )
    strong: bool = Field(
        default=True, description="Whether pseudo labels train a strong view"
    )


@register
class Auto(DualTaskMethod):
    """Labels first; then pseudo labels take the place of half of the labelled crops.

    A step of an unlabelled term costs as much as one of a labelled term, and in a
    budget of minutes that is what it must be worth. So the first part of the
    training is supervised. In the second part one of the two crops of a batch is an
    unlabelled one in a strong view, with a box of the labelled crop whose place it
    takes (after BCP, Bai et al., CVPR 2023, and FixMatch, Sohn et al., NeurIPS
    2020). The averaged network labels the weak view by the mean p' of its mask and
    distance heads:

    L = L_sup + lambda [max p' >= tau, gap' <= g] ((CE + Dice) / 2 (p, argmax p')
        + Dice(T(d), argmax p'))

    where L_sup counts every annotated voxel, and the other term the unlabelled crop
    and what is not annotated of the labelled ones. The ablation is in
    ``docs/benchmark.md``.
    """

    name = "auto"
    title = "Automatic"
    cite = "this project"
    unlabelled = 1
    Params: ClassVar[type[MethodParams]] = AutoParams
    params: AutoParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms on annotated voxels, pseudo labels on the others."""
        student, count = nets.students["student"], batch.labelled
        sparse = not bool((batch.valid | ~batch.inside[:count, 0]).all())
        alone = len(batch.image) == count and not sparse
        if t.fraction < self.params.begin or alone:
            if self.params.exchange:
                batch = neighbours(batch, self.params.side)
            return self.labelled(forward(student, batch.image[:count]), batch)
        asked = slice(0, None) if sparse else batch.free
        with torch.no_grad():
            teacher = forward(nets.teachers["student"], batch.image[asked])
            pair = segmentation(teacher), self.mask(teacher)
            said = torch.cat([0.5 * (pair[0] + pair[1]), gap(*pair)], dim=1)
        crops, moved, guessed = mixed(
            batch,
            self._ours(batch),
            said[batch.free] if sparse else said,
            said[:count] if sparse else None,
        )
        guess, apart = moved[:, :-1], moved[:, -1:]
        image = crops.image
        if self.params.strong:
            image = torch.where(guessed, weak_to_strong(image), image)
        output = forward(student, image)
        sure = guessed & confident(guess, self.params.threshold)
        sure = (sure & (apart <= self.params.largest_gap))[:, 0]
        label, weight = guess.argmax(dim=1), self.params.weight
        return {
            **self.labelled(output, crops),
            "pseudo_labels": weight * cross_entropy_dice(logits(output), label, sure),
            "pseudo_distance": weight * soft_dice(self.mask(output), label, sure),
        }

    def _ours(self, batch: Batch) -> Tensor:
        """Voxels of the crops that show a labelled volume: (L, 1, Z, Y, X)."""
        count, free = batch.labelled, len(batch.image) - batch.labelled
        box = random_box(batch.image, self.params.side)
        whole = torch.ones_like(box)
        first, last = {
            "both": (~box, box),
            "into": (whole, box),
            "none": (whole, ~whole),
        }[self.params.paste]
        replaced = min(free, count)
        return torch.cat([first] * (count - replaced) + [last] * replaced)
