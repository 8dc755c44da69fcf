"""Decoupled decoders for labelled and for unlabelled crops."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    logits,
    segmentation,
)
from napari_semiseg.engine.methods.losses import (
    cross_entropy,
    cross_entropy_dice,
    one_hot,
)
from napari_semiseg.engine.methods.perturbations import confident, weak_to_strong

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


class SKCDFParams(ConsistencyParams):
    """Parameters of `SKCDF`."""

    consistency_weight: float = Field(
        default=1.0, ge=0, description="Final weight of the pseudo labels"
    )
    threshold: float = Field(
        default=0.8, ge=0, lt=1, description="Confidence that a label needs"
    )
    pull: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Part of the way to the other decoder that one goes each step",
    )


@register
class SKCDF(DualTaskMethod):
    """Labels train one decoder, pseudo labels another, which is drawn to the first.

    Zhang et al., "Semantic knowledge complementarity based decoupling framework for
    semi-supervised class-imbalanced medical image segmentation", CVPR 2025, reduced:
    L = L_sup(p_1, y) + CE(p_2, y) on as many voxels of each class
    + lambda [max p' >= tau] (CE + Dice) / 2 (p_2, argmax p') on a strong view, p' of
    the averaged first decoder; after a step w_2 = 0.99 w_2 + 0.01 w_1. Wrong pseudo
    labels never move the decoder that predicts. Departures: no attention between
    labelled and unlabelled features, whose grid the public code fixes, and the balanced
    labels train the second decoder in place of a third head.
    """

    name = "skcdf"
    title = "SKCDF: decoupled decoders"
    cite = "Zhang et al., CVPR 2025"
    needs = frozenset({"several decoders"})
    labelled_terms = DualTaskMethod.labelled_terms | {"balanced"}
    Params: ClassVar[type[MethodParams]] = SKCDFParams
    params: SKCDFParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """One encoder and both decoders."""
        return {"student": self.task.network(decoders=("transposed", "transposed"))}

    def clock_moves(self, nets: Networks, before: Progress, now: Progress) -> None:
        """Draw the second decoder to the first after a step."""
        if now.step == before.step:
            return
        student = nets.students["student"]
        with torch.no_grad():
            for second, first in zip(
                student.decoder_weights(1), student.decoder_weights(0), strict=True
            ):
                second.lerp_(first, self.params.pull)

    def _balanced(self, scores: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy on about as many labelled voxels of each class."""
        known = one_hot(batch.target, self.task.classes) * batch.valid.unsqueeze(1)
        size = known.sum(dim=(0, 2, 3, 4))
        fewest = torch.where(size > 0, size, torch.inf).amin()
        chance = (fewest / size.clamp_min(1.0)).clamp(max=1.0)[batch.target]
        drawn = torch.rand_like(chance) < chance
        return cross_entropy(scores, batch.target, drawn & batch.valid)

    def labelled_loss(self, nets: Networks, batch: Batch) -> dict[str, Tensor]:
        """Labelled terms of the first decoder, balanced ones of the second."""
        image = batch.image[: batch.labelled]
        first, second = nets.students["student"].outputs(image)
        return {
            **self.labelled(first, batch),
            "balanced": self._balanced(logits(second), batch),
        }

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and pseudo labels for the second decoder."""
        image, inside = batch.image[batch.unlabelled], batch.inside[batch.unlabelled]
        student, count = nets.students["student"], batch.labelled
        with torch.no_grad():
            target = segmentation(forward(nets.teachers["student"], image))
        sure = confident(target, self.params.threshold) & inside
        crops = torch.cat([batch.image[:count], weak_to_strong(image, inside)])
        features = student.encoder(crops)
        first = student.decode([maps[:count] for maps in features])
        second = logits(student.decode(features, 1))
        return {
            **self.labelled(first, batch),
            "balanced": self._balanced(second[:count], batch),
            "pseudo_labels": self.params.weight(t)
            * cross_entropy_dice(second[count:], target.argmax(dim=1), sure[:, 0]),
        }
