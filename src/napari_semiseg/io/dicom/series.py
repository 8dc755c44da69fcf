"""Read DICOM series: folders of slices, and multi-frame files."""

from __future__ import annotations

import filecmp
import os
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.errors import ImageError
from napari_semiseg.io.dicom import enhanced
from napari_semiseg.io.dicom.stack import DicomSlice, stacked
from napari_semiseg.io.dicom.tags import discreet, is_dicom, malformed, read_dataset
from napari_semiseg.io.itk import unreadable, voxels
from napari_semiseg.io.registry import Format, image_suffixes, register
from napari_semiseg.io.source import DEFLATE, Source, check_size

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

NO_IMAGES = ("SEG", "RTDOSE", "RTSTRUCT", "PR", "KO", "SR")
"""Modalities of what is no image of a patient."""

EVERY_SERIES = "all"
"""The choice of all series of a folder."""

_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "StudyDate",
    "Modality",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PhotometricInterpretation",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
)
_FOLDERS_KEPT = 4
"""Folders whose headers are remembered: a thousand slices take some 10 MB."""


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """Tags of one file of a series, read once.

    Attributes
    ----------
    file : Path
    tags : FileDataset
        Those of `_TAGS` that the file has.
    """

    file: Path
    tags: FileDataset

    def text(self, name: str) -> str:
        """Value of a tag as text; empty where it is absent or malformed."""
        try:
            with discreet():
                return str(self.tags.get(name) or "").strip("\0 ")
        except malformed():
            return ""

    def numbers(self, name: str, count: int) -> NDArray[np.float64] | None:
        """Values of a tag; None where there are not so many finite numbers."""
        try:
            with discreet():
                values = np.atleast_1d(np.asarray(self.tags.get(name), float))
        except malformed():
            return None
        return (
            values if values.shape == (count,) and np.isfinite(values).all() else None
        )

    def number(self, name: str, default: float) -> float:
        """Value of a tag of one number."""
        values = self.numbers(name, 1)
        return default if values is None else float(values[0])

    @property
    def scale(self) -> tuple[float, float]:
        """Rescale slope and intercept."""
        return self.number("RescaleSlope", 1.0), self.number("RescaleIntercept", 0.0)

    @property
    def encoding(self) -> tuple[Any, ...]:
        """What must be equal for ITK to read slices in one go."""
        names = ("BitsAllocated", "BitsStored", "PixelRepresentation")
        interpretation = self.text("PhotometricInterpretation")
        return (*self.scale, *map(self.text, names), interpretation)

    @property
    def is_inverted(self) -> bool:
        """Whether a larger value is darker, so that GDCM inverts the values."""
        return self.text("PhotometricInterpretation") == "MONOCHROME1"

    @property
    def is_compressed(self) -> bool:
        """Whether the voxels are packed."""
        syntax = self.tags.file_meta.get("TransferSyntaxUID", _UNCOMPRESSED[0])
        return str(syntax) not in _UNCOMPRESSED

    @property
    def is_image(self) -> bool:
        """Whether this is an image of a patient."""
        return self.text("Modality") not in NO_IMAGES and "Rows" in self.tags

    @property
    def has_frames(self) -> bool:
        """Whether the file holds a volume of its own."""
        return self.number("NumberOfFrames", 1) > 1

    def check_whole(self) -> None:
        """Refuse an image that ends before it says its size: it would be left out.

        Raises
        ------
        ImageError
            The file is torn.
        """
        from pydicom.uid import UID

        kind = str(self.tags.file_meta.get("MediaStorageSOPClassUID", ""))
        kind = self.text("SOPClassUID") or kind
        if "Rows" not in self.tags and "Image Storage" in UID(kind).name:
            raise ImageError(
                f"{self.file}: expected a whole DICOM image, found one that ends "
                f"before its rows; copy or export it again"
            )

    def check(self) -> None:
        """Refuse colours, and more voxels than the file can hold.

        Raises
        ------
        ImageError
            It holds such.
        """
        in_table = self.text("PhotometricInterpretation") == "PALETTE COLOR"
        if in_table or self.number("SamplesPerPixel", 1) > 1:
            raise ImageError(
                f"{self.file}: expected grey DICOM slices, found colours; choose "
                f"another series"
            )
        names = ("Columns", "Rows", "NumberOfFrames")
        shape = [int(self.number(name, 1)) for name in names]
        # A blank JPEG 2000 or RLE slice is shorter still than a blank gzipped one.
        held = self.file.stat().st_size
        check_size(self.file, shape, 1, held, 20 * DEFLATE * self.is_compressed)

    def place(self) -> DicomSlice:
        """Where the slice lies.

        Raises
        ------
        ImageError
            The tags do not say so, or it is no grey slice.
        """
        self.check()
        spacing = self.numbers("PixelSpacing", 2)
        origin = self.numbers("ImagePositionPatient", 3)
        orientation = self.numbers("ImageOrientationPatient", 6)
        if spacing is None or origin is None or orientation is None:
            raise ImageError(
                f"{self.file}: expected a DICOM slice with position, orientation and "
                f"pixel spacing, found one without; choose another series"
            )
        size = int(self.number("Columns", 0)), int(self.number("Rows", 0))
        return DicomSlice.from_tags(size, spacing, origin, orientation)


@dataclass(frozen=True, eq=False)
class Series:
    """Files of a folder that have one series UID, sorted by name.

    Attributes
    ----------
    folder : Path
    headers : tuple of SliceHeader
        One for each file; an identical copy of another file is left out.
    alone : bool
        Whether there is no other series in the folder.
    copies : int
        How many identical copies were left out.
    """

    folder: Path
    headers: tuple[SliceHeader, ...]
    alone: bool = True
    copies: int = 0

    @property
    def files(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(header.file for header in self.headers)

    @property
    def uid(self) -> str:
        """Series instance UID; empty where the files have none."""
        return self.headers[0].text("SeriesInstanceUID")

    @property
    def number(self) -> str:
        """Series number as the scanner gave it; may be empty, or not unique."""
        return self.headers[0].text("SeriesNumber")

    @property
    def description(self) -> str:
        """Series description as the scanner gave it; may be empty."""
        return self.headers[0].text("SeriesDescription")

    @property
    def date(self) -> str:
        """When it was made, as 2020-11-21; empty where the files do not say."""
        first = self.headers[0]
        text = first.text("SeriesDate") or first.text("StudyDate")
        known = len(text) == 8 and text.isdigit()
        return f"{text[:4]}-{text[4:6]}-{text[6:]}" if known else ""

    @property
    def has_frames(self) -> bool:
        """Whether each file holds a volume of its own."""
        return self.headers[0].has_frames

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how the series is read."""
        found = []
        if any(header.is_inverted for header in self.headers):
            found.append(
                "MONOCHROME1: the stored values are kept, so that the picture is "
                "inverted against a DICOM viewer's"
            )
        if self.copies:
            found.append(f"{self.copies} identical copies of slices are left out")
        return tuple(found)

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
    """Find the image series in a folder, not below it, by rising number.

    Headers are read once, and again when a file of the folder has changed.
    """
    others = tuple(suffix for suffix in image_suffixes() if suffix != ".dcm")
    with os.scandir(folder) as entries:
        files = sorted(
            (entry.name, entry.stat().st_size, entry.stat().st_mtime_ns)
            for entry in entries
            if entry.is_file() and not entry.name.lower().endswith(others)
        )
    return list(_scanned(folder, tuple(files)))


@lru_cache(maxsize=_FOLDERS_KEPT)
def _scanned(folder: Path, files: tuple[tuple[str, int, int], ...]) -> list[Series]:
    groups: dict[str, list[SliceHeader]] = defaultdict(list)
    for name, _, _ in files:
        file = folder / name
        if is_dicom(file):
            header = SliceHeader(file, read_dataset(file, *_TAGS))
            header.check_whole()
            if header.is_image:
                groups[header.text("SeriesInstanceUID")].append(header)
    found = []
    for headers in groups.values():
        distinct = _without_copies(headers)
        copies = len(headers) - len(distinct)
        found.append(Series(folder, distinct, len(groups) == 1, copies))
    return sorted(found, key=lambda item: (item.number.zfill(16), item.uid))


def _without_copies(headers: Sequence[SliceHeader]) -> tuple[SliceHeader, ...]:
    """Leave out files that are byte for byte another one, as a second export has."""
    kept: dict[str, list[SliceHeader]] = defaultdict(list)
    for header in headers:
        twins = kept[header.text("SOPInstanceUID")]
        if not any(filecmp.cmp(header.file, one.file, shallow=False) for one in twins):
            twins.append(header)
    found = [header for twins in kept.values() for header in twins]
    return tuple(sorted(found, key=lambda header: header.file))


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


def files_in(folder: Path) -> list[Path]:
    """List the files of a folder's only series; else all of the folder, sorted."""
    several = series_of(folder)
    if len(several) == 1:
        return list(several[0].files)  # a stray file beside them does not count
    return sorted(item for item in folder.iterdir() if item.is_file())


def open_dicom(path: Path) -> Source:
    """Read and check the headers of all slices of a series.

    Slices that differ in type, slope or intercept are read one by one into a type
    that holds all of their values.

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
        return _open_frames(path if path.is_file() else _only_file(series), series)
    geometry, order = stacked(path, _places(path, series))
    headers = [series.headers[index] for index in order]

    def read() -> NDArray[Any]:
        encodings = {header.encoding for header in headers}
        if len(encodings) > 1 or headers[0].is_inverted:
            planes = [_voxels(header) for header in headers]
            return _stored(np.concatenate(planes, axis=2))
        import SimpleITK as sitk

        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([os.fspath(header.file) for header in headers])
        with _quiet():
            return _stored(voxels(path, reader))

    return Source(geometry, series.notes, read)


def _voxels(header: SliceHeader) -> NDArray[Any]:
    """Voxels (columns, rows, frames) of a file: stored times slope plus intercept."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    with _not_inverted(header) as file, _quiet():
        reader.SetFileName(os.fspath(file))
        return np.atleast_3d(voxels(header.file, reader))


@contextmanager
def _not_inverted(header: SliceHeader) -> Iterator[Path]:
    """Give the file, or a copy that says MONOCHROME2: GDCM inverts the other kind."""
    if not header.is_inverted:
        yield header.file
        return
    import pydicom

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "slice.dcm"
        try:
            with discreet():
                tags = pydicom.dcmread(header.file, force=True)
                tags.PhotometricInterpretation = "MONOCHROME2"
                tags.save_as(copy)
        except malformed() as error:
            raise unreadable(header.file, error) from error
        yield copy


def _places(path: Path, series: Series) -> list[DicomSlice]:
    if any(header.has_frames for header in series.headers):
        raise ImageError(
            f"{path}: expected one DICOM file a slice, found a multi-frame file among "
            f"them; remove those that do not belong"
        )
    return [header.place() for header in series.headers]


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
    _, order = stacked(path, _places(path, series))
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


def _open_frames(path: Path, series: Series) -> Source:
    header = next(one for one in series.headers if one.file.name == path.name)
    header.check()
    geometry, order = stacked(path, enhanced.frames(path))

    def read() -> NDArray[Any]:
        return _stored(_voxels(header))[:, :, order]

    return Source(geometry, series.notes, read)


def _stored(native: NDArray[Any]) -> NDArray[Any]:
    # GDCM gives float64 where a slope makes the values fractional.
    return native.astype(np.float32) if native.dtype.kind == "f" else native


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
