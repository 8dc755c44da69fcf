"""The default: what measured best, for a user who asks for a mask and not a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.copy_paste import paste_by_voxel, visible_distance
from napari_semiseg.engine.methods.dual_task import (
    DualTaskMethod,
    DualTaskParams,
    logits,
    segmentation,
)
from napari_semiseg.engine.methods.losses import cross_entropy_dice, soft_dice
from napari_semiseg.engine.methods.perturbations import (
    confident,
    gap,
    overlap,
    random_box,
    weak_to_strong,
)

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


class AutoParams(DualTaskParams):
    """Parameters of `Auto`."""

    begin: float = Field(
        default=0.5, ge=0, le=1, description="Fraction of training with labels alone"
    )
    least_entropy_ratio: float = Field(
        default=1.25,
        ge=0,
        description="How much less sure it must be of scans without a label",
    )
    long: int = Field(
        default=3000, ge=0, description="Steps of a training that uses them anyway"
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
    side: float = Field(
        default=0.5, gt=0, lt=1, description="Edge of a pasted box, over the crop's"
    )
    strong: bool = Field(
        default=True, description="Whether pseudo labels train a strong view"
    )


@register
class Auto(DualTaskMethod):
    """Labels first; pseudo labels once the labelled scans have little left to teach.

    A term on unlabelled crops costs steps, and in a budget of minutes it must be
    worth them: at first more steps with labels teach more, and the averaged network
    changes too fast to be learned from. So until half of the training is over it
    learns from labels alone, and a short one longer where it is about as sure of the
    other scans as of the labelled ones (`training.entropy_ratio`): they hold nothing
    new for it then. Where it is not, labelled crops are shown with the grey values of
    the others too (`data.appearance`). A batch has an unlabelled crop as well, in a
    strong view and with a box of a labelled crop pasted in (after BCP, Bai et al.,
    CVPR 2023, and FixMatch, Sohn et al., NeurIPS 2020). The averaged network labels its
    weak view by the mean p' of the mask and distance heads:

    L = L_sup + lambda a^2 [max p' >= tau, gap' <= g] ((CE + Dice) / 2 (p, argmax p')
        + Dice(T(d), argmax p'))

    where L_sup counts every annotated voxel, and the other term the unlabelled crop
    and what is not annotated of the labelled ones. The overlap a of the two heads'
    structures there is a measured condition: where they do not agree, what is guessed
    is not worth learning yet. The ablation is in ``docs/benchmark.md``.
    """

    name = "auto"
    title = "Automatic"
    cite = "this project"
    unlabelled = 1
    retired = frozenset({"views", "labels_first"})
    Params: ClassVar[type[MethodParams]] = AutoParams
    params: AutoParams

    def takes_unlabelled(self, t: Progress) -> bool:
        """After the supervised part; in a short training if it is less sure of them."""
        ratio = t.entropy_ratio
        return t.fraction >= self.params.begin and (
            ratio is None
            or ratio >= self.params.least_entropy_ratio
            or t.total >= self.params.long
        )

    def weighs_entropy(self, t: Progress) -> bool:
        """Until it takes unlabelled crops, which changes the ratio itself."""
        return self.params.begin < 1 and not self.takes_unlabelled(t)

    def borrows_unlabelled_greys(self, t: Progress) -> bool:
        """By the same measurement, also in the supervised part."""
        ratio = t.entropy_ratio
        return ratio is not None and ratio >= self.params.least_entropy_ratio

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms on annotated voxels, pseudo labels on the others."""
        student, count = nets.students["student"], batch.labelled
        taking = self.takes_unlabelled(t)
        sparse = taking and not bool((batch.valid | ~batch.inside[:count, 0]).all())
        if not taking or (len(batch.image) == count and not sparse):
            return self.labelled(forward(student, batch.image[:count]), batch)
        asked = slice(0, None) if sparse else batch.unlabelled
        with torch.no_grad():
            teacher = forward(nets.teachers["student"], batch.image[asked])
            pair = segmentation(teacher), self.mask(teacher)
            weight = self.params.weight * overlap(*pair) ** 2
            maps = torch.cat([0.5 * (pair[0] + pair[1]), gap(*pair)], dim=1)
        is_labelled_source, visible = self._sources(batch)
        crops, moved, guessed = paste_by_voxel(
            batch,
            is_labelled_source,
            visible,
            maps[batch.unlabelled] if sparse else maps,
            maps[:count] if sparse else None,
        )
        guess, apart = moved[:, :-1], moved[:, -1:]
        image = crops.image
        if self.params.strong:
            image = weak_to_strong(image, guessed)
        output = forward(student, image)
        sure = guessed & confident(guess, self.params.threshold)
        sure = (sure & (apart <= self.params.largest_gap))[:, 0]
        label = guess.argmax(dim=1)
        return {
            **self.labelled(output, crops),
            "pseudo_labels": weight * cross_entropy_dice(logits(output), label, sure),
            "pseudo_distance": weight * soft_dice(self.mask(output), label, sure),
        }

    def _sources(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Voxels (N, 1, Z, Y, X) of labelled volumes, and their visible distance."""
        count, unlabelled = batch.labelled, len(batch.image) - batch.labelled
        box = random_box(batch.image, self.params.side)
        visible = visible_distance(box, self.task.limit_voxels)
        whole, far = torch.ones_like(box), torch.full_like(visible, torch.inf)
        first, last = {
            "both": ((~box, visible), (box, visible)),
            "into": ((whole, far), (box, visible)),
            "none": ((whole, far), (~whole, far)),
        }[self.params.paste]
        sources, distances = zip(*[first] * count, *[last] * unlabelled, strict=True)
        return torch.cat(sources), torch.cat(distances)
