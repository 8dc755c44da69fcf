"""Read files that hold structures by name: RTSTRUCT, DICOM SEG and ``.seg.nrrd``."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.io import slicer
from napari_semiseg.io.dicom import structures as dicom
from napari_semiseg.io.dicom.tags import is_dicom

if TYPE_CHECKING:
    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.io.source import StructureFile


def find_structures(folder: Path) -> list[Path]:
    """List the files of named structures at and below a path, sorted."""
    files = [
        Path(parent, name) for parent, _, names in os.walk(folder) for name in names
    ]
    if folder.is_file():
        files = [folder]
    return sorted(file for file in files if is_structures(file))


def is_structures(file: Path) -> bool:
    """Whether a file holds structures by name, and is no image therefore."""
    return slicer.is_segmentation(file) or dicom.is_structures(file)


def open_structures(path: Path) -> StructureFile:
    """Read which structures a file holds, and of which images.

    Raises
    ------
    ImageError
        The file is torn, or of another kind.
    """
    if is_dicom(path):
        return dicom.open_structures(path)
    return slicer.open_segmentation(path)


def read_structures(
    file: StructureFile, requested: Collection[str], geometry: Geometry
) -> dict[str, NDArray[np.bool_]]:
    """Voxels (Z, Y, X) of structures, on the grid of their image.

    Parameters
    ----------
    file : StructureFile
        From `open_structures`.
    requested : collection of str
        Names out of ``file.names``.
    geometry : Geometry
        The grid of the image.

    Raises
    ------
    ImageError
        The structures do not lie on this grid, or none of them has a voxel.
    """
    if file.kind == slicer.KIND:
        return slicer.read_segments(file, requested, geometry)
    return dicom.read_structures(file, requested, geometry)
