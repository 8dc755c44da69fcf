"""GapMatch: perturb the image and the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import nn, torch
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
    from napari_semiseg.engine.networks.spec import Output


class GapMatchParams(ConsistencyParams):
    """Parameters of `GapMatch`."""

    consistency_weight: float = Field(
        default=1.0, ge=0, description="Final weight of the pseudo labels"
    )
    threshold: float = Field(
        default=0.8, ge=0, lt=1, description="Confidence that a label needs"
    )
    radius: float = Field(
        default=0.05, ge=0, description="Length of the step of the weights"
    )


@register
class GapMatch(DualTaskMethod):
    """Confident labels train a strong view, seen by weights that a step made worse.

    Huang et al., "GapMatch: bridging instance and model perturbations for enhanced
    semi-supervised medical image segmentation", AAAI 2025. With g the gradient of the
    unlabelled loss l on a strong view, l(w) = [max p' >= tau] CE(z_w, argmax p'):
    L = L_sup + lambda (l(w) + l(w + rho sg g / |g|)) / 2. Departure: p' comes from the
    averaged network.
    """

    name = "gapmatch"
    title = "GapMatch: image and weights perturbed"
    cite = "Huang et al., AAAI 2025"
    Params: ClassVar[type[MethodParams]] = GapMatchParams
    params: GapMatchParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and the labels on the strong view with both weights."""
        image, inside = batch.image[batch.unlabelled], batch.inside[batch.unlabelled]
        student, count = nets.students["student"], batch.labelled
        with torch.no_grad():
            target = segmentation(forward(nets.teachers["student"], image))
        label = target.argmax(dim=1)
        sure = (confident(target, self.params.threshold) & inside)[:, 0]
        strong = weak_to_strong(image, inside)
        output = forward(student, torch.cat([batch.image[:count], strong]))
        plain = cross_entropy(logits(output)[count:], label, sure)
        weights = dict(student.named_parameters())
        uphill = torch.autograd.grad(
            plain, list(weights.values()), retain_graph=True, allow_unused=True
        )
        length = nn.utils.get_total_norm([one for one in uphill if one is not None])
        step = self.params.radius / length.clamp_min(1e-12)
        worse = {
            name: weight if slope is None else weight + step * slope
            for (name, weight), slope in zip(weights.items(), uphill, strict=True)
        }
        moved: Output = torch.func.functional_call(student, worse, (strong,))
        hard = cross_entropy(logits(moved), label, sure)
        return {
            **self.labelled(output, batch),
            "pseudo_labels": self.params.weight(t) * 0.5 * (plain + hard),
        }
