"""Signed distance maps in millimetres, also of partly annotated volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_semiseg.core.labels import UNANNOTATED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def distance_to(
    mask: NDArray[np.bool_], spacing_mm: Sequence[float], limit_mm: float
) -> NDArray[np.float32]:
    """Distance of every voxel to the border of ``mask``, mm, cut at ``limit_mm``.

    The border lies half the smallest voxel size before the nearest voxel centre,
    so that both sides of a surface meet at 0.
    """
    if not mask.any():
        return np.full(mask.shape, limit_mm, dtype=np.float32)
    distance = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    shifted = np.asarray(distance, dtype=np.float32) - 0.5 * min(spacing_mm)
    cut: NDArray[np.float32] = np.clip(shifted, 0.0, limit_mm).astype(np.float32)
    return cut


def distance_bounds(
    target: NDArray[np.uint8],
    classes: int,
    spacing_mm: Sequence[float],
    limit_mm: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Interval in which the signed distance to each class's surface must lie.

    For an annotated voxel let ``opposite`` be the distance to the nearest annotated
    voxel of the other side, and ``unknown`` that to the nearest unannotated one:
    the true distance lies between min(opposite, unknown) and opposite. In a
    completely annotated volume both ends agree and are the exact distance.

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
        In [-1, 1], negative inside. A class that is nowhere gives +1.
    """
    unannotated = target == UNANNOTATED
    box = _surroundings(target, spacing_mm, limit_mm)
    shape = (classes, *target.shape)
    low = np.full(shape, limit_mm, dtype=np.float32)
    low[0] = -limit_mm
    high = low.copy()
    complete = not unannotated.any()
    region = target[box]
    unknown = None
    if not complete:
        unknown = distance_to(unannotated[box], spacing_mm, limit_mm)
    for index in range(classes):
        inside = region == index
        outside = ~inside & ~unannotated[box]
        far = np.where(
            inside,
            distance_to(outside, spacing_mm, limit_mm),
            distance_to(inside, spacing_mm, limit_mm),
        )
        near = far if unknown is None else np.minimum(far, unknown)
        low[index][box] = np.where(inside, -far, near)
        high[index][box] = np.where(inside, -near, far)
    scale = np.float32(limit_mm)
    return (low / scale).astype(np.float32), (high / scale).astype(np.float32)


def _surroundings(
    target: NDArray[np.uint8], spacing_mm: Sequence[float], limit_mm: float
) -> tuple[slice, ...]:
    """Box beyond which every distance is cut; all of a partly annotated volume."""
    found = ndimage.find_objects((target > 0).astype(np.uint8))
    if not found or (target == UNANNOTATED).any():
        return tuple(slice(0, size) for size in target.shape)
    return tuple(
        slice(
            max(0, edge.start - int(np.ceil(limit_mm / step)) - 1),
            min(size, edge.stop + int(np.ceil(limit_mm / step)) + 1),
        )
        for edge, step, size in zip(found[0], spacing_mm, target.shape, strict=True)
    )
