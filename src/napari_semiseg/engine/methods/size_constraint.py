"""Curriculum by the size of the structures."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import functional, torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    segmentation,
)
from napari_semiseg.engine.methods.losses import one_hot

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


class SizeConstraintParams(ConsistencyParams):
    """Parameters of `SizeConstraint`."""

    tolerance: float = Field(
        default=0.1, ge=0, lt=1, description="Part by which a size may be off"
    )


def _share(maps: Tensor, where: Tensor) -> Tensor:
    """Share of each class but background (B, C - 1) in the voxels that count."""
    where = where.float()
    total = (maps * where).flatten(2).sum(dim=2)[:, 1:]
    return total / where.flatten(1).sum(dim=1, keepdim=True).clamp_min(1.0)


@register
class SizeConstraint(DualTaskMethod):
    """Structures in unlabelled crops have about the size that a regressor expects.

    Kervadec et al., "Curriculum semi-supervised segmentation", MICCAI 2019. With r the
    regressed share of a class in a crop, learned from labels, and S that of the
    prediction: L = L_sup + lambda (relu((1 - a) r - S)^2 + relu(S - (1 + a) r)^2)
    / max(r, S)^2 on unlabelled crops, summed over classes. Departures: both networks
    learn at the same time, and the squares are over the larger size, so that an absent
    structure has a bounded penalty.
    """

    name = "size_constraint"
    title = "Size constraint"
    cite = "Kervadec et al., MICCAI 2019"
    critic_learning_rate = 1e-3
    Params: ClassVar[type[MethodParams]] = SizeConstraintParams
    params: SizeConstraintParams

    def critics(self) -> dict[str, nn.Module]:
        """A regressor of the share of each class in a crop."""
        from napari_semiseg.engine.networks.blocks import Critic

        task = self.task
        return {"size": Critic(task.channels, 2 * task.width, task.classes - 1)}

    def trains_critics(self, t: Progress) -> bool:
        """The regressor learns from labels, all the time."""
        return True

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and what sizes are off by."""
        output = forward(nets.students["student"], batch.image)
        unlabelled, slack = batch.unlabelled, self.params.tolerance
        size = _share(segmentation(output)[unlabelled], batch.inside[unlabelled])
        with torch.no_grad():
            expected = torch.sigmoid(nets.critics["size"](batch.image[unlabelled]))
        off = functional.relu((1 - slack) * expected - size)
        off = off + functional.relu(size - (1 + slack) * expected)
        larger = torch.maximum(expected, size.detach()).clamp_min(1e-3)
        return {
            **self.labelled(output, batch),
            "size": self.params.weight(t) * (off / larger).square().sum(dim=1).mean(),
        }

    def critic_loss(self, nets: Networks, batch: Batch) -> Tensor:
        """Cross-entropy of the shares in labelled crops, by how much is annotated."""
        valid = batch.valid.unsqueeze(1)
        truth = _share(one_hot(batch.target, self.task.classes), valid)
        verdict = nets.critics["size"](batch.image[: batch.labelled])
        error = functional.binary_cross_entropy_with_logits(
            verdict, truth, reduction="none"
        )
        return (error * valid.float().mean(dim=(2, 3, 4))).mean()
