"""The strong reference: labelled volumes only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.engine.dual_task import DualTaskMethod
from napari_semiseg.engine.method import forward, register

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.method import Batch, Networks, Progress


@register
class Supervised(DualTaskMethod):
    """V-Net on the labelled crops: mask, and mask and value of the SDM.

    Full augmentation and an averaged network; every semi-supervised method must
    be compared with this one at the same budget.
    """

    name = "supervised"
    title = "Supervised"
    cite = "Milletari et al., V-Net, 3DV 2016"
    unlabelled = 0

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms only."""
        output = forward(nets.students["student"], batch.image[: batch.labelled])
        return self.labelled(output, batch)
