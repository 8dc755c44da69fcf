"""Check the headers of image files, and put parts of a grid in their places."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.geometry import Geometry
from napari_semiseg.errors import ImageError

SHEAR = 1e-3
"""Largest cosine between two voxel axes that still counts as a right angle."""

OFF_GRID = 0.25
"""How far, in voxels, structures may lie beside the voxels of their image."""

DEFLATE = 1100
"""More than gzip can ever shrink a file."""

_TYPE = re.compile(r"\bnp\.\w+\(([^()]*)\)")
_ADDRESS = re.compile(r"\s*\(?\b0x[0-9a-f]{6,}\)?")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What a reader found.

    Attributes
    ----------
    geometry : Geometry
        The grid.
    notes : tuple of str
        What the user should know, in words.
    read : callable
        Reads the voxels, (I, J, K) in the file's own order, in the stored type, or
        float32 where the file scales them.
    """

    geometry: Geometry
    notes: tuple[str, ...]
    read: Callable[[], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class StructureFile:
    """A file of named structures.

    Attributes
    ----------
    path : Path
    kind : str
        Its format.
    series : frozenset of str
        UIDs of the DICOM series that it was made on, if it says.
    names : dict
        Numbers of the structures of each name; those of one name are one structure.
    """

    path: Path
    kind: str
    series: frozenset[str]
    names: dict[str, tuple[int, ...]]


def place_on(
    voxels: NDArray[np.bool_],
    native: NDArray[np.bool_],
    affine: NDArray[np.float64],
    geometry: Geometry,
    path: Path,
) -> None:
    """Set what a part of a grid holds in its place on the whole one.

    Parameters
    ----------
    voxels : ndarray (Z, Y, X), bool
        On ``geometry``; changed in place.
    native : ndarray (I, J, K), bool
    affine : ndarray (4, 4)
        (i, j, k, 1) of the part to RAS+ mm.
    geometry : Geometry
    path : Path
        For the message.

    Raises
    ------
    ImageError
        The part does not lie voxel on voxel, or leaves the grid.
    """
    part = Geometry.from_native(native.shape, affine, geometry)
    relative = np.linalg.inv(geometry.affine) @ part.affine
    offset = np.rint(relative[:3, 3]).astype(int)
    ends = offset + part.shape_zyx
    apart = np.abs(relative[:3, :3] - np.eye(3)) * np.array(part.shape_zyx)
    off = max(apart.max(), np.abs(relative[:3, 3] - offset).max())
    if (offset < 0).any() or (ends > geometry.shape_zyx).any() or off > OFF_GRID:
        raise ImageError(
            f"{path}: expected segments on the image's grid, found them on another; "
            f"give the segmentation of this image"
        )
    where = tuple(slice(a, b) for a, b in zip(offset, ends, strict=True))
    voxels[where] |= part.to_canonical(native)


def checked_geometry(
    path: Path, shape: Sequence[int], affine: NDArray[Any], *, least: int = 2
) -> Geometry:
    """Geometry of a file's grid, refused where distances on it would be wrong.

    Parameters
    ----------
    path : Path
        For the message.
    shape : sequence of int
        In the file's axis order; trailing axes of size 1 are ignored.
    affine : ndarray (4, 4)
        (i, j, k, 1) to RAS+ mm.
    least : int
        Slices that there must be along each axis; a part of a grid may be one.

    Raises
    ------
    ImageError
        Not three-dimensional, a single slice, or axes that are not at right angles.
    """
    sizes = spatial_shape(shape)
    if len(sizes) != 3:
        raise ImageError(
            f"{path}: expected a 3D volume, found {len(sizes)}D data of shape "
            f"{tuple(sizes)}; save one 3D volume a file"
        )
    if min(sizes) < least:
        raise ImageError(
            f"{path}: expected a volume of at least 2 slices along each axis, found "
            f"shape {tuple(sizes)}; give the whole volume instead of a single slice"
        )
    try:
        geometry = Geometry.from_native(sizes, affine)
    except ImageError as error:
        raise ImageError(
            f"{path}: {error}; correct the header or export the image again"
        ) from error
    steps = geometry.affine[:3, :3] / np.asarray(geometry.spacing_mm)
    cosine = float(np.abs(np.triu(steps.T @ steps, 1)).max())
    if cosine > SHEAR:
        angle = np.degrees(np.arccos(min(cosine, 1.0)))
        raise ImageError(
            f"{path}: expected voxel axes at right angles, found two at {angle:.1f} "
            f"degrees (a sheared affine); resample the image to a rectangular grid"
        )
    return geometry


def spatial_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Shape without its trailing axes of size 1 beyond the third."""
    sizes = [int(size) for size in shape]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)


def one_line(text: object, path: Path) -> str:
    """What a library says of a file: without line ends, addresses, types and path."""
    plain = " ".join(_TYPE.sub(r"\1", _ADDRESS.sub("", str(text))).split())
    if isinstance(text, KeyError):
        plain = f"unknown code {plain}"
    return plain.replace(str(path), path.name).rstrip(": ")


def check_size(
    path: Path, shape: Sequence[int], itemsize: int, held: int, packing: int
) -> None:
    """Refuse a header that promises more than its file can hold, before any is read.

    Parameters
    ----------
    path : Path
        For the message.
    shape : sequence of int
        What the header promises.
    itemsize : int
        Bytes a voxel.
    held : int
        Bytes on the disk.
    packing : int
        How many times larger they can become; 0 and 1 where they are not compressed.

    Raises
    ------
    ImageError
        The file is torn, or its header wrong.
    """
    promised = math.prod(int(size) for size in shape) * itemsize
    most = held * max(packing, 1)
    if promised > most:
        raise ImageError(
            f"{path}: expected a whole image file of {promised} bytes, found at most "
            f"{most}; copy or export the image again"
        )
