"""Change where one class of a mask is, and write that back around locked classes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_semiseg.core.boxes import bounding_box

CONNECTED = np.ones((3, 3, 3), bool)
"""Voxels that touch by a face, an edge or a corner belong to one component."""
WHOLE = 0.99
"""Part of a region that its largest component has where that counts as all of it."""


def replace_class(
    labels: NDArray[np.uint8],
    value: int,
    inside: NDArray[np.bool_],
    locked: Collection[int] = (),
) -> NDArray[np.uint8]:
    """Let a class be where ``inside`` is true, and nowhere else.

    Parameters
    ----------
    labels : ndarray, uint8
        A volume, or one slice of it; 0 is background.
    value : int
        The class.
    inside : ndarray, bool
        Same shape.
    locked : collection of int
        Classes whose voxels stay as they are.

    Returns
    -------
    ndarray, uint8
        A new array. What the class loses becomes background.
    """
    result = labels.copy()
    if value not in locked:
        result[(labels == value) & ~inside] = 0
        result[inside & ~np.isin(labels, list(locked))] = value
    return result


def largest_component(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest connected component; of two equal ones the first."""
    components, sizes = _components(inside)
    return components == 1 + int(sizes.argmax()) if len(sizes) > 1 else inside


def keep_largest_pieces(
    labels: NDArray[np.uint8], values: Collection[int]
) -> NDArray[np.bool_]:
    """Let classes be where their largest connected component is; change ``labels``.

    Returns
    -------
    ndarray, bool
        Same shape; where they became background.
    """
    lost = np.zeros(labels.shape, bool)
    if values:
        boxes = ndimage.find_objects(labels, max(values))
        for value in values:
            box = boxes[value - 1]
            if box is not None:
                inside = labels[box] == value
                lost[box] |= inside & ~largest_component(inside)
        labels[lost] = 0
    return lost


def is_one_piece(inside: NDArray[np.bool_]) -> bool:
    """Whether less than a hundredth of a region lies beside its largest component."""
    _, sizes = _components(inside)
    return bool(sizes.size) and bool(sizes.max() >= WHOLE * sizes.sum())


def remove_specks(
    inside: NDArray[np.bool_], mm3: float, spacing_mm: Sequence[float]
) -> NDArray[np.bool_]:
    """Remove connected components smaller than a volume in mm³."""
    components, sizes = _components(inside)
    stays = np.concatenate([[False], sizes * float(np.prod(spacing_mm)) >= mm3])
    return np.asarray(stays[components], bool)


def fill_holes(labels: NDArray[np.uint8], value: int) -> NDArray[np.bool_]:
    """Find the voxels of a class and the background that it encloses on all sides.

    Other classes inside, such as a tumour in an organ, are left out.
    """
    inside: NDArray[np.bool_] = labels == value
    box = bounding_box(inside)
    if box is not None:
        filled = ndimage.binary_fill_holes(inside[box])
        inside[box] |= filled & (labels[box] == 0)
    return inside


def smooth(
    inside: NDArray[np.bool_], mm: float, spacing_mm: Sequence[float]
) -> NDArray[np.bool_]:
    """Smooth the surface of a region.

    A voxel belongs to it when at least half of its surroundings, weighted by a
    Gaussian, do.

    Parameters
    ----------
    inside : ndarray (Z, Y, X), bool
        The region.
    mm : float
        Standard deviation of the Gaussian; finer detail goes.
    spacing_mm : (z, y, x)
        Voxel size.
    """
    box = bounding_box(inside, [3 * mm / step + 1 for step in spacing_mm])
    if box is None or mm <= 0:
        return inside
    share = ndimage.gaussian_filter(
        inside[box].astype(np.float32),
        [mm / step for step in spacing_mm],
        mode="nearest",
        truncate=3,
    )
    smoothed = np.zeros(inside.shape, bool)
    smoothed[box] = share >= 0.5
    return smoothed


def _components(
    inside: NDArray[np.bool_],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number of the component at each voxel (0 outside), and voxels of each from 1."""
    numbered = np.zeros(inside.shape, np.int32)
    box = bounding_box(inside)
    if box is None:
        return numbered, np.zeros(0, np.int64)
    ndimage.label(inside[box], CONNECTED, output=numbered[box])
    return numbered, np.bincount(numbered[box].ravel())[1:]
