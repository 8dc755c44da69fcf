"""Structures that DICOM keeps apart from images: RTSTRUCT contours and SEG."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.core.geometry import RAS_TO_LPS, Geometry
from napari_semiseg.errors import ConfigError, ImageError
from napari_semiseg.io.dicom.series import is_dicom
from napari_semiseg.io.dicom.tags import discreet, read_dataset
from napari_semiseg.io.images import files_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

KINDS = ("RTSTRUCT", "SEG")
"""Modalities that can be masks."""

_PLANAR = 0.25
"""How far, in voxels, a contour may lie from the middle of its slice."""


@dataclass(frozen=True, slots=True)
class StructureFile:
    """A DICOM file of named structures.

    Attributes
    ----------
    path : Path
    kind : str
        One of `KINDS`.
    series : frozenset of str
        UIDs of the image series that it was made on.
    names : dict
        Number of each structure by its name.
    """

    path: Path
    kind: str
    series: frozenset[str]
    names: dict[str, int]


def find_structures(folder: Path) -> list[Path]:
    """List the RTSTRUCT and SEG files at and below a path, sorted."""
    files = [
        Path(parent, name) for parent, _, names in os.walk(folder) for name in names
    ]
    if folder.is_file():
        files = [folder]
    return sorted(file for file in files if is_dicom(file) and _kind(file) in KINDS)


def series_uid(image: Path) -> str:
    """UID of the series of a DICOM image; empty where there is none."""
    file = files_of(image)[0] if image.is_dir() else image
    if not is_dicom(file):
        return ""
    return str(read_dataset(file, "SeriesInstanceUID").get("SeriesInstanceUID", ""))


def open_structures(path: Path) -> StructureFile:
    """Read which structures a file holds, and of which images.

    Raises
    ------
    ImageError
        The file is torn, or of another kind.
    """
    dataset = read_dataset(path)
    kind = str(dataset.get("Modality", ""))
    if kind not in KINDS:
        raise ImageError(
            f"{path}: expected an RTSTRUCT or SEG file, found {kind or 'no modality'}; "
            f"give the mask of the image"
        )
    try:
        if kind == "SEG":
            names = {
                str(item.SegmentLabel): int(item.SegmentNumber)
                for item in dataset.SegmentSequence
            }
            series = _uids(dataset.get("ReferencedSeriesSequence", ()))
        else:
            names = {
                str(item.ROIName): int(item.ROINumber)
                for item in dataset.StructureSetROISequence
            }
            series = _uids(
                series
                for frame in dataset.get("ReferencedFrameOfReferenceSequence", ())
                for study in frame.get("RTReferencedStudySequence", ())
                for series in study.get("RTReferencedSeriesSequence", ())
            )
    except AttributeError as error:
        raise ImageError(
            f"{path}: expected a whole {kind} file, found '{error}'; export it again"
        ) from error
    return StructureFile(path, kind, series, names)


def read_structures(
    file: StructureFile, wanted: Collection[str], geometry: Geometry
) -> dict[str, NDArray[np.bool_]]:
    """Voxels (Z, Y, X) of structures, on the grid of their image.

    Parameters
    ----------
    file : StructureFile
        From `open_structures`.
    wanted : collection of str
        Names out of ``file.names``.
    geometry : Geometry
        The grid of the image.

    Raises
    ------
    ImageError
        The structures do not lie on this grid.
    ConfigError
        A library that is needed is not installed.
    """
    if file.kind == "SEG":
        return _read_segments(file, wanted, geometry)
    contours = {
        int(item.ReferencedROINumber): item.get("ContourSequence", ())
        for item in read_dataset(file.path).get("ROIContourSequence", ())
    }
    return {
        name: _filled(file.path, name, contours.get(file.names[name], ()), geometry)
        for name in wanted
    }


def _kind(file: Path) -> str:
    try:
        return str(read_dataset(file, "Modality").get("Modality", ""))
    except ImageError:
        return ""


def _uids(items: Any) -> frozenset[str]:
    return frozenset(str(item.SeriesInstanceUID) for item in items)


def _filled(
    path: Path, name: str, contours: Collection[Dataset], geometry: Geometry
) -> NDArray[np.bool_]:
    """Fill contours by the even-odd rule, so that one inside another is a hole."""
    from skimage.draw import polygon2mask

    filled = np.zeros(geometry.shape_zyx, bool)
    inverse = np.linalg.inv(geometry.affine)
    closed = [
        np.reshape(np.array(item.ContourData, float), (-1, 3))
        for item in contours
        if str(item.ContourGeometricType).startswith("CLOSED_PLANAR")
    ]
    if not closed:
        raise ImageError(
            f"{path}: expected closed contours of '{name}', found none; leave the "
            f"structure out"
        )
    for points in closed:
        corners = points @ (inverse[:3, :3] @ RAS_TO_LPS).T + inverse[:3, 3]
        axis = int(np.ptp(corners, axis=0).argmin())
        index = round(float(corners[:, axis].mean()))
        off = float(np.abs(corners[:, axis] - index).max())
        low, high = corners.min(axis=0), corners.max(axis=0)
        if off > _PLANAR or (low < -1).any() or (high > geometry.shape_zyx).any():
            raise ImageError(
                f"{path}: expected contours on the slices of the image, found one of "
                f"'{name}' that leaves them; give the structure set of this image"
            )
        plane: list[Any] = [slice(None)] * 3
        plane[axis] = min(max(index, 0), geometry.shape_zyx[axis] - 1)
        flat = filled[tuple(plane)]
        flat ^= polygon2mask(flat.shape, np.delete(corners, axis, axis=1))
    return filled


def _read_segments(
    file: StructureFile, wanted: Collection[str], geometry: Geometry
) -> dict[str, NDArray[np.bool_]]:
    try:
        from highdicom.seg import segread
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{file.path}: expected highdicom to read a DICOM SEG, found that it is "
            f"not installed; pip install 'napari-semiseg[dicom-seg]'"
        ) from error
    try:
        with discreet():
            segmentation = segread(file.path)
            volumes = {
                name: segmentation.get_volume(segment_numbers=[file.names[name]])
                for name in wanted
            }
    except (ValueError, RuntimeError, AttributeError, KeyError, TypeError) as error:
        raise ImageError(
            f"{file.path}: expected segments on parallel, even slices, found "
            f"'{' '.join(str(error).split())}'; convert the file to NIfTI"
        ) from error
    lps = np.diag([*np.diag(RAS_TO_LPS), 1.0])
    return {
        name: _placed(
            file.path, volume.array[..., 0] > 0.5, lps @ volume.affine, geometry
        )
        for name, volume in volumes.items()
    }


def _placed(
    path: Path,
    native: NDArray[np.bool_],
    affine: NDArray[np.float64],
    geometry: Geometry,
) -> NDArray[np.bool_]:
    """Voxels of a smaller grid in their places on the image's grid."""
    part = Geometry.from_native(native.shape, affine, geometry)
    steps = np.linalg.inv(geometry.affine) @ part.affine
    offset = np.rint(steps[:3, 3]).astype(int)
    ends = offset + part.shape_zyx
    apart = np.abs(steps[:3, :3] - np.eye(3)) * np.array(part.shape_zyx)
    inside = (offset >= 0).all() and (ends <= geometry.shape_zyx).all()
    if not inside or max(apart.max(), np.abs(steps[:3, 3] - offset).max()) > _PLANAR:
        raise ImageError(
            f"{path}: expected segments on the image's grid, found them on another; "
            f"give the segmentation of this image"
        )
    placed = np.zeros(geometry.shape_zyx, bool)
    where = tuple(slice(a, b) for a, b in zip(offset, ends, strict=True))
    placed[where] = part.to_canonical(native)
    return placed
