"""Signed distance maps in millimetres, also of partly annotated volumes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_semiseg.core.labels import UNANNOTATED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.boxes import Box

SLAB_VOXELS = 16_000_000
"""Voxels that are transformed at once; scipy takes some 50 bytes for each."""


def distance_to(
    mask: NDArray[np.bool_], spacing_mm: Sequence[float], limit_mm: float
) -> NDArray[np.float32]:
    """Distance of every voxel to the border of ``mask``, mm, cut at ``limit_mm``.

    The border lies half the smallest voxel size before the nearest voxel centre,
    so that both sides of a surface meet at 0. Large volumes are transformed in slabs
    with as much of their surroundings as the limit reaches, which changes nothing.
    """
    reach = int(np.ceil(limit_mm / spacing_mm[0])) + 1
    step = max(reach, SLAB_VOXELS // max(1, mask[0].size))
    depth = len(mask)
    if depth <= step:
        return _distance_to(mask, spacing_mm, limit_mm)
    result = np.empty(mask.shape, dtype=np.float32)
    for start in range(0, depth, step):
        first, stop = max(0, start - reach), min(depth, start + step)
        part = _distance_to(mask[first : stop + reach], spacing_mm, limit_mm)
        result[start:stop] = part[start - first : stop - first]
    return result


def _distance_to(
    mask: NDArray[np.bool_], spacing_mm: Sequence[float], limit_mm: float
) -> NDArray[np.float32]:
    if not mask.any():
        return np.full(mask.shape, limit_mm, dtype=np.float32)
    distance = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    shifted = np.asarray(distance, dtype=np.float32) - 0.5 * min(spacing_mm)
    return np.clip(shifted, 0.0, limit_mm, out=shifted)


def distance_bounds(
    target: NDArray[np.uint8],
    classes: int,
    spacing_mm: Sequence[float],
    limit_mm: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Interval in which the signed distance to each class's surface must lie.

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
    low = np.ones((classes, *target.shape), dtype=np.float32)
    low[0] = -1
    scale = np.float32(limit_mm)
    unannotated = target == UNANNOTATED
    if not unannotated.any():
        for index in range(classes):
            inside = target > 0 if index == 0 else target == index
            boxes = _boxes(inside, spacing_mm, limit_mm)
            if boxes is not None:
                tight, wide = boxes
                signed = _signed(inside, tight, wide, spacing_mm, limit_mm)
                low[index][wide] = (-signed if index == 0 else signed) / scale
        return low, low
    high = low.copy()
    unknown = distance_to(unannotated, spacing_mm, limit_mm)
    for index in range(classes):
        inside = target == index
        outside = ~inside & ~unannotated
        depth = distance_to(outside, spacing_mm, limit_mm)
        away = distance_to(inside, spacing_mm, limit_mm)
        low[index] = np.where(outside, np.minimum(away, unknown), -depth) / scale
        high[index] = np.where(inside, -np.minimum(depth, unknown), away) / scale
    return low, high


def _boxes(
    inside: NDArray[np.bool_], spacing_mm: Sequence[float], limit_mm: float
) -> tuple[Box, Box] | None:
    """Boxes about a mask: one voxel around it, and beyond which all is cut."""
    found = ndimage.find_objects(inside.view(np.uint8))
    if not found:
        return None
    reaches = [int(np.ceil(limit_mm / step)) + 1 for step in spacing_mm]
    tight, wide = (
        tuple(
            slice(max(0, edge.start - margin), min(size, edge.stop + margin))
            for edge, margin, size in zip(found[0], margins, inside.shape, strict=True)
        )
        for margins in ([1] * inside.ndim, reaches)
    )
    return tight, wide


def _signed(
    inside: NDArray[np.bool_],
    tight: Box,
    wide: Box,
    spacing_mm: Sequence[float],
    limit_mm: float,
) -> NDArray[np.float32]:
    """Signed distance in the box ``wide``, mm; both sides at the same time.

    What lies outside of a mask begins within one voxel around it.
    """
    with ThreadPoolExecutor(1) as pool:  # scipy lets other threads run
        depth = pool.submit(distance_to, ~inside[tight], spacing_mm, limit_mm)
        signed = distance_to(inside[wide], spacing_mm, limit_mm)
    inner = tuple(
        slice(small.start - large.start, small.stop - large.start)
        for small, large in zip(tight, wide, strict=True)
    )
    signed[inner] -= np.where(inside[tight], depth.result(), np.float32(0))
    return signed
