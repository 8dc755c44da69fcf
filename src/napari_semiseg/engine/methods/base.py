"""The plug-in surface: a method is one class in one file of `engine.methods`.

A method says which networks it trains, which loss terms move them, and how they
predict. The trainer owns the loop, the optimiser, the averaged (EMA) copies, the
precision, the checkpoints and the events; a method has no state of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from napari_semiseg.core.config import DEFAULT_ARCHITECTURE
from napari_semiseg.core.registry import Registry
from napari_semiseg.engine.methods.perturbations import gaussian_ramp
from napari_semiseg.engine.networks import registry as architectures
from napari_semiseg.engine.networks.spec import NetworkSpec

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor, nn

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork
    from napari_semiseg.engine.networks.spec import (
        Feature,
        Head,
        Output,
        Stride,
        Upsampling,
    )

NEGLIGIBLE = 0.1
"""Part of their final weight below which terms on unlabelled crops are left out."""


class MethodParams(BaseModel):
    """Parameters that every method has; a method adds its own in a subclass."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ema_decay: float = Field(
        default=0.99, ge=0, lt=1, description="Inertia of the averaged network"
    )


@dataclass(frozen=True, slots=True)
class Task:
    """What a method is built for.

    Attributes
    ----------
    classes : int
        Number of classes C, background included.
    limit_voxels : float
        SDM limit over the smallest edge of a working voxel.
    width, strides
        Of the network, from the plan.
    channels : int
        Number of images K of a case.
    architecture : str
        Name of the network architecture.
    mirrored : bool
        Whether a mirror image of a scan is a scan too; false where classes tell its
        sides apart.
    spacing_mm : (z, y, x)
        Edges of a working voxel.
    kernels
        Of the network, from the plan.
    """

    classes: int
    limit_voxels: float
    width: int
    strides: tuple[Stride, ...]
    channels: int = 1
    architecture: str = DEFAULT_ARCHITECTURE
    mirrored: bool = True
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    kernels: tuple[Stride, ...] = ()

    @property
    def steepness(self) -> float:
        """The k of `perturbations.soft_mask`: 2 * SDM limit / voxel size."""
        return 2.0 * self.limit_voxels

    def network(
        self,
        heads: tuple[Head, ...] = ("segmentation", "distance"),
        decoders: tuple[Upsampling, ...] = ("transposed",),
        *,
        pyramid: bool = False,
    ) -> SegmentationNetwork:
        """Make a network for this task; parameters as in `NetworkSpec`."""
        return architectures.find(self.architecture).build(
            NetworkSpec(
                self.classes,
                self.channels,
                self.width,
                self.strides,
                heads,
                decoders,
                pyramid,
                self.kernels,
            )
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """The only clock of a method.

    Attributes
    ----------
    step, total : int
        Steps that are done, and that there will be.
    entropy_ratio : float, optional
        How much less sure the averaged networks are where nothing is annotated, see
        `training.entropy_ratio`; None before it is measured.
    """

    step: int
    total: int
    entropy_ratio: float | None = None

    @property
    def fraction(self) -> float:
        """Part of the training that is done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.total))

    def ramp(self, length: float) -> float:
        """Gaussian ramp-up that reaches 1 after the fraction ``length`` of training."""
        return gaussian_ramp(self.step / max(1.0, length * self.total))


class Networks(NamedTuple):
    """Trained networks, averaged copies of them, and critics, by name."""

    students: dict[str, SegmentationNetwork]
    teachers: dict[str, SegmentationNetwork]
    critics: dict[str, nn.Module]


class Inference(NamedTuple):
    """What a method says of a window.

    Attributes
    ----------
    probabilities : Tensor (B, C, Z, Y, X)
        Class probabilities.
    distance : Tensor (B, C, Z, Y, X)
        Signed distance over the plan's limit.
    gap : Tensor (B, 1, Z, Y, X)
        Disagreement of segmentation and distance, in [0, 1].
    """

    probabilities: Tensor
    distance: Tensor
    gap: Tensor


class Method(ABC):
    """Base of all training methods; see ``docs/adding-a-method.md``.

    Attributes
    ----------
    name, title, cite : str
        Identifier, what a person reads, and the paper.
    unlabelled : int
        Unlabelled crops of a batch unless asked otherwise; 0 where none takes part.
    least_labelled, least_unlabelled : int
        Crops that a batch must have; the second only where it has unlabelled ones.
    uncertainty : {"entropy", "gap"}
        Which map says best where it errs: the entropy of its probabilities, or the
        gap between its segmentation and its distance.
    labelled_terms : frozenset of str
        Names of the terms that count labels alone.
    critic_learning_rate : float
        Of the critics' optimiser.
    retired : frozenset of str
        Parameters of earlier versions, which runs of theirs still name.
    needs : frozenset of str
        What its networks must have that not every architecture offers, see
        `networks.registry.Architecture`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    cite: ClassVar[str]
    unlabelled: ClassVar[int] = 2
    least_labelled: ClassVar[int] = 1
    least_unlabelled: ClassVar[int] = 1
    uncertainty: ClassVar[Literal["entropy", "gap"]] = "entropy"
    labelled_terms: ClassVar[frozenset[str]] = frozenset({"supervised"})
    critic_learning_rate: ClassVar[float] = 1e-4
    retired: ClassVar[frozenset[str]] = frozenset()
    needs: ClassVar[frozenset[Feature]] = frozenset()
    Params: ClassVar[type[MethodParams]] = MethodParams

    def __init__(self, params: MethodParams, task: Task) -> None:
        self.params = params
        self.task = task

    @property
    def regresses(self) -> bool:
        """Whether the distances of `infer` are lengths; else the mask is measured."""
        return True

    def networks(self) -> dict[str, SegmentationNetwork]:
        """Networks to train."""
        return {"student": self.task.network()}

    def teachers(self) -> dict[str, str]:
        """Averaged copies by name, and the network that each of them follows."""
        return {name: name for name in self._names}

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """Of the networks, which take longer to make than a step may."""
        return tuple(self.networks())

    def followers(self, t: Progress) -> Collection[str]:
        """Averaged copies that are updated after a step; all of them by default."""
        return self.teachers()

    def critics(self) -> dict[str, nn.Module]:
        """Networks that judge the others; trained by `critic_loss` alone."""
        return {}

    def critic_loss(self, nets: Networks, batch: Batch) -> Tensor:
        """What the critics minimise, after a step of the networks."""
        raise NotImplementedError(f"{self.name} has critics, but no loss for them")

    def trains_critics(self, t: Progress) -> bool:
        """Whether critics learn at a step; those of labels alone can at every one."""
        return self.takes_unlabelled(t)

    def ramped(self, t: Progress) -> float:
        """Weight of the terms on unlabelled crops over their final one."""
        return 1.0

    def takes_unlabelled(self, t: Progress) -> bool:
        """Whether the batch of a step needs its unlabelled crops.

        Not while the terms on them weigh next to nothing. Where no step of a training
        does, cases without a label are not even read.
        """
        return self.ramped(t) >= NEGLIGIBLE

    def weighs_entropy(self, t: Progress) -> bool:
        """Whether it asks for `Progress.entropy_ratio`, and has not decided by it."""
        return False

    def borrows_unlabelled_greys(self, t: Progress) -> bool:
        """Whether labelled crops may be shown with grey values of unlabelled scans.

        Those of other labelled scans are borrowed in every method.
        """
        return False

    def terms(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """What a step minimises: `labelled_loss` while no other term counts yet."""
        if self.ramped(t) < NEGLIGIBLE:
            return self.labelled_loss(nets, batch)
        return self.loss(nets, batch, t)

    def labelled_loss(self, nets: Networks, batch: Batch) -> dict[str, Tensor]:
        """Terms of labelled crops alone; a method that has a ramp has them."""
        raise NotImplementedError(f"{self.name} has a ramp, but no loss before it")

    def clock_moves(  # noqa: B027 - few need it
        self, nets: Networks, before: Progress, now: Progress
    ) -> None:
        """Change weights otherwise than by a gradient, once the averages followed.

        After each step; and where the number of steps is fixed anew, at the same step.
        """

    @abstractmethod
    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Weighted terms by name, to be summed; "supervised" is the labelled one."""

    @abstractmethod
    def infer(
        self, teachers: dict[str, SegmentationNetwork], image: Tensor
    ) -> Inference:
        """Predict a window (B, K, Z, Y, X) with the averaged networks."""


def forward(network: nn.Module, image: Tensor) -> Output:
    """Call a network with its output type known."""
    output: Output = network(image)
    return output


METHODS: Registry[type[Method]] = Registry(
    "training method", "napari_semiseg.engine.methods", "napari_semiseg.methods"
)


def register(method: type[Method]) -> type[Method]:
    """Class decorator that makes a method available by its name.

    Raises
    ------
    ConfigError
        Another class has that name already.
    """
    METHODS.add(method.name, method)
    return method
