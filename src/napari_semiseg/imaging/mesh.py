"""Triangulate the surface of a structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.boxes import bounding_box


def surface_mesh(
    inside: NDArray[np.bool_], step: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Triangulate half-way between the voxels inside and those outside.

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

    box = bounding_box(inside)
    if box is None:
        raise ValueError("expected a structure, found no voxel of it")
    part = np.pad(inside[box], step).astype(np.uint8)
    corners, faces, _, _ = marching_cubes(part, 0.5, step_size=step)
    return corners + [edge.start - step for edge in box], faces
