"""Boxes of one crop in another, with image, label, validity and distance together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.data.batch import Batch
from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward
from napari_semiseg.engine.methods.dual_task import (
    DualTaskMethod,
    DualTaskParams,
    logits,
    segmentation,
    summed_terms,
)
from napari_semiseg.engine.methods.losses import cross_entropy_dice
from napari_semiseg.engine.methods.perturbations import random_box

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.methods.base import Networks, Progress


def visible_distance(box: Tensor, limit: float) -> Tensor:
    """Distance of each voxel from those on the other side of a box's faces.

    A crop shows no longer distance than that: behind the face lies another scan.

    Parameters
    ----------
    box : Tensor (1, 1, Z, Y, X), bool
        True inside a box.
    limit : float
        Limit of the distances in working voxels, along the axis with the smallest.

    Returns
    -------
    Tensor (1, 1, Z, Y, X)
        Over the limit; infinite without another side.
    """
    within = torch.full_like(box, math.inf, dtype=torch.float32)
    beyond = torch.zeros_like(within)
    for axis in range(2, 5):
        others = [other for other in range(2, 5) if other != axis]
        line = box.any(dim=others[0], keepdim=True).any(dim=others[1], keepdim=True)
        at = torch.arange(box.shape[axis], device=box.device, dtype=torch.float32)
        at = at.view([-1 if other == axis else 1 for other in range(5)])
        first = torch.where(line, at, math.inf).amin()
        last = torch.where(line, at, -math.inf).amax()
        # A face on the rim of the crop has nothing on its other side.
        left = torch.where(first > 0, at - first + 1, math.inf)
        right = torch.where(last < box.shape[axis] - 1, last + 1 - at, math.inf)
        within = torch.minimum(within, torch.minimum(left, right))
        beyond = beyond + torch.maximum(first - at, at - last).clamp_min(0).square()
    return torch.where(box, within, beyond.sqrt()) / limit


def _limit_to_visible(
    low: Tensor, high: Tensor, visible: Tensor
) -> tuple[Tensor, Tensor]:
    """Distance intervals of which only the distance ``visible`` is known."""
    return (
        torch.where(low < -visible, -1.0, torch.minimum(low, visible)),
        torch.where(high > visible, 1.0, torch.maximum(high, -visible)),
    )


def paste_between_labelled(batch: Batch, side: float, limit: float) -> Batch:
    """Paste into each labelled crop a box of the next one; ``limit`` as above."""
    count = batch.labelled
    image, inside = batch.image[:count], batch.inside[:count]
    box = random_box(image, side)

    def mix(maps: Tensor, where: Tensor) -> Tensor:
        return torch.where(where, maps.roll(1, 0), maps)

    low, high = _limit_to_visible(
        mix(batch.low, box), mix(batch.high, box), visible_distance(box, limit)
    )
    return Batch(
        image=_packed(mix(image, box)),
        inside=mix(inside, box),
        target=mix(batch.target, box[:, 0]),
        valid=mix(batch.valid, box[:, 0]),
        low=low,
        high=high,
        planes=mix(batch.planes, box[:, 0]),
    )


def paste_by_voxel(
    batch: Batch,
    is_labelled_source: Tensor,
    visible: Tensor,
    guess: Tensor,
    known_guess: Tensor | None = None,
) -> tuple[Batch, Tensor, Tensor]:
    """Put crops together from labelled and unlabelled ones, voxel by voxel.

    The i-th of N crops has voxels of the i-th labelled and of the i-th unlabelled
    crop; both lists are repeated where they are shorter.

    Parameters
    ----------
    batch : Batch
        L labelled crops and the U ones of `Batch.unlabelled`.
    is_labelled_source : Tensor (N, 1, Z, Y, X), bool
        Where a crop shows the labelled volume.
    visible : Tensor (N or 1, 1, Z, Y, X)
        See `visible_distance`.
    guess : Tensor (U, C, Z, Y, X)
        Maps of the unlabelled crops, such as class probabilities.
    known_guess : Tensor (L, C, Z, Y, X), optional
        The same of the labelled crops, for their voxels without annotation.

    Returns
    -------
    Batch
        N crops; ``valid`` is true on voxels that come with a label.
    Tensor (N, C, Z, Y, X)
        The maps, moved along; any value on voxels of neither map.
    Tensor (N, 1, Z, Y, X), bool
        Voxels without a label that a map has, inside a volume.
    """
    order = torch.arange(len(is_labelled_source), device=is_labelled_source.device)
    known = order % batch.labelled
    unlabelled = int(batch.unlabelled.start) + order % len(guess)
    inside = torch.where(
        is_labelled_source, batch.inside[known], batch.inside[unlabelled]
    )
    valid = batch.valid[known].unsqueeze(1) & is_labelled_source
    moved = guess[order % len(guess)]
    guessed = inside & ~is_labelled_source
    if known_guess is not None:
        moved = torch.where(is_labelled_source, known_guess[known], moved)
        guessed = inside & ~valid
    low, high = _limit_to_visible(batch.low[known], batch.high[known], visible)
    crops = Batch(
        image=_packed(
            torch.where(is_labelled_source, batch.image[known], batch.image[unlabelled])
        ),
        inside=inside,
        target=batch.target[known],
        valid=valid[:, 0],
        low=low,
        high=high,
        planes=batch.planes[known],
    )
    return crops, moved, guessed


def _packed(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last_3d)


class CopyPasteParams(DualTaskParams):
    """Parameters of `CopyPasteMethod`."""

    unlabelled_weight: float = Field(
        default=0.5, ge=0, description="Weight of pseudo-labelled voxels"
    )
    pretraining: float = Field(
        default=0.15, ge=0, le=1, description="Fraction with labelled crops only"
    )
    side: float = Field(
        default=0.67, gt=0, lt=1, description="Edge of the pasted box, over the crop's"
    )


class CopyPasteMethod(DualTaskMethod):
    """Students learn from crops pasted into each other; see `bcp` for the equations.

    With several students the mean of their averages labels for all of them.
    """

    least_labelled = 2  # they are pasted into each other
    Params: ClassVar[type[MethodParams]] = CopyPasteParams
    params: CopyPasteParams

    def takes_unlabelled(self, t: Progress) -> bool:
        """After the part with labelled crops only."""
        return t.fraction >= self.params.pretraining

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms on labelled voxels, pseudo labels on the others."""
        limit = self.task.limit_voxels
        if not self.takes_unlabelled(t) or not batch.unlabelled.start:
            crops = paste_between_labelled(batch, self.params.side, limit)
            return self.labelled_loss(nets, crops)
        with torch.no_grad():
            image = batch.image[batch.unlabelled]
            predictions = [
                segmentation(forward(net, image)) for net in nets.teachers.values()
            ]
            teacher = torch.stack(predictions).mean(dim=0)
        box = random_box(batch.image, self.params.side)
        count = max(batch.labelled, len(teacher))
        boxes = box.expand(count, *box.shape[1:])
        is_labelled_source = torch.cat([boxes, ~boxes])
        visible = visible_distance(box, limit)
        crops, guess, guessed = paste_by_voxel(
            batch, is_labelled_source, visible, teacher
        )
        outputs = [forward(net, crops.image) for net in nets.students.values()]
        label, where = guess.argmax(dim=1), guessed[:, 0]
        taught = [
            cross_entropy_dice(logits(output), label, where) for output in outputs
        ]
        return {
            **summed_terms([self.labelled(output, crops) for output in outputs]),
            "pseudo_labels": self.params.unlabelled_weight * torch.stack(taught).sum(),
        }
