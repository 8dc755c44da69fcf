"""Say what a network is built for, and what it gives; without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

Head = Literal["segmentation", "distance"]
Upsampling = Literal["transposed", "linear", "nearest"]
Stride = tuple[int, int, int]
CUBE: Stride = (3, 3, 3)
"""Size of an ordinary convolution."""
Feature = Literal["several decoders", "output pyramid", "dropout"]


class Output(NamedTuple):
    """Output of a network for a batch; a head that it lacks is None.

    Attributes
    ----------
    logits : Tensor (B, C, Z, Y, X)
        Segmentation scores before softmax; channel 0 is background.
    distance : Tensor (B, C, Z, Y, X)
        Signed distance per class, divided by the plan's limit, in [-1, 1],
        negative inside.
    features : Tensor (B, F, Z, Y, X)
        Decoded maps that the heads have read.
    """

    logits: Tensor | None
    distance: Tensor | None
    features: Tensor | None = None


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """What a network is built for.

    Attributes
    ----------
    classes : int
        Number of classes C, background included.
    channels : int
        Number of images K of a case.
    width : int
        Feature maps at the finest level.
    strides : tuple of (z, y, x)
        Down-sampling between levels, finest first.
    heads : tuple of {"segmentation", "distance"}
        Which outputs to compute.
    decoders : tuple of {"transposed", "linear", "nearest"}
        One decoder each, which up-samples so; the first of them answers.
    pyramid : bool
        Heads at every level of the only decoder instead of at the finest.
    kernels : tuple of (z, y, x)
        Sizes of the convolutions at each level, finest first; of those that are not
        named (3, 3, 3).
    """

    classes: int
    channels: int
    width: int
    strides: tuple[Stride, ...]
    heads: tuple[Head, ...] = ("segmentation", "distance")
    decoders: tuple[Upsampling, ...] = ("transposed",)
    pyramid: bool = False
    kernels: tuple[Stride, ...] = ()

    def kernel(self, level: int) -> Stride:
        """Size of the convolutions at a level, 0 the finest."""
        return self.kernels[level] if level < len(self.kernels) else CUBE
