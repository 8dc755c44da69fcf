"""Boxes of one crop in another, with image, label, validity and distance together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_semiseg.engine.method import Batch
from napari_semiseg.engine.ops import random_box

if TYPE_CHECKING:
    from torch import Tensor


def neighbours(batch: Batch, side: float) -> Batch:
    """Labelled crops only, each with a box of the next one."""
    count = batch.labelled
    image, inside = batch.image[:count], batch.inside[:count]
    box = random_box(image, side)

    def mix(maps: Tensor, where: Tensor) -> Tensor:
        return torch.where(where, maps.roll(1, 0), maps)

    return Batch(
        image=_packed(mix(image, box)),
        inside=mix(inside, box),
        target=mix(batch.target, box[:, 0]),
        valid=mix(batch.valid, box[:, 0]),
        low=mix(batch.low, box),
        high=mix(batch.high, box),
    )


def mixed(
    batch: Batch, ours: Tensor, guess: Tensor, known_guess: Tensor | None = None
) -> tuple[Batch, Tensor, Tensor]:
    """Crops put together from labelled and unlabelled ones, voxel by voxel.

    The i-th of N crops has voxels of the i-th labelled and of the i-th unlabelled
    crop; both lists are repeated where they are shorter.

    Parameters
    ----------
    batch : Batch
        L labelled crops and the U ones of `Batch.free`.
    ours : Tensor (N, 1, Z, Y, X), bool
        Where a crop shows the labelled volume.
    guess : Tensor (U, C, Z, Y, X)
        Maps of the unlabelled crops, such as class probabilities.
    known_guess : Tensor (L, C, Z, Y, X), optional
        The same of the labelled crops, for their voxels without annotation.

    Returns
    -------
    Batch
        N crops; ``valid`` is true on voxels that come with a label.
    Tensor (N, C, Z, Y, X)
        The maps, moved along; any value on voxels that neither map speaks of.
    Tensor (N, 1, Z, Y, X), bool
        Voxels without a label that a map speaks of, inside a volume.
    """
    order = torch.arange(len(ours), device=ours.device)
    known = order % batch.labelled
    free = int(batch.free.start) + order % len(guess)
    inside = torch.where(ours, batch.inside[known], batch.inside[free])
    valid = batch.valid[known].unsqueeze(1) & ours
    moved = guess[order % len(guess)]
    guessed = inside & ~ours
    if known_guess is not None:
        moved = torch.where(ours, known_guess[known], moved)
        guessed = inside & ~valid
    crops = Batch(
        image=_packed(torch.where(ours, batch.image[known], batch.image[free])),
        inside=inside,
        target=batch.target[known],
        valid=valid[:, 0],
        low=batch.low[known],
        high=batch.high[known],
    )
    return crops, moved, guessed


def _packed(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last_3d)
