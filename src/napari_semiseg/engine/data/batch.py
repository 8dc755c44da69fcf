"""One step's crops, as a method sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


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
        Interval of the signed distance per class, over the plan's limit.
    planes : Tensor (L, Z, Y, X), int64
        Slices of the scan that are annotated whole and hold a voxel: the sum of 1 for
        one across its z axis, 2 across y and 4 across x.
    cases : tuple of str
        Id of the case that each crop is of; none where crops are of several.
    """

    image: Tensor
    inside: Tensor
    target: Tensor
    valid: Tensor
    low: Tensor
    high: Tensor
    planes: Tensor
    cases: tuple[str, ...] = ()

    @property
    def labelled(self) -> int:
        """Number L of labelled crops."""
        return self.target.shape[0]

    @property
    def unlabelled(self) -> slice:
        """Crops for losses without labels: the unlabelled ones, or all if none is."""
        return slice(self.labelled if len(self.image) > self.labelled else 0, None)
