"""Three networks, each with the annotated slices of one orientation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    logits,
    segmentation,
    summed_terms,
)
from napari_semiseg.engine.methods.losses import cross_entropy
from napari_semiseg.engine.methods.perturbations import entropy

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


def in_slices_across(batch: Batch, axis: int) -> Tensor:
    """Annotated voxels (L, Z, Y, X) in whole slices across an axis (0 is z).

    All of a crop without such slices.
    """
    annotated = batch.valid & ((batch.planes >> axis) & 1).bool()
    there = annotated.flatten(1).any(dim=1).view(-1, 1, 1, 1)
    return torch.where(there, annotated, batch.valid)


@register
class SGTC(DualTaskMethod):
    """Networks that know slices of different orientations label the rest together.

    Yan et al., "SGTC: semantic-guided triplet co-training for sparsely annotated
    medical image segmentation", AAAI 2025: network i learns from the annotated slices
    across axis i, and everywhere else from the others where they are certain:
    L = sum_i L_sup(i) + lambda sum_{j != i} [U_j < H(t)] CE(z_i, argmax p_j), U the
    entropy and H(t) = 0.75 + 0.25 ramp(t) of the largest. Without slices in a crop, or
    with slices of another orientation only, a network has all labels of it. Departures:
    no guidance by a text encoder; the labelled terms keep their weight.
    """

    name = "sgtc"
    title = "SGTC: a network for each slice orientation"
    cite = "Yan et al., AAAI 2025"
    Params: ClassVar[type[MethodParams]] = ConsistencyParams
    params: ConsistencyParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """One network for each orientation."""
        return {name: self.task.network() for name in "zyx"}

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labels of one orientation each, and the others' labels elsewhere."""
        outputs = [forward(net, batch.image) for net in nets.students.values()]
        count, limit = batch.labelled, 0.75 + 0.25 * t.ramp(self.params.ramp)
        own = [
            self.labelled(output, replace(batch, valid=in_slices_across(batch, axis)))
            for axis, output in enumerate(outputs)
        ]
        known = torch.zeros_like(batch.inside[:, 0])
        known[:count] = batch.valid
        unlabelled = batch.inside[:, 0] & ~known
        predictions = [segmentation(output).detach() for output in outputs]
        taught = [
            cross_entropy(
                logits(output),
                other.argmax(dim=1),
                unlabelled & (entropy(other)[:, 0] < limit),
            )
            for index, output in enumerate(outputs)
            for other in predictions[:index] + predictions[index + 1 :]
        ]
        return {
            **summed_terms(own),
            "co_training": self.params.weight(t) * torch.stack(taught).sum(),
        }
