"""Read structures that DICOM keeps apart from images: RTSTRUCT and SEG."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.geometry import RAS_TO_LPS, Geometry
from napari_semiseg.errors import ImageError
from napari_semiseg.io.dicom.enhanced import frame_value, frames, shared_groups
from napari_semiseg.io.dicom.series import files_in
from napari_semiseg.io.dicom.tags import is_dicom, parsing, read_dataset
from napari_semiseg.io.source import OFF_GRID, StructureFile, place_on

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from napari_semiseg.io.dicom.stack import DicomSlice

KINDS = ("RTSTRUCT", "SEG")
"""Modalities that can be masks."""

CLOSED = "CLOSED_PLANAR"
EXCLUSIVE = "CLOSEDPLANAR_XOR"
SMALLEST_AREA = 1e-6
"""Area, in voxels, from which on a contour encloses something."""

_SEGMENT = ("SegmentIdentificationSequence", "ReferencedSegmentNumber")


def is_structures(file: Path) -> bool:
    """Whether a file is an RTSTRUCT or SEG."""
    return is_dicom(file) and _kind(file) in KINDS


def series_uid(image: Path) -> str:
    """UID of the series of a DICOM image; empty where there is none."""
    file = files_in(image)[0] if image.is_dir() else image
    if not is_dicom(file):
        return ""
    with parsing(file):
        dataset = read_dataset(file, "SeriesInstanceUID")
        return str(dataset.get("SeriesInstanceUID", ""))


def open_structures(path: Path) -> StructureFile:
    """Read which structures a file holds, and of which images.

    Raises
    ------
    ImageError
        The file is torn, or of another kind.
    """
    dataset, kind = read_dataset(path), _kind(path)
    if kind not in KINDS:
        raise ImageError(
            f"{path}: expected an RTSTRUCT or SEG file, found {kind or 'no modality'}; "
            f"give the mask of the image"
        )
    with parsing(path):
        if kind == "SEG":
            names = _by_name(
                (item.SegmentLabel, item.SegmentNumber)
                for item in dataset.SegmentSequence
            )
            series = _uids(dataset.get("ReferencedSeriesSequence", ()))
        else:
            names = _by_name(
                (item.ROIName, item.ROINumber)
                for item in dataset.StructureSetROISequence
            )
            series = _uids(
                series
                for frame in dataset.get("ReferencedFrameOfReferenceSequence", ())
                for study in frame.get("RTReferencedStudySequence", ())
                for series in study.get("RTReferencedSeriesSequence", ())
            )
    return StructureFile(path, kind, series, names)


def read_structures(
    file: StructureFile, requested: Collection[str], geometry: Geometry
) -> dict[str, NDArray[np.bool_]]:
    """Read structures of an RTSTRUCT or SEG; as `io.structures.read_structures`."""
    with parsing(file.path):
        if file.kind == "SEG":
            return _read_segments(file, requested, geometry)
        return _read_contours(file, requested, geometry)


def _read_contours(
    file: StructureFile, requested: Collection[str], geometry: Geometry
) -> dict[str, NDArray[np.bool_]]:
    contours = {
        int(item.ReferencedROINumber): item.get("ContourSequence", ())
        for item in read_dataset(file.path).get("ROIContourSequence", ())
    }
    found = {
        name: [
            contour
            for number in file.names[name]
            for contour in contours.get(number, ())
            if str(contour.ContourGeometricType) in (CLOSED, EXCLUSIVE)
        ]
        for name in requested
    }
    if not any(found.values()):
        raise ImageError(
            f"{file.path}: expected closed contours of '{', '.join(requested)}', found "
            f"none; leave the structure out"
        )
    return {
        name: _filled(file.path, name, closed, geometry)
        for name, closed in found.items()
    }


def _by_name(pairs: Iterable[tuple[Any, Any]]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name, number in pairs:
        found[str(name)] = (*found.get(str(name), ()), int(number))
    return found


def _kind(file: Path) -> str:
    """Modality of a file; empty where it cannot be read."""
    try:
        with parsing(file):
            return str(read_dataset(file, "Modality").get("Modality", ""))
    except ImageError:
        return ""


def _uids(items: Any) -> frozenset[str]:
    return frozenset(str(item.SeriesInstanceUID) for item in items)


def _filled(
    path: Path, name: str, contours: Collection[Dataset], geometry: Geometry
) -> NDArray[np.bool_]:
    """Fill the contours of a structure, slice by slice.

    Contours of type CLOSED_PLANAR add what they enclose; one that lies inside another
    is a hole, one inside a hole adds again, and one that is there twice counts once.
    Those of type CLOSEDPLANAR_XOR are then combined by exclusive or (DICOM PS3.3
    C.8.8.6.3). Contours that enclose no area add nothing.
    """
    from skimage.draw import polygon2mask

    filled = np.zeros(geometry.shape_zyx, bool)
    inverse = np.linalg.inv(geometry.affine)
    added: dict[tuple[int, int], list[NDArray[np.bool_]]] = defaultdict(list)
    exclusive: dict[tuple[int, int], list[NDArray[np.bool_]]] = defaultdict(list)
    for item in contours:
        points = np.reshape(np.array(item.ContourData, float), (-1, 3))
        corners = points @ (inverse[:3, :3] @ RAS_TO_LPS).T + inverse[:3, 3]
        axis = int(np.ptp(corners, axis=0).argmin())
        index = round(float(corners[:, axis].mean()))
        off = float(np.abs(corners[:, axis] - index).max())
        low, high = corners.min(axis=0), corners.max(axis=0)
        if off > OFF_GRID or (low < -1).any() or (high > geometry.shape_zyx).any():
            raise ImageError(
                f"{path}: expected contours on the slices of the image, found one of "
                f"'{name}' that leaves them; give the structure set of this image"
            )
        flat = np.delete(corners, axis, axis=1)
        if _area(flat) < SMALLEST_AREA:
            continue
        place = (axis, min(max(index, 0), geometry.shape_zyx[axis] - 1))
        kind = exclusive if item.ContourGeometricType == EXCLUSIVE else added
        shape = np.delete(geometry.shape_zyx, axis)
        kind[place].append(polygon2mask(tuple(shape), flat))
    for place in {*added, *exclusive}:
        axis, index = place
        plane: list[Any] = [slice(None)] * 3
        plane[axis] = index
        drawn = filled[tuple(plane)]
        drawn |= _nested(added[place])
        for mask in exclusive[place]:
            drawn ^= mask
    return filled


def _area(corners: NDArray[np.float64]) -> float:
    """Area of a polygon (N, 2), voxels (shoelace formula)."""
    y, x = corners.T
    return 0.5 * abs(float(y @ np.roll(x, 1) - x @ np.roll(y, 1)))


def _nested(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_] | bool:
    """Join masks of one plane, those inside an odd number of others as holes."""
    distinct: list[NDArray[np.bool_]] = []
    for mask in sorted(masks, key=np.count_nonzero, reverse=True):
        if not any(np.array_equal(mask, other) for other in distinct):
            distinct.append(mask)
    joined: NDArray[np.bool_] | bool = False
    for rank, mask in enumerate(distinct):
        around = sum(not (mask & ~larger).any() for larger in distinct[:rank])
        joined = joined & ~mask if around % 2 else joined | mask
    return joined


def _read_segments(
    file: StructureFile, requested: Collection[str], geometry: Geometry
) -> dict[str, NDArray[np.bool_]]:
    """Put each frame of a SEG where its own tags say that it lies.

    Of probabilities those above a half count; a label map has all segments in one.
    """
    dataset = read_dataset(file.path)
    places = frames(file.path)
    groups = dataset.PerFrameFunctionalGroupsSequence
    found = {name: np.zeros(geometry.shape_zyx, bool) for name in requested}
    names = {number: name for name in requested for number in file.names[name]}
    shared, in_one = shared_groups(dataset), dataset.SegmentationType == "LABELMAP"
    half = 0.5 * float(dataset.get("MaximumFractionalValue", 1))
    for frame, place, group in zip(
        _frame_values(file.path), places, groups, strict=True
    ):
        if in_one:
            planes = {number: frame == number for number in names}
        else:
            planes = {int(frame_value(group, shared, _SEGMENT)): frame > half}
        for number in names.keys() & planes:
            if planes[number].any():
                _put(file.path, found[names[number]], planes[number], place, geometry)
    return found


def _frame_values(path: Path) -> NDArray[Any]:
    """Frames (N, rows, columns) of a SEG as they are stored."""
    import pydicom

    dataset = pydicom.dcmread(path, force=True)
    values: NDArray[Any] = np.asarray(dataset.pixel_array)
    return values[np.newaxis] if values.ndim == 2 else values


def _put(
    path: Path,
    voxels: NDArray[np.bool_],
    plane: NDArray[np.bool_],
    place: DicomSlice,
    geometry: Geometry,
) -> None:
    """Set the voxels (Z, Y, X) of a frame (rows, columns) on the image's grid."""
    normal = RAS_TO_LPS @ place.direction[:, 2]
    across = np.abs(np.linalg.inv(geometry.affine)[:3, :3] @ normal).argmax()
    steps = (*place.spacing, geometry.spacing_mm[int(across)])
    affine = np.eye(4)
    affine[:3, :3] = RAS_TO_LPS @ place.direction * steps
    affine[:3, 3] = RAS_TO_LPS @ place.origin
    native = plane.T[:, :, np.newaxis]
    place_on(voxels, native, affine, geometry, path)
