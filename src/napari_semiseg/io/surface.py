"""Surfaces of masks in patient millimetres, as STL, OBJ and PLY."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.imaging.mesh import surface_mesh
from napari_semiseg.io.atomic import atomic_path
from napari_semiseg.io.dicom.stack import LPS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_semiseg.core.geometry import Geometry

SUFFIXES = (".stl", ".obj", ".ply")


def write_surface(target: Path, inside: NDArray[np.bool_], geometry: Geometry) -> None:
    """Write the surface of a structure, atomically.

    Triangles of `surface_mesh`. Coordinates are DICOM's: mm to Left, Posterior and
    Superior, as 3D Slicer takes them. Triangles turn so that their normals point
    outwards.

    Parameters
    ----------
    target : Path
        Ends in one of `SUFFIXES`.
    inside : ndarray (Z, Y, X), bool
        Not empty.
    geometry : Geometry
        Its grid.
    """
    import trimesh

    voxels, faces = surface_mesh(inside)
    to_lps = LPS @ geometry.affine[:3, :3]
    vertices = voxels @ to_lps.T + LPS @ geometry.affine[:3, 3]
    if np.linalg.det(to_lps) > 0:  # skimage's triangles face inwards
        faces = faces[:, ::-1]
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    with atomic_path(target) as temporary:
        mesh.export(temporary)


def surface_mm2(labels_zyx: NDArray[np.uint8], geometry: Geometry) -> dict[int, float]:
    """Surface area of each value of a mask, mm^2.

    Crofton's formula over 13 directions, as ITK estimates it (Lehmann and Legland,
    Insight Journal 2012): a count of triangles would measure the staircase of voxels.
    """
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(labels_zyx))
    image.SetSpacing(geometry.spacing_mm[::-1])
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.ComputePerimeterOn()
    shapes.Execute(image)
    return {
        int(value): float(shapes.GetPerimeter(value)) for value in shapes.GetLabels()
    }
