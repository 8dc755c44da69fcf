"""Surfaces of masks in patient millimetres, as STL, OBJ and PLY."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.geometry import RAS_TO_LPS, Geometry
from napari_semiseg.core.labels import UNANNOTATED, LabelClass
from napari_semiseg.errors import ImageError
from napari_semiseg.imaging.mesh import surface_mesh
from napari_semiseg.io.atomic import atomic_path
from napari_semiseg.io.registry import Format, Mask, register

SURFACES = ("stl", "obj", "ply")
LONGEST_NAME = 255
"""Bytes of a file's name on most disks."""


def write_surface(target: Path, inside: NDArray[np.bool_], geometry: Geometry) -> None:
    """Write the surface of a structure, atomically.

    Triangles of `surface_mesh`. Coordinates are DICOM's: mm to Left, Posterior and
    Superior, as 3D Slicer takes them. Triangles turn so that their normals point
    outwards.

    Parameters
    ----------
    target : Path
        Ends in the name of one of `SURFACES`.
    inside : ndarray (Z, Y, X), bool
        Not empty.
    geometry : Geometry
        Its grid.
    """
    import trimesh

    voxels, faces = surface_mesh(inside)
    to_lps = RAS_TO_LPS @ geometry.affine[:3, :3]
    vertices = voxels @ to_lps.T + RAS_TO_LPS @ geometry.affine[:3, 3]
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


def _write_mask(target: Path, mask: Mask) -> list[Path]:
    """Write a surface for each class that has a voxel; all of them or none."""
    if (mask.labels == UNANNOTATED).any():
        raise ImageError(
            "expected a mask annotated everywhere, found voxels that are not, so that "
            "its surface is unknown; complete it or export to NIfTI"
        )
    written: list[Path] = []
    try:
        for item in mask.classes:
            if (mask.labels == item.value).any():
                path = target.with_name(_file_name(target, item))
                written.append(path)
                write_surface(path, mask.labels == item.value, mask.geometry)
    except Exception:
        for path in written:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise
    if not written:
        raise ImageError("expected a structure with a surface, found an empty mask")
    return written


def _file_name(target: Path, item: LabelClass) -> str:
    """Name of the file of a class; a long class name is cut at the end."""
    start = f"{target.name.removesuffix(target.suffix)}_{item.value}_"
    room = max(0, LONGEST_NAME - len((start + target.suffix).encode()))
    name = re.sub(r"\W+", "_", item.name).encode()[:room].decode(errors="ignore")
    return f"{start}{name}{target.suffix}"


for _name in SURFACES:
    _title = f"Surfaces (.{_name})"
    register(Format(_name, _title, write=_write_mask, endings=(f".{_name}",)))
