"""Trace outlines of masks in a slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def outlines(inside: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Trace closed lines around the voxels inside, halfway to those outside.

    Parameters
    ----------
    inside : ndarray (H, W), bool
        One slice.

    Returns
    -------
    list of ndarray (N, 2), float64
        Rows and columns, in voxels: the centre of the first one is at (0, 0).
    """
    from skimage.measure import find_contours

    places = np.argwhere(inside)
    if not len(places):
        return []
    low, high = places.min(axis=0), places.max(axis=0) + 1
    box = inside[low[0] : high[0], low[1] : high[1]]
    lines = find_contours(np.pad(box, 1).astype(np.float32), 0.5)
    return [line + (low - 1) for line in lines]
