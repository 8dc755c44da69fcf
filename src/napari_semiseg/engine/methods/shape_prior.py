"""A denoising autoencoder of labels as prior of the shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    segmentation,
)
from napari_semiseg.engine.methods.losses import (
    consistency,
    cross_entropy_dice,
    one_hot,
)
from napari_semiseg.engine.methods.perturbations import random_box

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


class ShapePriorParams(ConsistencyParams):
    """Parameters of `ShapePrior`."""

    corrupted: float = Field(
        default=0.2, gt=0, lt=1, description="Part of a label's voxels that is changed"
    )


@register
class ShapePrior(DualTaskMethod):
    """Predictions on unlabelled crops are like what an autoencoder makes of them.

    After Oktay et al., "Anatomically constrained neural networks", IEEE TMI 2018, whose
    autoencoder of labels regularises a network, and Larrazabal et al., "Post-DAE",
    IEEE TMI 2020, whose autoencoder mends corrupted labels:
    L = L_sup + lambda (p - sg DAE(p))^2 on unlabelled crops. Departures: the prior is
    learned beside the network, from labels in which voxels and a box have other
    classes, and compared in the space of masks.
    """

    name = "shape_prior"
    title = "Shape prior: denoising autoencoder"
    cite = "Oktay et al., IEEE TMI 2018; Larrazabal et al., IEEE TMI 2020"
    critic_learning_rate = 1e-3
    Params: ClassVar[type[MethodParams]] = ShapePriorParams
    params: ShapePriorParams

    def critics(self) -> dict[str, nn.Module]:
        """An autoencoder of class maps, without skips."""
        from napari_semiseg.engine.networks.blocks import Bottleneck

        classes = self.task.classes
        return {"prior": Bottleneck(classes, 4 * self.task.width, classes)}

    def trains_critics(self, t: Progress) -> bool:
        """The autoencoder learns from labels, all the time."""
        return True

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and agreement with the mended prediction."""
        output = forward(nets.students["student"], batch.image)
        unlabelled = batch.unlabelled
        prediction = segmentation(output)[unlabelled]
        with torch.no_grad():
            restored = torch.softmax(nets.critics["prior"](prediction), dim=1)
        return {
            **self.labelled(output, batch),
            "shape": self.params.weight(t)
            * consistency(prediction, restored, batch.inside[unlabelled]),
        }

    def critic_loss(self, nets: Networks, batch: Batch) -> Tensor:
        """(CE + Dice) / 2 of the labels that corrupted ones are mended to."""
        valid, classes = batch.valid.unsqueeze(1), self.task.classes
        label = batch.target.unsqueeze(1)
        wrong = torch.randint_like(label, classes)
        spots = torch.rand(label.shape, device=label.device) < self.params.corrupted
        box = random_box(batch.image, self.params.corrupted ** (1 / 3))
        noisy = torch.where(spots, wrong, torch.where(box, label.roll(1, 0), label))
        maps = one_hot(noisy[:, 0], classes) * valid
        return cross_entropy_dice(
            nets.critics["prior"](maps), batch.target, batch.valid
        )
