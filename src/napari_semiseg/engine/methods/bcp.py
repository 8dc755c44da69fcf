"""Bidirectional copy-paste."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.copy_paste import (
    paste_between_labelled,
    paste_by_voxel,
    visible_distance,
)
from napari_semiseg.engine.methods.dual_task import (
    DualTaskMethod,
    DualTaskParams,
    logits,
    segmentation,
)
from napari_semiseg.engine.methods.losses import cross_entropy_dice
from napari_semiseg.engine.methods.perturbations import random_box

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


class BCPParams(DualTaskParams):
    """Parameters of `BCP`."""

    unlabelled_weight: float = Field(
        default=0.5, ge=0, description="Weight of pseudo-labelled voxels"
    )
    pretraining: float = Field(
        default=0.15, ge=0, le=1, description="Fraction with labelled crops only"
    )
    side: float = Field(
        default=0.67, gt=0, lt=1, description="Edge of the pasted box, over the crop's"
    )


@register
class BCP(DualTaskMethod):
    """Labelled and unlabelled crops are pasted into each other.

    Bai et al., "Bidirectional copy-paste for semi-supervised medical image
    segmentation", CVPR 2023. With a box M: x = M a + (1 - M) b, once with a
    labelled and once with b labelled; (CE + Dice) / 2 on the labelled voxels, and
    w times the same on the others, whose labels are the teacher's. At first,
    labelled crops are pasted into each other. Departures: no largest component
    per crop, which can delete a true second part; the SDM head is trained on the
    labelled voxels, as far as a crop shows their surroundings.
    """

    name = "bcp"
    title = "BCP: bidirectional copy-paste"
    cite = "Bai et al., CVPR 2023"
    least_labelled = 2  # they are pasted into each other
    Params: ClassVar[type[MethodParams]] = BCPParams
    params: BCPParams

    def takes_unlabelled(self, t: Progress) -> bool:
        """After the part with labelled crops only."""
        return t.fraction >= self.params.pretraining

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms on labelled voxels, pseudo labels on the others."""
        limit = self.task.limit_voxels
        if not self.takes_unlabelled(t) or not batch.unlabelled.start:
            crops = paste_between_labelled(batch, self.params.side, limit)
            return self.labelled(forward(nets.students["student"], crops.image), crops)
        with torch.no_grad():
            teacher = segmentation(
                forward(nets.teachers["student"], batch.image[batch.unlabelled])
            )
        box = random_box(batch.image, self.params.side)
        count = max(batch.labelled, len(teacher))
        boxes = box.expand(count, *box.shape[1:])
        is_labelled_source = torch.cat([boxes, ~boxes])
        visible = visible_distance(box, limit)
        crops, guess, guessed = paste_by_voxel(
            batch, is_labelled_source, visible, teacher
        )
        output = forward(nets.students["student"], crops.image)
        return {
            **self.labelled(output, crops),
            "pseudo_labels": self.params.unlabelled_weight
            * cross_entropy_dice(logits(output), guess.argmax(dim=1), guessed[:, 0]),
        }
