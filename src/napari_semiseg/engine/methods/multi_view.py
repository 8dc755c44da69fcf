"""Uncertainty-aware multi-view co-training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    segmentation,
    summed_terms,
)
from napari_semiseg.engine.methods.losses import soft_dice
from napari_semiseg.engine.methods.perturbations import entropy

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork
    from napari_semiseg.engine.networks.spec import Stride

CERTAIN = 0.05
"""Entropy, over the largest, below which a network is trusted no more."""


class MultiViewParams(ConsistencyParams):
    """Parameters of `MultiView`."""

    consistency_weight: float = Field(
        default=0.2, ge=0, description="Final weight of the others' labels"
    )


def _seen_along(strides: tuple[Stride, ...], axis: int) -> tuple[Stride, ...]:
    """Keep the resolution along an axis for one level more."""
    first, *others = strides
    kept: Stride = tuple(  # type: ignore[assignment]
        1 if each == axis else stride for each, stride in enumerate(first)
    )
    return (kept, *others)


@register
class MultiView(DualTaskMethod):
    """Three networks that see a crop along different axes label it for each other.

    Xia et al., "Uncertainty-aware multi-view co-training for semi-supervised medical
    image segmentation and domain adaptation", Med. Image Anal. 2020; DMPCT (Zhou et
    al., WACV 2019). L = sum_i L_sup(i) + lambda sum_i Dice(p_i, argmax sum_{j != i}
    p_j / U_j) on unlabelled crops, U the entropy. Departures: the public networks
    differ by kernels that are flat in one plane, from 2D weights. With cubic kernels
    permuted axes are the same network, so these keep one axis each at full resolution
    for one level more. The uncertainty is that of one pass.
    """

    name = "multi_view"
    title = "Multi-view co-training"
    cite = "Xia et al., Med. Image Anal. 2020"
    Params: ClassVar[type[MethodParams]] = MultiViewParams
    params: MultiViewParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """One network for each axis."""
        return {
            name: replace(
                self.task, strides=_seen_along(self.task.strides, axis)
            ).network()
            for axis, name in enumerate("zyx")
        }

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms of all, and the labels that the others agree on."""
        outputs = [forward(net, batch.image) for net in nets.students.values()]
        views = [segmentation(output)[batch.unlabelled] for output in outputs]
        inside = batch.inside[batch.unlabelled, 0]
        trusted = [
            view.detach() / entropy(view.detach()).clamp_min(CERTAIN) for view in views
        ]
        total = torch.stack(trusted).sum(dim=0)
        taught = [
            soft_dice(view, (total - own).argmax(dim=1), inside)
            for view, own in zip(views, trusted, strict=True)
        ]
        return {
            **summed_terms([self.labelled(output, batch) for output in outputs]),
            "co_training": self.params.weight(t) * torch.stack(taught).sum(),
        }
