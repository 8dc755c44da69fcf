"""FixMatch: confident labels of a weak view for a strong one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from napari_semiseg.engine.lazy_torch import nn, torch
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
    soft_dice,
)
from napari_semiseg.engine.methods.perturbations import confident, weak_to_strong

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress

STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Of strong views that adapt."""
TOLERATED = 0.85
"""Part of the best agreement with labels that a strength must reach to be used."""


class FixMatchParams(ConsistencyParams):
    """Parameters of `FixMatch`."""

    consistency_weight: float = Field(
        default=1.0, ge=0, description="Final weight of the pseudo labels"
    )
    threshold: float = Field(
        default=0.95, ge=0, lt=1, description="Confidence that a label needs"
    )
    loss: Literal["cross_entropy", "cross_entropy_dice"] = Field(
        default="cross_entropy", description="What compares pseudo labels"
    )
    view: Literal["random", "adaptive"] = Field(
        default="random",
        description="Strong views of one strength, or no stronger than labels bear",
    )


@register
class FixMatch(DualTaskMethod):
    """Labels of which the weak view is sure train the strong view.

    Sohn et al., "FixMatch", NeurIPS 2020: L = L_sup + lambda [max p' >= tau]
    CE(z(strong), argmax p'(weak)) on unlabelled crops. Departures: p' comes from
    the averaged network, and lambda is ramped up. ``threshold=0`` with
    ``loss=cross_entropy_dice`` is the variant without a threshold of SSL4MIS. With
    ``view=adaptive`` views are as strong as labels bear, after the control theory
    augment of Berthelot et al., "ReMixMatch", ICLR 2020: for each strength a table
    follows the Dice of strong views of labelled crops, and one is drawn out of those
    with at least 0.85 of the best. Departure: one strength for all changes.
    """

    name = "fixmatch"
    title = "FixMatch: weak to strong"
    cite = "Sohn et al., NeurIPS 2020"
    critic_learning_rate = 0.02
    Params: ClassVar[type[MethodParams]] = FixMatchParams
    params: FixMatchParams

    def critics(self) -> dict[str, nn.Module]:
        """The table of strengths, where they adapt."""
        if self.params.view == "random":
            return {}
        table = nn.Embedding(len(STRENGTHS), 1)
        nn.init.ones_(table.weight)
        return {"strengths": table}

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and confident labels on the strong view."""
        image, inside = batch.image[batch.unlabelled], batch.inside[batch.unlabelled]
        count = batch.labelled
        with torch.no_grad():
            target = segmentation(forward(nets.teachers["student"], image))
        strong = weak_to_strong(image, inside, self._strength(nets))
        views = torch.cat([batch.image[:count], strong])
        output = forward(nets.students["student"], views)
        sure = (confident(target, self.params.threshold) & inside)[:, 0]
        compare = {
            "cross_entropy": cross_entropy,
            "cross_entropy_dice": cross_entropy_dice,
        }[self.params.loss]
        return {
            **self.labelled(output, batch),
            "pseudo_labels": self.params.weight(t)
            * compare(logits(output)[count:], target.argmax(dim=1), sure),
        }

    def _strength(self, nets: Networks) -> float:
        """Draw a strength that labels bear, or the only one."""
        if not nets.critics:
            return 1.0
        borne = next(nets.critics["strengths"].parameters()).detach()[:, 0]
        allowed = borne >= TOLERATED * borne.max()
        return STRENGTHS[int(torch.multinomial(allowed.float().cpu(), 1))]

    def critic_loss(self, nets: Networks, batch: Batch) -> Tensor:
        """Squared error of the table for one strength on the labelled crops."""
        index, count = int(torch.randint(len(STRENGTHS), ())), batch.labelled
        student = nets.students["student"]
        student.eval()
        with torch.no_grad():
            view = weak_to_strong(
                batch.image[:count], batch.inside[:count], STRENGTHS[index]
            )
            prediction = segmentation(forward(student, view))
            dice = 1.0 - soft_dice(prediction, batch.target, batch.valid)
        known = next(nets.critics["strengths"].parameters())[index, 0]
        return (known - dice).square()
