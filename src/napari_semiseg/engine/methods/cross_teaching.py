"""Cross teaching between a convolutional network and a transformer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.co_training import cross_labels
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    segmentation,
    summed_terms,
)
from napari_semiseg.engine.methods.losses import soft_dice
from napari_semiseg.engine.networks.registry import architecture_names

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Inference, Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


class CrossTeachingParams(ConsistencyParams):
    """Parameters of `CrossTeaching`."""

    partner: str = Field(
        default="hybrid_transformer", description="Architecture of the other network"
    )

    @field_validator("partner")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in architecture_names():
            raise ValueError(
                f"expected an architecture out of {', '.join(architecture_names())}, "
                f"found {name!r}"
            )
        return name


@register
class CrossTeaching(DualTaskMethod):
    """Two networks of different kinds, each with the other's hard labels.

    Luo et al., "Semi-supervised medical image segmentation via cross teaching between
    CNN and transformer", MIDL 2022: L = L_sup(1) + L_sup(2)
    + lambda (Dice(p_1, argmax p_2) + Dice(p_2, argmax p_1)) on unlabelled crops. The
    first network, of the architecture that was asked for, predicts alone. Departure:
    the transformer is a 3D one that begins with convolutions, since there are no
    weights to begin with.
    """

    name = "cross_teaching"
    title = "Cross teaching: CNN and transformer"
    cite = "Luo et al., MIDL 2022"
    Params: ClassVar[type[MethodParams]] = CrossTeachingParams
    params: CrossTeachingParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """The network asked for, and its partner."""
        other = replace(self.task, architecture=self.params.partner)
        return {"first": self.task.network(), "partner": other.network()}

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and each other's labels."""
        outputs = [forward(net, batch.image) for net in nets.students.values()]
        first, second = (segmentation(output)[batch.unlabelled] for output in outputs)
        inside = batch.inside[batch.unlabelled, 0]
        return {
            **summed_terms([self.labelled(output, batch) for output in outputs]),
            "cross_labels": self.params.weight(t)
            * cross_labels(soft_dice, first, second, inside),
        }

    def infer(
        self, teachers: dict[str, SegmentationNetwork], image: Tensor
    ) -> Inference:
        """Predict with the first network."""
        return self.inference(forward(teachers["first"], image))
