"""Folders that hold one DICOM series of single-frame slices, through SimpleITK."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.errors import ImageError
from napari_semiseg.io.itk import LPS, unreadable, voxels
from napari_semiseg.io.source import SHEAR, Source, checked_geometry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

UNEVEN = 0.01
"""Largest deviation of a slice distance, relative to their median."""


def is_dicom(path: Path) -> bool:
    """Whether a file begins like a DICOM file."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def series_of(folder: Path) -> dict[str, tuple[str, ...]]:
    """Find the image series in a folder, not below it: series UID to file names."""
    import SimpleITK as sitk

    if not any(is_dicom(file) for file in folder.iterdir() if file.is_file()):
        return {}
    with _quiet():
        found = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        return {
            uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
            for uid in found
        }


def open_dicom(folder: Path) -> Source:
    """Read and check the headers of all slices in a folder.

    Raises
    ------
    ImageError
        There is not exactly one series, or its slices are not one stack at right
        angles and even distances.
    """
    import SimpleITK as sitk

    found = series_of(folder)
    if not found:
        raise ImageError(
            f"{folder}: expected an image file or a folder with a DICOM series, found "
            f"a folder without one; give the image files themselves"
        )
    if len(found) > 1:
        listed = "; ".join(
            f"{_header(files[0]).text('0008|103e') or 'unnamed'} "
            f"({len(files)} files, {uid})"
            for uid, files in sorted(found.items())
        )
        raise ImageError(
            f"{folder}: expected one DICOM series, found {len(found)}: {listed}; move "
            f"each to a folder of its own"
        )
    (files,) = found.values()
    slices = [_header(file) for file in files]
    affine, order = _stack(folder, slices)
    first = slices[0]
    geometry = checked_geometry(folder, (*first.size, len(slices)), affine)

    def read() -> NDArray[Any]:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([slices[index].file for index in order])
        stored = voxels(folder, reader)
        # GDCM gives float64 where a slope makes the values fractional.
        return stored.astype(np.float32) if stored.dtype.kind == "f" else stored

    return Source(geometry, (), read)


@dataclass(frozen=True, slots=True)
class _Slice:
    """Header of one slice; positions and directions in LPS mm."""

    file: str
    size: tuple[int, int]
    frames: int
    components: int
    spacing: tuple[float, float]
    origin: NDArray[np.float64]
    direction: NDArray[np.float64]
    reader: Any

    def text(self, key: str) -> str:
        """Value of a tag; empty where the slice does not have it."""
        if not self.reader.HasMetaDataKey(key):
            return ""
        return str(self.reader.GetMetaData(key)).strip()


def _header(file: str) -> _Slice:
    from pathlib import Path

    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    try:
        with _quiet():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable(Path(file), error) from error
    columns, rows, *frames = reader.GetSize()
    return _Slice(
        file=file,
        size=(columns, rows),
        frames=int(np.prod(frames)),
        components=reader.GetNumberOfComponents(),
        spacing=reader.GetSpacing()[:2],
        origin=np.array(reader.GetOrigin()[:3]),
        direction=np.reshape(reader.GetDirection(), (3, 3)),
        reader=reader,
    )


def _stack(
    folder: Path, slices: Sequence[_Slice]
) -> tuple[NDArray[np.float64], list[int]]:
    """Affine of the stack, (column, row, slice) to RAS mm, and the order of slices."""
    first = slices[0]
    _check_alike(folder, slices)
    origins = np.stack([item.origin for item in slices])
    normal = first.direction[:, 2]
    heights = origins @ normal
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    if len(slices) < 2:
        raise ImageError(
            f"{folder}: expected a DICOM series of at least 2 slices, found 1; give "
            f"the whole series"
        )
    step = float(np.median(gaps))
    if gaps.min() < 1e-3:
        raise ImageError(
            f"{folder}: expected each DICOM slice at a place of its own, found several "
            f"{gaps.min():.3g} mm apart (time points or echoes?); keep one of them"
        )
    if np.abs(gaps - step).max() > max(UNEVEN * step, 1e-3):
        raise ImageError(
            f"{folder}: expected DICOM slices at even distances, found "
            f"{gaps.min():.3f} to {gaps.max():.3f} mm; add the missing slices or "
            f"resample the series"
        )
    along = origins[order[-1]] - origins[order[0]]
    tilt = np.degrees(np.arccos(np.clip(along @ normal / np.linalg.norm(along), -1, 1)))
    if np.sin(np.radians(tilt)) > SHEAR:
        raise ImageError(
            f"{folder}: expected DICOM slices straight above each other, found a "
            f"gantry tilt of {tilt:.1f} degrees; resample the series without tilt"
        )
    affine = np.eye(4)
    affine[:3, 0] = LPS @ first.direction[:, 0] * first.spacing[0]
    affine[:3, 1] = LPS @ first.direction[:, 1] * first.spacing[1]
    affine[:3, 2] = LPS @ along / (len(slices) - 1)
    affine[:3, 3] = LPS @ origins[order[0]]
    return affine, order.tolist()


def _check_alike(folder: Path, slices: Sequence[_Slice]) -> None:
    """Refuse slices that cannot be one stack of grey images."""
    first = slices[0]
    if any(item.frames > 1 for item in slices):
        raise ImageError(
            f"{folder}: expected one DICOM file a slice, found a multi-frame file; "
            f"convert the series to NIfTI"
        )
    if any(item.components > 1 for item in slices):
        raise ImageError(
            f"{folder}: expected grey DICOM slices, found colours; choose another "
            f"series"
        )
    sizes = {(*item.size, *item.spacing) for item in slices}
    if len(sizes) > 1:
        listed = ", ".join(str(size) for size in sorted(sizes)[:4])
        raise ImageError(
            f"{folder}: expected DICOM slices of one size, found (columns, rows, mm, "
            f"mm) {listed}; remove those that do not belong"
        )
    if any(np.abs(item.direction - first.direction).max() > 1e-3 for item in slices):
        raise ImageError(
            f"{folder}: expected parallel DICOM slices, found several directions (a "
            f"localiser?); remove those that do not belong"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ITK's warnings about harmless tags off the terminal."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
