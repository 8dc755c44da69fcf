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
    batch: Batch, guess: Tensor, labelled: tuple[Tensor, Tensor]
) -> tuple[Batch, Tensor, Tensor]:
    """Crops put together from labelled and unlabelled ones, voxel by voxel.

    Parameters
    ----------
    batch : Batch
        L labelled crops and the U ones of `Batch.free`; the shorter list is repeated
        to the length N of the longer.
    guess : Tensor (U, C, Z, Y, X)
        Class probabilities of the unlabelled crops.
    labelled : pair of Tensor (1, 1, Z, Y, X), bool
        Where the first N and the second N crops show the labelled volume.

    Returns
    -------
    Batch
        2 N crops; ``valid`` is true on voxels that come with a label.
    Tensor (2 N, C, Z, Y, X)
        The class probabilities, moved along; any value on labelled voxels.
    Tensor (2 N, 1, Z, Y, X), bool
        Voxels without a label, inside a volume.
    """
    everything = torch.arange(len(batch.image), device=batch.image.device)
    known, free = everything[: batch.labelled], everything[batch.free]
    count = max(len(known), len(free))
    known, free = (one.repeat(-(-count // len(one)))[:count] for one in (known, free))
    known, free = known.repeat(2), free.repeat(2)
    ours = torch.cat([part.expand(count, -1, -1, -1, -1) for part in labelled])
    inside = torch.where(ours, batch.inside[known], batch.inside[free])
    image = torch.where(ours, batch.image[known], batch.image[free])
    crops = Batch(
        image=_packed(image),
        inside=inside,
        target=batch.target[known],
        valid=batch.valid[known] & ours[:, 0],
        low=batch.low[known],
        high=batch.high[known],
    )
    return crops, guess[free - int(batch.free.start)], ~ours & inside


def _packed(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last_3d)
