"""The backbone that methods share: one V-Net with a mask and a distance head.

So that a benchmark compares what methods do with unlabelled crops and nothing else,
all of them have these labelled terms and this inference unless their idea is another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import Inference, Method, MethodParams, forward
from napari_semiseg.engine.methods.losses import (
    cross_entropy_dice,
    distance_interval,
    soft_dice,
)
from napari_semiseg.engine.methods.perturbations import entropy, gap, soft_mask

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork
    from napari_semiseg.engine.networks.spec import Output


class DualTaskParams(MethodParams):
    """Parameters of every `DualTaskMethod`."""

    distance_weight: float = Field(
        default=0.3, ge=0, description="Weight of the signed distance regression"
    )


class ConsistencyParams(DualTaskParams):
    """Parameters of methods with one ramped unlabelled term."""

    consistency_weight: float = Field(
        default=0.1, ge=0, description="Final weight of the unlabelled terms"
    )
    ramp: float = Field(
        default=1.0, gt=0, le=1, description="Fraction of training to reach it"
    )

    def weight(self, t: Progress) -> float:
        """Weight of the unlabelled terms at a step."""
        return self.consistency_weight * t.ramp(self.ramp)


class MonteCarloParams(ConsistencyParams):
    """Parameters of methods that follow a teacher where it is certain."""

    passes: int = Field(
        default=2, ge=1, le=16, description="Stochastic passes for the uncertainty"
    )

    def certain(self, target: Tensor, t: Progress) -> Tensor:
        """Where the entropy is below (0.75 + 0.25 ramp) of the largest (UA-MT)."""
        return entropy(target) < 0.75 + 0.25 * t.ramp(self.ramp)


def segmentation(output: Output) -> Tensor:
    """Class probabilities of the segmentation head."""
    return torch.softmax(logits(output), dim=1)


def logits(output: Output) -> Tensor:
    """Scores of the segmentation head, which the network must have."""
    assert output.logits is not None
    return output.logits


def distances(output: Output) -> Tensor:
    """Signed distances, whose head the network must have."""
    assert output.distance is not None
    return output.distance


def decoded(output: Output) -> Tensor:
    """Maps that the heads have read, in float32."""
    assert output.features is not None
    return output.features.float()


def mean_terms(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Terms of several outputs, averaged by name."""
    return {
        name: torch.stack([terms[name] for terms in parts]).mean() for name in parts[0]
    }


def summed_terms(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Terms of several networks or decoders, added by name.

    Each then learns as fast as a network that is trained alone.
    """
    return {
        name: torch.stack([terms[name] for terms in parts]).sum() for name in parts[0]
    }


class DualTaskMethod(Method):
    """A method whose networks have both heads."""

    Params: ClassVar[type[MethodParams]] = DualTaskParams
    params: DualTaskParams
    labelled_terms: ClassVar[frozenset[str]] = frozenset(
        {"supervised", "distance", "distance_mask"}
    )

    def ramped(self, t: Progress) -> float:
        """By the ramp of the parameters, where they have one."""
        params = self.params
        return t.ramp(params.ramp) if isinstance(params, ConsistencyParams) else 1.0

    def labelled_loss(self, nets: Networks, batch: Batch) -> dict[str, Tensor]:
        """Labelled terms of all networks, and of all their decoders, added."""
        image = batch.image[: batch.labelled]
        outputs: list[Output] = []
        for network in nets.students.values():
            outputs += network.outputs(image)
        return summed_terms([self.labelled(output, batch) for output in outputs])

    @property
    def regresses(self) -> bool:
        """Whether labels teach the distance head distances."""
        return self.params.distance_weight > 0

    def mask(self, output: Output) -> Tensor:
        """Class probabilities that the distance head implies: T(d)."""
        return soft_mask(distances(output), self.task.steepness)

    def labelled(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """(CE + Dice) / 2 + Dice(T(d), y) + w |d - phi| on the first L crops.

        The mask of the distance head is compared as well as its distances:
        regression alone moves the boundary between two classes slowly.
        """
        count = batch.labelled
        regression = distance_interval(
            distances(output)[:count], batch.low, batch.high, batch.valid
        )
        return {
            "supervised": cross_entropy_dice(
                logits(output)[:count], batch.target, batch.valid
            ),
            "distance_mask": soft_dice(
                self.mask(output)[:count], batch.target, batch.valid
            ),
            "distance": self.params.distance_weight * regression,
        }

    def inference(self, output: Output) -> Inference:
        """Mask head of one averaged network, and the gap of its heads."""
        probabilities = segmentation(output)
        return Inference(
            probabilities, distances(output), gap(probabilities, self.mask(output))
        )

    def infer(
        self, teachers: dict[str, SegmentationNetwork], image: Tensor
    ) -> Inference:
        """Mean over the averaged networks."""
        parts = [
            self.inference(forward(teacher, image)) for teacher in teachers.values()
        ]
        means = (torch.stack(part).mean(dim=0) for part in zip(*parts, strict=True))
        return Inference(*means)
