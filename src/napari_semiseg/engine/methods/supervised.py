"""The strong reference: labelled volumes only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.engine.methods.base import forward, register
from napari_semiseg.engine.methods.dual_task import DualTaskMethod

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


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
