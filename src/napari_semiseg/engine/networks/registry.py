"""What networks take and give, readable without PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

Head = Literal["segmentation", "distance"]
Upsampling = Literal["transposed", "linear", "nearest"]
Stride = tuple[int, int, int]


class Output(NamedTuple):
    """What a network says of a batch; a head that it lacks is None.

    Attributes
    ----------
    logits : Tensor (B, C, Z, Y, X)
        Segmentation scores before softmax; channel 0 is background.
    distance : Tensor (B, C, Z, Y, X)
        Signed distance per class, divided by the plan's limit, in [-1, 1],
        negative inside.
    """

    logits: Tensor | None
    distance: Tensor | None
