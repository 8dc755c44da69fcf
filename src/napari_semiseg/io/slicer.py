"""Read segmentations of 3D Slicer: NRRD files that name their segments."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.errors import ImageError
from napari_semiseg.io import itk
from napari_semiseg.io.source import StructureFile, place_on

if TYPE_CHECKING:
    from napari_semiseg.core.geometry import Geometry

KIND = "NRRD"

_MARK = b"Segment0_"
_HEADER_BYTES = 65536
_FIELD = re.compile(r"Segment(\d+)_(Name|LabelValue|Layer)")


def is_segmentation(path: Path) -> bool:
    """Whether a file is an NRRD that describes its segments."""
    if not path.name.lower().endswith((".nrrd", ".nhdr")) or not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEADER_BYTES)
    except OSError:
        return False
    return _MARK in head.partition(b"\n\n")[0]


def open_segmentation(path: Path) -> StructureFile:
    """Read which segments a file holds; their numbers are ranks in the file.

    Raises
    ------
    ImageError
        The file is torn, or does not name its segments.
    """
    names: dict[str, tuple[int, ...]] = {}
    for number, fields in _segments(path).items():
        name = fields.get("Name", "")
        names[name] = (*names.get(name, ()), number)
    if not names:
        raise ImageError(
            f"{path}: expected a segmentation that names its segments, found none; "
            f"export it from 3D Slicer again"
        )
    return StructureFile(path, KIND, frozenset(), names)


def read_segments(
    file: StructureFile, requested: Collection[str], geometry: Geometry
) -> dict[str, NDArray[np.bool_]]:
    """Voxels (Z, Y, X) of segments, on the grid of their image.

    The file's own, often smaller grid goes to its place on the image's; the rest is
    background. Segments that overlap lie in layers of their own.

    Raises
    ------
    ImageError
        The segments do not lie on this grid.
    """
    layers, affine = itk.read_layers(file.path)
    segments = _segments(file.path)
    found = {}
    for name in requested:
        inside = np.zeros(layers.shape[:3], bool)
        for number in file.names[name]:
            fields = segments[number]
            layer = int(fields.get("Layer", "0"))
            inside |= layers[..., layer] == int(fields.get("LabelValue", number + 1))
        found[name] = np.zeros(geometry.shape_zyx, bool)
        place_on(found[name], inside, affine, geometry, file.path)
    return found


def _segments(path: Path) -> dict[int, dict[str, str]]:
    """Fields of each segment by its rank."""
    found: dict[int, dict[str, str]] = {}
    for key, value in itk.header_fields(path).items():
        if match := _FIELD.fullmatch(key):
            found.setdefault(int(match[1]), {})[match[2]] = value
    return dict(sorted(found.items()))
