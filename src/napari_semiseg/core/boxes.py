"""Boxes around what is inside of something."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]
"""A slice along each axis."""
VolumeBox = tuple[slice, slice, slice]
"""The same where there are three, as of a volume (Z, Y, X)."""


def others(axis: int, ndim: int = 3) -> tuple[int, ...]:
    """All axes but one."""
    return tuple(at for at in range(ndim) if at != axis)


def bounding_box(
    inside: NDArray[np.bool_], margin: Sequence[float] = (0, 0, 0)
) -> Box | None:
    """Box around all voxels inside; None where there is none.

    Parameters
    ----------
    inside : ndarray, bool
        A volume, or one slice of it.
    margin : sequence of float
        Voxels by which it is wider along each axis, where the volume allows.
    """
    edges = []
    for axis, size in enumerate(inside.shape):
        hit = np.flatnonzero(inside.any(axis=others(axis, inside.ndim)))
        if not len(hit):
            return None
        wider = int(np.ceil(margin[axis]))
        low, high = int(hit[0]) - wider, int(hit[-1]) + 1 + wider
        edges.append(slice(max(low, 0), min(high, size)))
    return tuple(edges)
