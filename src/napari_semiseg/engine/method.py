"""The plug-in surface: a method is one class in one file of `engine.methods`.

A method says which networks it trains, which loss terms move them, and how they
predict. The trainer owns the loop, the optimiser, the averaged (EMA) copies, the
precision, the checkpoints and the events; a method has no state of its own.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_semiseg.core.config import describe
from napari_semiseg.engine.nets import VNet
from napari_semiseg.engine.ops import gaussian_ramp
from napari_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor, nn

    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.engine.nets import Head, Output, Stride, Upsampling

ENTRY_POINTS = "napari_semiseg.methods"
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
    """

    classes: int
    limit_voxels: float
    width: int
    strides: tuple[Stride, ...]
    channels: int = 1

    @property
    def steepness(self) -> float:
        """The k of `ops.soft_mask`: 2 * SDM limit / voxel size."""
        return 2.0 * self.limit_voxels

    def network(
        self,
        heads: tuple[Head, ...] = ("segmentation", "distance"),
        upsampling: tuple[Upsampling, ...] = ("transposed",),
    ) -> VNet:
        """A freshly initialised V-Net for this task."""
        return VNet(
            self.classes,
            self.width,
            self.strides,
            heads,
            upsampling=upsampling,
            channels=self.channels,
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's crops: the L labelled ones first, then U unlabelled ones.

    Attributes
    ----------
    image : Tensor (L + U, K, Z, Y, X), float32
        Normalised intensities of each channel.
    inside : Tensor (L + U, 1, Z, Y, X), bool
        False in padding.
    target : Tensor (L, Z, Y, X), int64
        Class indices.
    valid : Tensor (L, Z, Y, X), bool
        Annotated voxels; only there is ``target`` meaningful.
    low, high : Tensor (L, C, Z, Y, X), float32
        Bounds of the signed distance per class over the plan's limit.
    """

    image: Tensor
    inside: Tensor
    target: Tensor
    valid: Tensor
    low: Tensor
    high: Tensor

    @property
    def labelled(self) -> int:
        """Number L of labelled crops."""
        return self.target.shape[0]

    @property
    def free(self) -> slice:
        """Crops for losses without labels: the unlabelled ones, or all if none is."""
        return slice(self.labelled if len(self.image) > self.labelled else 0, None)


@dataclass(frozen=True, slots=True)
class Progress:
    """The only clock of a method.

    Attributes
    ----------
    step, total : int
        Steps that are done, and that there will be.
    views : float
        How often each labelled case has been seen, on average.
    """

    step: int
    total: int
    views: float = math.inf

    @property
    def fraction(self) -> float:
        """Part of the training that is done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.total))

    def ramp(self, length: float) -> float:
        """Gaussian ramp-up that reaches 1 after the fraction ``length`` of training."""
        return gaussian_ramp(self.step / max(1.0, length * self.total))


class Networks(NamedTuple):
    """Trained networks, averaged copies of them, and critics, by name."""

    students: dict[str, nn.Module]
    teachers: dict[str, nn.Module]
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
    """

    name: ClassVar[str]
    title: ClassVar[str]
    cite: ClassVar[str]
    unlabelled: ClassVar[int] = 2
    least_labelled: ClassVar[int] = 1
    least_unlabelled: ClassVar[int] = 1
    uncertainty: ClassVar[Literal["entropy", "gap"]] = "entropy"
    Params: ClassVar[type[MethodParams]] = MethodParams

    def __init__(self, params: MethodParams, task: Task) -> None:
        self.params = params
        self.task = task

    @property
    def regresses(self) -> bool:
        """Whether the distances of `infer` are lengths; else the mask is measured."""
        return True

    def networks(self) -> dict[str, nn.Module]:
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

    def ramped(self, t: Progress) -> float:
        """Weight of the terms on unlabelled crops over their final one."""
        return 1.0

    def takes_unlabelled(self, t: Progress) -> bool:
        """Whether the batch of a step needs its unlabelled crops.

        Not while the terms on them weigh next to nothing. Where no step of a training
        does, cases without a label are not even read.
        """
        return self.ramped(t) >= NEGLIGIBLE

    def terms(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """What a step minimises: `labelled_loss` while no other term counts yet."""
        if self.ramped(t) < NEGLIGIBLE:
            return self.labelled_loss(nets, batch)
        return self.loss(nets, batch, t)

    def labelled_loss(self, nets: Networks, batch: Batch) -> dict[str, Tensor]:
        """Terms of labelled crops alone; a method that has a ramp has them."""
        raise NotImplementedError(f"{self.name} has a ramp, but no loss before it")

    @abstractmethod
    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Weighted terms by name, to be summed; "supervised" is the labelled one."""

    @abstractmethod
    def infer(self, teachers: dict[str, nn.Module], image: Tensor) -> Inference:
        """Predict a window (B, K, Z, Y, X) with the averaged networks."""


def forward(network: nn.Module, image: Tensor) -> Output:
    """Call a network with its output type known."""
    output: Output = network(image)
    return output


_REGISTRY: dict[str, type[Method]] = {}


def register(method: type[Method]) -> type[Method]:
    """Class decorator that makes a method available by its name.

    Raises
    ------
    ConfigError
        Another class has that name already.
    """
    known = _REGISTRY.setdefault(method.name, method)
    if known is not method:
        raise ConfigError(
            f"two training methods are called {method.name!r}: {known.__module__} and "
            f"{method.__module__}; uninstall one of them"
        )
    return method


@cache
def registry() -> dict[str, type[Method]]:
    """All methods by name: this package's and those of installed plug-ins."""
    package = importlib.import_module("napari_semiseg.engine.methods")
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    for entry in entry_points(group=ENTRY_POINTS):
        entry.load()
    return dict(sorted(_REGISTRY.items()))


def build(name: str, params: dict[str, Any], task: Task) -> Method:
    """Make a method from its name and untyped parameters.

    Raises
    ------
    ConfigError
        Unknown method, unknown parameter, or a value out of range.
    """
    kind = find(name)
    return kind(check_params(kind, params), task)


def find(name: str) -> type[Method]:
    """Look a method up; an unknown name raises ``ConfigError``."""
    known = registry()
    if name not in known:
        raise ConfigError(
            f"no training method {name!r}; choose one of {', '.join(known)}"
        )
    return known[name]


def check_params(kind: type[Method], params: dict[str, Any]) -> MethodParams:
    """Validate parameters; raises ``ConfigError`` that names the known ones."""
    unknown = sorted(set(params) - set(kind.Params.model_fields))
    if unknown:
        raise ConfigError(
            f"{kind.name} has no parameter {unknown[0]!r}; it has "
            f"{', '.join(kind.Params.model_fields)}"
        )
    try:
        return kind.Params(**params)
    except ValidationError as error:
        raise ConfigError(describe(error, f"parameters of {kind.name}")) from error


def check_batch(kind: type[Method], config: TrainingConfig) -> None:
    """Refuse numbers of crops a step that a method cannot work with."""
    for name, found, least in (
        ("labelled", config.labelled_batch, kind.least_labelled),
        ("unlabelled", config.unlabelled_batch or None, kind.least_unlabelled),
    ):
        if found is not None and found < least:
            raise ConfigError(
                f"expected at least {least} {name} crops a step for {kind.name!r}, "
                f"found {name}_batch={found}; leave it out, or use "
                f"--method mean_teacher"
            )
