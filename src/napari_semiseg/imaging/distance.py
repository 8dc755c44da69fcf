"""Distances in millimetres to the surface of what is inside of something.

References
----------
P. F. Felzenszwalb, D. P. Huttenlocher. Distance transforms of sampled functions.
Theory of Computing 8 (2012) 415-428; as the library ``edt`` computes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import edt
import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.boxes import bounding_box

ALL_CORES = 0
"""What ``edt`` takes for as many threads as there are cores."""


def signed_distance(
    inside: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> NDArray[np.float32]:
    """Distance of every voxel centre to the surface, mm, negative inside.

    The surface lies half the smallest voxel size before the nearest voxel centre of
    the other side, so that both sides meet at 0.

    Parameters
    ----------
    inside : ndarray (Z, Y, X) or (Y, X), bool
        A mask.
    spacing_mm : sequence of float
        Voxel size along each axis.

    Returns
    -------
    ndarray, float32
        On the same grid. Without any voxel inside it is infinite; with nothing
        outside, minus infinite.
    """
    distance = _to_other(inside.astype(np.uint8) + np.uint8(1), spacing_mm)
    return np.negative(distance, out=distance, where=inside)


def distance_outside(
    inside: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> NDArray[np.float32]:
    """`signed_distance`, with 0 for what is inside."""
    distance = _to_other(~inside, spacing_mm)
    return np.maximum(distance, 0, out=distance)


def truncated_distance(
    inside: NDArray[np.bool_], spacing_mm: Sequence[float], limit_mm: float
) -> NDArray[np.float32]:
    """`signed_distance`, cut at ``limit_mm`` on both sides.

    Only the box in which it is not cut is computed.
    """
    result = np.full(inside.shape, limit_mm, np.float32)
    box = bounding_box(inside, [limit_mm / step + 1 for step in spacing_mm])
    if box is not None:
        distance = signed_distance(inside[box], spacing_mm)
        np.clip(distance, -limit_mm, limit_mm, out=result[box])
    return result


def _to_other(
    sides: NDArray[np.uint8 | np.bool_], spacing_mm: Sequence[float]
) -> NDArray[np.float32]:
    """Distance to the surface between a voxel and what has another number.

    Where the number is 0 the distance is 0 as well, less half a voxel.
    """
    distance: NDArray[np.float32] = edt.edt(
        np.ascontiguousarray(sides), anisotropy=tuple(spacing_mm), parallel=ALL_CORES
    )
    distance -= 0.5 * min(spacing_mm)
    return distance
