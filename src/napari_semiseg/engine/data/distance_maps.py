"""Signed distance maps in millimetres, also of partly annotated volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.imaging.distance import distance_outside, truncated_distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def distance_intervals(
    target: NDArray[np.uint8],
    classes: int,
    spacing_mm: Sequence[float],
    limit_mm: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bound the signed distance to each class's surface, voxel by voxel.

    For an annotated voxel let ``opposite`` be the distance to the nearest annotated
    voxel of the other side, and ``unknown`` that to the nearest unannotated one:
    the true distance lies between min(opposite, unknown) and opposite. An unannotated
    voxel is at most as far outside as the nearest one known to be inside, and at most
    as deep as the nearest one known to be outside. In a completely annotated volume
    both ends agree and are the exact distance.

    Parameters
    ----------
    target : ndarray (Z, Y, X), uint8
        Class indices 0..C-1; 255 where not annotated.
    classes : int
        C, background included.
    spacing_mm : (z, y, x)
        Voxel size.
    limit_mm : float
        Truncation; the result is divided by it.

    Returns
    -------
    low, high : ndarray (C, Z, Y, X), float32
        In [-1, 1], negative inside; one and the same array where the volume is
        completely annotated. A class that is nowhere gives +1.
    """
    unannotated = target == UNANNOTATED
    if unannotated.any():
        return _intervals(target, unannotated, classes, spacing_mm, limit_mm)
    exact = np.empty((classes, *target.shape), dtype=np.float32)
    for index in range(1, classes):
        exact[index] = truncated_distance(target == index, spacing_mm, limit_mm)
    exact[0] = -(
        exact[1]
        if classes == 2
        else truncated_distance(target > 0, spacing_mm, limit_mm)
    )
    exact /= limit_mm
    return exact, exact


def _intervals(
    target: NDArray[np.uint8],
    unannotated: NDArray[np.bool_],
    classes: int,
    spacing_mm: Sequence[float],
    limit_mm: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bound the distance where not every voxel is annotated."""

    def distance_to(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        return distance_outside(mask, spacing_mm).clip(max=limit_mm)

    low, high = (np.empty((classes, *target.shape), np.float32) for _ in range(2))
    unknown = distance_to(unannotated)
    for index in range(classes):
        inside = target == index
        outside = ~inside & ~unannotated
        depth, away = distance_to(outside), distance_to(inside)
        low[index] = np.where(outside, np.minimum(away, unknown), -depth)
        high[index] = np.where(inside, -np.minimum(depth, unknown), away)
    low /= limit_mm
    high /= limit_mm
    return low, high
