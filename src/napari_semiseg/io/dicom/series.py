"""DICOM: folders that hold series of slices, and multi-frame files."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.errors import ImageError
from napari_semiseg.io.dicom import enhanced
from napari_semiseg.io.dicom.stack import Slice, stacked
from napari_semiseg.io.itk import unreadable, voxels
from napari_semiseg.io.registry import Format, register
from napari_semiseg.io.source import DEFLATE, Source, check_size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

NO_IMAGES = ("SEG", "RTDOSE", "RTSTRUCT", "PR", "KO", "SR")
"""Modalities of what is no image of a patient."""

EVERY_SERIES = "all"
"""The choice of all series of a folder."""

_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")


def is_dicom(path: Path) -> bool:
    """Whether a file begins like a DICOM file."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            return False
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


@dataclass(frozen=True)
class Series:
    """Files of a folder that have one series UID, sorted by name.

    Attributes
    ----------
    folder : Path
    uid : str
        Empty where the files have none.
    files : tuple of Path
    alone : bool
        Whether there is no other series in the folder.
    """

    folder: Path
    uid: str
    files: tuple[Path, ...]
    alone: bool = True

    @cached_property
    def _first(self) -> Any:
        return _header(self.files[0])

    @property
    def number(self) -> str:
        """Series number as the scanner gave it; may be empty, or not unique."""
        return _text(self._first, "0020|0011")

    @property
    def description(self) -> str:
        """Series description as the scanner gave it; may be empty."""
        return _text(self._first, "0008|103e")

    @property
    def date(self) -> str:
        """When it was made, as 2020-11-21; empty where the files do not say."""
        text = _text(self._first, "0008|0021") or _text(self._first, "0008|0020")
        known = len(text) == 8 and text.isdigit()
        return f"{text[:4]}-{text[4:6]}-{text[6:]}" if known else ""

    @property
    def is_image(self) -> bool:
        """Whether these are images of a patient, by their modality."""
        return _text(self._first, "0008|0060") not in NO_IMAGES

    @property
    def has_frames(self) -> bool:
        """Whether each file holds a volume of its own."""
        return _text(self._first, "0028|0008") not in ("", "1")

    @property
    def images(self) -> list[Path]:
        """How the volumes of the series are referred to.

        A file each where they are multi-frame; else the folder, or the first file
        where the folder holds several series.
        """
        if self.has_frames:
            return list(self.files)
        return [self.folder if self.alone else self.files[0]]

    def answers_to(self, choice: str) -> bool:
        """Whether a user means this series: its number, description, UID, or all."""
        names = {self.uid, self.number, self.description.casefold(), EVERY_SERIES}
        return choice.casefold() in names

    def __str__(self) -> str:
        number = f"{self.number} " if self.number else ""
        name = self.description or "unnamed"
        date = f"{self.date}, " if self.date else ""
        count = f"{len(self.files)} files"
        return f"{number}'{name}' ({date}{count}, {self.uid or 'no UID'})"


def series_of(folder: Path) -> list[Series]:
    """Find the image series in a folder, not below it, by rising number."""
    import SimpleITK as sitk

    if not any(is_dicom(file) for file in folder.iterdir() if file.is_file()):
        return []
    with _quiet():
        uids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        groups = {
            uid: sorted(
                Path(file)
                for file in sitk.ImageSeriesReader.GetGDCMSeriesFileNames(
                    str(folder), uid
                )
            )
            for uid in uids
        }
    found = [Series(folder, uid, tuple(files)) for uid, files in groups.items()]
    found = [item for item in found if item.is_image]
    found.sort(key=lambda item: (item.number.zfill(16), item.uid))
    alone = len(found) == 1
    return [Series(folder, item.uid, item.files, alone) for item in found]


def chosen(found: Collection[Series], choices: Collection[str]) -> list[Series]:
    """Those of several series that a user asked for."""
    return [
        item for item in found if any(item.answers_to(choice) for choice in choices)
    ]


def series_with(file: Path) -> Series:
    """Find the series that a file is part of, in the file's own folder.

    Raises
    ------
    ImageError
        It is part of no series of images.
    """
    for series in series_of(file.parent):
        if any(item.name == file.name for item in series.files):
            return series
    raise ImageError(
        f"{file}: expected a DICOM image, found something else (a structure set, a "
        f"segmentation or a report?); give the folder of an image series"
    )


def open_dicom(path: Path) -> Source:
    """Read and check the headers of all slices of a series.

    Parameters
    ----------
    path : Path
        A folder with one series, a file of a series, or a multi-frame file.

    Raises
    ------
    ImageError
        There is not exactly one series, or its slices are not one stack at right
        angles and even distances.
    """
    series = series_with(path) if path.is_file() else _only_series(path)
    if series.has_frames:
        return _open_frames(path if path.is_file() else _only_file(series))
    slices = [_slice(path, file) for file in series.files]
    geometry, order = stacked(path, slices)

    def read() -> NDArray[Any]:
        import SimpleITK as sitk

        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([os.fspath(series.files[index]) for index in order])
        with _quiet():
            return _stored(voxels(path, reader))

    return Source(geometry, (), read)


def instances(path: Path) -> tuple[list[Path], list[int]]:
    """List the files of a DICOM image, and where its slices lie in them.

    Returns
    -------
    files : list of Path
        In the order of the slices, or one multi-frame file.
    order : list of int
        For each slice of the grid its file's rank, or its frame.

    Raises
    ------
    ImageError
        The image is no DICOM, or cannot be one stack.
    """
    if not (path.is_dir() or is_dicom(path)):
        raise ImageError(
            f"{path}: expected a DICOM image, found another format; export to NIfTI, "
            f"NRRD or MHA"
        )
    series = series_with(path) if path.is_file() else _only_series(path)
    if series.has_frames:
        file = path if path.is_file() else _only_file(series)
        return [file], stacked(file, enhanced.frames(file))[1]
    _, order = stacked(path, [_slice(path, file) for file in series.files])
    return [series.files[index] for index in order], list(range(len(order)))


def _only_series(folder: Path) -> Series:
    found = series_of(folder)
    if not found:
        raise ImageError(
            f"{folder}: expected an image file or a folder with a DICOM series, found "
            f"a folder without one; give the image files themselves"
        )
    if len(found) > 1:
        listed = "; ".join(str(series) for series in found)
        raise ImageError(
            f"{folder}: expected one DICOM series, found {len(found)}: {listed}; "
            f"choose by number, description or UID (--series), or move each to a "
            f"folder of its own"
        )
    return found[0]


def _only_file(series: Series) -> Path:
    if len(series.files) > 1:
        raise ImageError(
            f"{series.folder}: expected one volume, found {len(series.files)} "
            f"multi-frame files; give the files themselves"
        )
    return series.files[0]


def _open_frames(path: Path) -> Source:
    reader = _header(path)
    _check_grey(path, reader)
    geometry, order = stacked(path, enhanced.frames(path))

    def read() -> NDArray[Any]:
        with _quiet():
            return _stored(voxels(path, reader))[:, :, order]

    return Source(geometry, (), read)


def _stored(native: NDArray[Any]) -> NDArray[Any]:
    # GDCM gives float64 where a slope makes the values fractional.
    return native.astype(np.float32) if native.dtype.kind == "f" else native


def _slice(path: Path, file: Path) -> Slice:
    reader = _header(file)
    columns, rows, *frames = reader.GetSize()
    if int(np.prod(frames)) > 1:
        raise ImageError(
            f"{path}: expected one DICOM file a slice, found a multi-frame file among "
            f"them; remove those that do not belong"
        )
    _check_grey(file, reader)
    return Slice(
        size=(columns, rows),
        spacing=reader.GetSpacing()[:2],
        origin=np.array(reader.GetOrigin()[:3]),
        direction=np.reshape(reader.GetDirection(), (3, 3)),
    )


def _check_grey(file: Path, reader: Any) -> None:
    """Refuse colours, and more voxels than the file can hold."""
    if reader.GetNumberOfComponents() > 1:
        raise ImageError(
            f"{file}: expected grey DICOM slices, found colours; choose another series"
        )
    packed = _text(reader, "0002|0010") not in _UNCOMPRESSED
    # A blank JPEG 2000 or RLE slice is shorter still than a blank gzipped one.
    check_size(file, reader.GetSize(), 1, file.stat().st_size, 20 * DEFLATE * packed)


def _header(file: Path) -> Any:
    """SimpleITK reader that has read the header of a file."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(os.fspath(file))
    try:
        with _quiet():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable(file, error) from error
    return reader


def _text(reader: Any, key: str) -> str:
    """Value of a tag; empty where the file does not have it."""
    if not reader.HasMetaDataKey(key):
        return ""
    return str(reader.GetMetaData(key)).strip("\0 ")


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


register(
    Format(
        "dicom",
        "DICOM (a folder, or a file)",
        suffixes=(".dcm",),
        read=lambda path, _volume: open_dicom(path),
        recognise=lambda path: path.is_dir() or is_dicom(path),
    )
)
