"""A generalist and specialists that teach each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import functional, torch
from napari_semiseg.engine.methods.base import MethodParams, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    logits,
    segmentation,
)
from napari_semiseg.engine.methods.losses import (
    cross_entropy_dice,
    one_hot,
    soft_dice,
    weighted_mean,
)
from napari_semiseg.engine.methods.perturbations import confident, random_box

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


class CGSParams(ConsistencyParams):
    """Parameters of `CGS`."""

    consistency_weight: float = Field(
        default=1.0, ge=0, description="Final weight of the pseudo labels"
    )
    ramp: float = Field(
        default=0.4, gt=0, le=1, description="Fraction of training to reach it"
    )
    threshold: float = Field(
        default=0.95, ge=0.5, lt=1, description="Confidence that a label needs"
    )
    side: float = Field(
        default=0.5, gt=0, lt=1, description="Edge of the pasted box, over the crop's"
    )


def one_against_rest(scores: Tensor, label: Tensor, where: Tensor) -> Tensor:
    """(BCE + Dice) / 2, each structure against all else; scores (B, C, Z, Y, X)."""
    truth = one_hot(label, scores.shape[1])[:, 1:]
    error = functional.binary_cross_entropy_with_logits(
        scores[:, 1:], truth, reduction="none"
    )
    return 0.5 * (
        weighted_mean(error, where.unsqueeze(1))
        + soft_dice(torch.sigmoid(scores), label, where)
    )


def claimed(scores: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Label (B, Z, Y, X) by specialists, and where it counts (B, Z, Y, X).

    Not where two of them claim a voxel, since one of the two must be wrong.
    """
    claims = torch.sigmoid(scores[:, 1:])
    largest, index = claims.max(dim=1)
    is_class = largest > 0.5
    certainty = torch.where(is_class, largest, 1.0 - largest)
    alone = (claims > 0.5).sum(dim=1) <= 1
    return torch.where(is_class, index + 1, 0), alone & (certainty >= threshold)


@register
class CGS(DualTaskMethod):
    """A decoder for all structures and one for each against the rest.

    Wang et al., "Balancing multi-target semi-supervised medical image segmentation with
    collaborative generalist and specialists", IEEE Trans. Med. Imaging 2025. On CutMix
    of unlabelled crops the generalist learns what exactly one specialist claims of the
    averaged network's, and the specialists what its generalist says, where they are
    sure: L = L_sup + L_rest + lambda (CE + Dice of each with the other's labels). A
    large structure has no weight in the loss of a small one. Departures: the
    specialists share a decoder, so that many structures cost no more than one, and see
    all other classes as one.
    """

    name = "cgs"
    title = "CGS: generalist and specialists"
    cite = "Wang et al., IEEE TMI 2025"
    needs = frozenset({"several decoders"})
    least_unlabelled = 2  # they are pasted into each other
    Params: ClassVar[type[MethodParams]] = CGSParams
    params: CGSParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """One encoder, the generalist's and the specialists' decoder."""
        return {"student": self.task.network(decoders=("transposed", "linear"))}

    def labelled_loss(self, nets: Networks, batch: Batch) -> dict[str, Tensor]:
        """Labelled terms of both decoders."""
        image = batch.image[: batch.labelled]
        general, special = nets.students["student"].outputs(image)
        return self._labelled(self.labelled(general, batch), logits(special), batch)

    def _labelled(
        self, terms: dict[str, Tensor], special: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        rest = one_against_rest(special[: batch.labelled], batch.target, batch.valid)
        return {**terms, "supervised": terms["supervised"] + rest}

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and the labels that both give each other."""
        image, count = batch.image[batch.unlabelled], batch.labelled
        inside, threshold = batch.inside[batch.unlabelled], self.params.threshold
        with torch.no_grad():
            general, special = nets.teachers["student"].outputs(image)
            prediction = segmentation(general)
            sure = confident(prediction, threshold)[:, 0]
            labels = [prediction.argmax(dim=1), *claimed(logits(special), threshold)]
        box = random_box(image, self.params.side)

        def mix(maps: Tensor, where: Tensor) -> Tensor:
            return torch.where(where, maps.roll(1, 0), maps)

        crops = torch.cat([batch.image[:count], mix(image, box)])
        general, special = nets.students["student"].outputs(crops)
        label, claim, alone, sure = (mix(one, box[:, 0]) for one in (*labels, sure))
        where = mix(inside, box)[:, 0]
        terms = self.labelled(general, batch)
        weight = self.params.weight(t)
        return {
            **self._labelled(terms, logits(special), batch),
            "generalist": weight
            * cross_entropy_dice(logits(general)[count:], claim, alone & where),
            "specialists": weight
            * one_against_rest(logits(special)[count:], label, sure & where),
        }
