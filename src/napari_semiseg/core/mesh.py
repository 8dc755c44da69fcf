"""The surface of a structure as triangles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def surface_mesh(
    inside: NDArray[np.bool_], step: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Triangles half-way between the voxels inside and those outside.

    Marching cubes (Lewiner et al., Journal of Graphics Tools 2003).

    Parameters
    ----------
    inside : ndarray (Z, Y, X), bool
        Not empty.
    step : int
        Voxels per edge of a cube: larger is coarser and quicker.

    Returns
    -------
    corners : ndarray (N, 3), float64
        Places (z, y, x) in voxels; voxel centres are whole numbers.
    faces : ndarray (M, 3), int32
        Corners of the triangles; seen in (z, y, x), their normals point inwards.
    """
    from skimage.measure import marching_cubes

    box = [(int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(inside)]
    cut = inside[tuple(slice(low, high) for low, high in box)]
    part = np.pad(cut, step).astype(np.uint8)
    corners, faces, _, _ = marching_cubes(part, 0.5, step_size=step)
    return corners + [low - step for low, _ in box], faces
