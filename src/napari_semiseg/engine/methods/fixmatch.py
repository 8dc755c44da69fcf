"""FixMatch: confident labels of a weak view for a strong one."""

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
from napari_semiseg.engine.methods.losses import cross_entropy
from napari_semiseg.engine.methods.perturbations import confident, weak_to_strong

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


class FixMatchParams(ConsistencyParams):
    """Parameters of `FixMatch`."""

    consistency_weight: float = Field(
        default=1.0, ge=0, description="Final weight of the pseudo labels"
    )
    threshold: float = Field(
        default=0.95, ge=0.5, lt=1, description="Confidence that a label needs"
    )


@register
class FixMatch(DualTaskMethod):
    """Labels of which the weak view is sure train the strong view.

    Sohn et al., "FixMatch", NeurIPS 2020: L = L_sup + lambda [max p' >= tau]
    CE(z(strong), argmax p'(weak)) on unlabelled crops. Departures: p' comes from
    the averaged network, and lambda is ramped up.
    """

    name = "fixmatch"
    title = "FixMatch: weak to strong"
    cite = "Sohn et al., NeurIPS 2020"
    Params: ClassVar[type[MethodParams]] = FixMatchParams
    params: FixMatchParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and confident labels on the strong view."""
        image, inside = batch.image[batch.unlabelled], batch.inside[batch.unlabelled]
        count = batch.labelled
        with torch.no_grad():
            target = segmentation(forward(nets.teachers["student"], image))
        views = torch.cat([batch.image[:count], weak_to_strong(image, inside)])
        output = forward(nets.students["student"], views)
        sure = confident(target, self.params.threshold) & inside
        return {
            **self.labelled(output, batch),
            "pseudo_labels": self.params.weight(t)
            * cross_entropy(logits(output)[count:], target.argmax(dim=1), sure[:, 0]),
        }
