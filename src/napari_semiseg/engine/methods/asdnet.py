"""Attention-based semi-supervised network with a voxel-wise critic."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import functional, torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    logits,
    segmentation,
)
from napari_semiseg.engine.methods.losses import (
    cross_entropy,
    one_hot,
    soft_dice,
    weighted_mean,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


class ASDNetParams(ConsistencyParams):
    """Parameters of `ASDNet`."""

    adversarial_weight: float = Field(
        default=0.01, ge=0, description="Final weight of the adversarial term"
    )
    threshold: float = Field(
        default=0.2, ge=0, lt=1, description="Verdict from which a label is trusted"
    )


def _doubt(verdict: Tensor, real: float, where: Tensor) -> Tensor:
    """Cross-entropy of the critic's logits against real (1) or predicted (0)."""
    truth = torch.full_like(verdict, real)
    error = functional.binary_cross_entropy_with_logits(
        verdict, truth, reduction="none"
    )
    return weighted_mean(error, where)


@register
class ASDNet(DualTaskMethod):
    """A critic says voxel by voxel where a prediction looks like a label.

    Nie et al., "ASDNet: attention based semi-supervised deep networks for medical
    image segmentation", MICCAI 2018. With D the critic's verdict on a probability map:
    L = (CE + Dice weighted by 1 - sg D) / 2 on labels, + a BCE(D(p), real) on all
    crops, + lambda [sg D > tau] CE(p, argmax p) on unlabelled ones; D learns labels as
    real and predictions as not. Departures: the critic sees a quarter of the
    resolution, has no normalisation, and all weights are ramped up.
    """

    name = "asdnet"
    title = "ASDNet: voxel-wise critic"
    cite = "Nie et al., MICCAI 2018"
    critic_learning_rate = 1e-3
    Params: ClassVar[type[MethodParams]] = ASDNetParams
    params: ASDNetParams

    def critics(self) -> dict[str, nn.Module]:
        """One critic of probability maps."""
        from napari_semiseg.engine.networks.blocks import Bottleneck

        return {"critic": Bottleneck(self.task.classes, 2 * self.task.width, 1)}

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms by the critic's attention, its doubt, and trusted labels."""
        count, unlabelled = batch.labelled, batch.unlabelled
        output = forward(nets.students["student"], batch.image)
        probabilities, scores = segmentation(output), logits(output)
        verdict = nets.critics["critic"](probabilities)
        trust = torch.sigmoid(verdict.detach())
        attention = batch.valid * (1.0 - trust[:count, 0])
        sure = (trust[unlabelled] > self.params.threshold) & batch.inside[unlabelled]
        ramp, label = t.ramp(self.params.ramp), scores[unlabelled].argmax(dim=1)
        return {
            **self.labelled(output, batch),
            "supervised": 0.5
            * (
                cross_entropy(scores[:count], batch.target, batch.valid)
                + soft_dice(probabilities[:count], batch.target, attention)
            ),
            "adversarial": self.params.adversarial_weight
            * ramp
            * _doubt(verdict, 1.0, batch.inside),
            "pseudo_labels": self.params.weight(t)
            * cross_entropy(scores[unlabelled], label, sure[:, 0]),
        }

    def critic_loss(self, nets: Networks, batch: Batch) -> Tensor:
        """Cross-entropy of labels (1) against predictions (0)."""
        student = nets.students["student"]
        student.eval()
        with torch.no_grad():
            maps = segmentation(forward(student, batch.image))
        valid = batch.valid.unsqueeze(1)
        labels = one_hot(batch.target, self.task.classes)
        known = torch.where(valid, labels, maps[: batch.labelled])
        critic = nets.critics["critic"]
        return _doubt(critic(known), 1.0, valid) + _doubt(
            critic(maps), 0.0, batch.inside
        )
