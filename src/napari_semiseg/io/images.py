"""Images of any known format, read in canonical axes."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.errors import ImageError
from napari_semiseg.io.atomic import TEMPORARY
from napari_semiseg.io.dicom import series as dicom
from napari_semiseg.io.dicom.tags import is_dicom
from napari_semiseg.io.memory import within_memory
from napari_semiseg.io.registry import image_suffixes, reader_of
from napari_semiseg.io.slicer import is_segmentation

if TYPE_CHECKING:
    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.io.source import Source


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One volume.

    Attributes
    ----------
    data : ndarray (Z, Y, X)
        In the stored type; float32 where the file scales its values.
    geometry : Geometry
        Its grid.
    notes : tuple of str
        What the user should know, in words.
    """

    data: NDArray[Any]
    geometry: Geometry
    notes: tuple[str, ...]


def read_geometry(
    path: Path, volume: int | None = None
) -> tuple[Geometry, tuple[str, ...]]:
    """Read the grid of an image from its header alone.

    Parameters
    ----------
    path : Path
        A file, a folder that holds one DICOM series, or a file of such a series.
    volume : int, optional
        Which one of a NIfTI file that holds several along its fourth axis.

    Returns
    -------
    geometry : Geometry
    notes : tuple of str
        What the user should know, such as a qform and sform that disagree.

    Raises
    ------
    ImageError
        There is no such file, or it is not one 3D volume on a rectangular grid.
    """
    source = open_source(path, volume)
    return source.geometry, source.notes


def read_image(path: Path, volume: int | None = None) -> Image:
    """Read an image whole, or one volume of a NIfTI file that holds several.

    Raises
    ------
    ImageError
        As `read_geometry`; also for a torn file and for NaN or infinite voxels.
    """
    source = open_source(path, volume)
    native = source.read()
    if native.dtype.kind == "f":
        bad = native.size - int(np.count_nonzero(np.isfinite(native)))
        if bad:
            raise ImageError(
                f"{path}: expected finite voxels, found {bad} that are NaN or "
                f"infinite; replace them, for instance by the background's value"
            )
    data = np.ascontiguousarray(source.geometry.to_canonical(native))
    return Image(data, source.geometry, source.notes)


def open_source(path: Path, volume: int | None = None) -> Source:
    """Read and check the header of a file of any known format.

    Raises
    ------
    ImageError
        See `read_geometry`.
    """
    if not path.is_dir() and not path.is_file():  # a device would never end
        raise ImageError(
            f"{path}: expected an image, found nothing there; check the path"
        )
    if path.is_file() and not path.stat().st_size:
        raise ImageError(
            f"{path}: expected a whole image file, found an empty one; copy or export "
            f"it again"
        )
    found = reader_of(path)
    if found is not None and found.read is not None:
        source = found.read(path, volume)

        def read() -> NDArray[Any]:
            with within_memory(path, source.geometry.shape_zyx):
                return source.read()

        return replace(source, read=read)
    raise ImageError(
        f"{path}: expected a DICOM folder or an image ending in "
        f"{', '.join(image_suffixes())}, found neither; convert it to one of these"
    )


def content_sha256(path: Path) -> str:
    """SHA-256 of a file, or of all files of a DICOM series in sorted order.

    A header file counts together with the file beside it that holds its voxels.
    """
    files = files_of(path)
    if files == [path]:
        return file_sha256(path)
    return hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()


def file_sha256(file: Path) -> str:
    """SHA-256 of one file.

    Raises
    ------
    ImageError
        It cannot be read.
    """
    try:
        if not file.is_file():  # a device would never end
            raise FileNotFoundError(errno.ENOENT, "no file")
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(
            f"{file}: expected a readable file, found '{error.strerror or error}'; "
            f"check the path and its permissions"
        ) from error


def files_of(path: Path) -> list[Path]:
    """List the files that make up an image, sorted."""
    if path.is_dir():
        return dicom.files_in(path)
    if is_dicom(path):
        series = dicom.series_with(path)
        return [path] if series.has_frames else list(series.files)
    found = reader_of(path)
    return [path, *(found.voxel_files(path) if found else ())]


def find_images(
    path: Path,
    series: Collection[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """List the images at a path, sorted.

    Parameters
    ----------
    path : Path
        A file, which is returned as it is, or a folder, which is searched with all
        below it. A folder that holds DICOM slices is itself an image, and so is each
        multi-frame file; of several series in one folder, each that is chosen is
        known by its first file.
    series : collection of str
        Which series of a folder with several: numbers, descriptions, UIDs, or "all".
        Without a choice such a folder is listed as it is.
    progress : callable
        Called with the number of images found by now, and 0, as the total is unknown.

    Raises
    ------
    ImageError
        There is nothing at ``path``.
    """
    if path.is_file():
        return dicom.series_with(path).images if _is_slice(path) else [path]
    if not path.is_dir():
        raise ImageError(
            f"{path}: expected an image or a folder, found nothing there; check the "
            f"path"
        )
    found = []
    for image in _walk(path, series):
        found.append(image)
        progress(len(found), 0)
    return sorted(found)


def _is_slice(file: Path) -> bool:
    return is_dicom(file) and not dicom.series_with(file).has_frames


def _walk(folder: Path, series: Collection[str]) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        # "._name" holds what macOS knows of "name", never an image.
        files = [
            Path(parent, name)
            for name in names
            if not name.startswith(("._", TEMPORARY))
        ]
        try:
            found = dicom.series_of(Path(parent))
        except ImageError:  # reading it says what is wrong
            yield Path(parent)
            continue
        if len(found) > 1:
            found = dicom.chosen(found, series)
            if not found:
                yield Path(parent)
        for item in found:
            yield from item.images
        yield from (file for file in files if _is_volume(file))


def _is_volume(file: Path) -> bool:
    """Whether a file may be an image by itself, by its name."""
    name = file.name.lower()
    if name.endswith(".img"):
        return False  # the voxels of the .hdr beside it
    if name.endswith(".dcm") and is_dicom(file):
        return False  # a slice of its folder, or no image (structure set, report)
    if is_segmentation(file):
        return False  # of 3D Slicer: a mask by its own header
    return name.endswith(image_suffixes())


def case_id(path: Path) -> str:
    """Name of an image without the known extensions; a folder's own name."""
    if not path.is_dir():
        for suffix in image_suffixes():
            if path.name.lower().endswith(suffix):
                return path.name[: -len(suffix)]
    return path.name


def slices_with(path: Path) -> tuple[Path, ...]:
    """All slices of the DICOM series that a slice is part of; else none."""
    return dicom.series_with(path).files if series_folder(path) is not None else ()


def series_folder(path: Path) -> Path | None:
    """Folder of the DICOM series that is known by its first file; None otherwise."""
    return path.parent if path.is_file() and _is_slice(path) else None


def series_number(path: Path) -> str:
    """Say in a file name's letters which series of its folder a file is part of.

    The number that the scanner gave where it has one, else the rank.
    """
    series = dicom.series_with(path)
    rank = [item.uid for item in dicom.series_of(path.parent)].index(series.uid)
    number = series.number
    return number if number.isalnum() else str(rank + 1)
