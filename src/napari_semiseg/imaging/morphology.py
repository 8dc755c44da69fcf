"""Tools that change one class of a mask and never eat a locked one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_semiseg.core.boxes import bounding_box

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

CONNECTED = np.ones((3, 3, 3), bool)
"""Voxels that touch by a face, an edge or a corner belong to one piece."""


def move_boundary(
    labels: NDArray[np.uint8],
    value: int,
    sdm_mm: NDArray[np.float32],
    mm: float,
    locked: Collection[int] = (),
) -> NDArray[np.uint8]:
    """Give a class the voxels within ``mm`` of a surface.

    Parameters
    ----------
    labels : ndarray, uint8
        A volume, or one slice of it; 0 is background.
    value : int
        The class.
    sdm_mm : ndarray, float32
        Signed distance to the surface on the same grid, mm, negative inside.
    mm : float
        How far the boundary moves outwards; negative shrinks.
    locked : collection of int
        Classes whose voxels stay as they are.

    Returns
    -------
    ndarray, uint8
        A new array. What the class loses becomes background.
    """
    return _replace(labels, value, sdm_mm < mm, locked)


def largest_component(
    labels: NDArray[np.uint8], value: int, locked: Collection[int] = ()
) -> NDArray[np.uint8]:
    """Keep the largest connected piece of a class; the others become background.

    Parameters
    ----------
    labels : ndarray (Z, Y, X), uint8
        The mask.
    value : int
        The class; of two equal pieces the first in the volume is kept.
    locked : collection of int
        Classes whose voxels stay as they are.
    """
    pieces, sizes = _pieces(labels == value)
    if len(sizes) < 2:
        return labels.copy()
    return _replace(labels, value, pieces == 1 + int(sizes.argmax()), locked)


def remove_specks(
    labels: NDArray[np.uint8],
    value: int,
    mm3: float,
    spacing_mm: Sequence[float],
    locked: Collection[int] = (),
) -> NDArray[np.uint8]:
    """Make connected pieces of a class smaller than a volume background.

    Parameters
    ----------
    labels : ndarray (Z, Y, X), uint8
        The mask.
    value : int
        The class.
    mm3 : float
        The smallest volume that stays.
    spacing_mm : (z, y, x)
        Voxel size.
    locked : collection of int
        Classes whose voxels stay as they are.
    """
    pieces, sizes = _pieces(labels == value)
    stays = np.concatenate([[False], sizes * float(np.prod(spacing_mm)) >= mm3])
    return _replace(labels, value, stays[pieces], locked)


def fill_holes(
    labels: NDArray[np.uint8], value: int, locked: Collection[int] = ()
) -> NDArray[np.uint8]:
    """Give a class the background that it encloses on all sides.

    Other classes inside, such as a tumour in an organ, stay.

    Parameters
    ----------
    labels : ndarray (Z, Y, X), uint8
        The mask.
    value : int
        The class.
    locked : collection of int
        Classes whose voxels stay as they are.
    """
    result = labels.copy()
    box = bounding_box(labels == value)
    if box is None or value in locked:
        return result
    filled = ndimage.binary_fill_holes(labels[box] == value)
    result[box][filled & (labels[box] == 0)] = value
    return result


def smooth(
    labels: NDArray[np.uint8],
    value: int,
    mm: float,
    spacing_mm: Sequence[float],
    locked: Collection[int] = (),
) -> NDArray[np.uint8]:
    """Smooth the surface of a class.

    A voxel belongs to it when at least half of its surroundings, weighted by a
    Gaussian, do.

    Parameters
    ----------
    labels : ndarray (Z, Y, X), uint8
        The mask.
    value : int
        The class.
    mm : float
        Standard deviation of the Gaussian; finer detail goes.
    spacing_mm : (z, y, x)
        Voxel size.
    locked : collection of int
        Classes whose voxels stay as they are.
    """
    box = bounding_box(labels == value, [3 * mm / step + 1 for step in spacing_mm])
    if box is None or mm <= 0:
        return labels.copy()
    share = ndimage.gaussian_filter(
        (labels[box] == value).astype(np.float32),
        [mm / step for step in spacing_mm],
        mode="nearest",
        truncate=3,
    )
    inside = np.zeros(labels.shape, bool)
    inside[box] = share >= 0.5
    return _replace(labels, value, inside, locked)


def _replace(
    labels: NDArray[np.uint8],
    value: int,
    inside: NDArray[np.bool_],
    locked: Collection[int],
) -> NDArray[np.uint8]:
    result = labels.copy()
    if value in locked:
        return result
    was = labels == value
    result[was & ~inside] = 0
    result[inside & ~np.isin(labels, list(locked))] = value
    return result


def _pieces(
    inside: NDArray[np.bool_],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number of the piece at each voxel (0 outside), and voxels per piece from 1."""
    numbered = np.zeros(inside.shape, np.int32)
    box = bounding_box(inside)
    if box is None:
        return numbered, np.zeros(0, np.int64)
    ndimage.label(inside[box], CONNECTED, output=numbered[box])
    return numbered, np.bincount(numbered[box].ravel())[1:]
