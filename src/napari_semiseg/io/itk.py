"""NRRD, MetaImage and GIPL files through SimpleITK."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.geometry import RAS_TO_LPS
from napari_semiseg.errors import ImageError
from napari_semiseg.io.atomic import atomic_path
from napari_semiseg.io.registry import Format, Mask, register
from napari_semiseg.io.source import (
    DEFLATE,
    Source,
    check_size,
    checked_geometry,
    one_line,
    spatial_shape,
)

SUFFIXES = (".gipl.gz", ".gipl", ".nrrd", ".nhdr", ".mha", ".mhd")

_HEADER_BYTES, _LIST_BYTES = 1 << 16, 1 << 26
_DATA_FILE = re.compile(r"^\s*(?:ElementDataFile\s*=|data ?file:)\s*(.+?)\s*$", re.M)
"""Where MetaImage and NRRD headers say that the voxels lie."""
_ENCODING = re.compile(r"^encoding:\s*(\w+)", re.M | re.I)


def open_itk(path: Path, volume: int | None = None) -> Source:
    """Read and check the header of a file of `SUFFIXES`.

    Raises
    ------
    ImageError
        The file is no such image, or holds what is not one real-valued 3D volume on a
        rectangular grid.
    """
    if volume is not None:
        raise ImageError(
            f"{path}: expected a NIfTI file of several volumes, found another format; "
            f"put the original back"
        )
    _check_encoding(path)
    reader = _header(path)
    if "complex" in _pixel_type(reader):
        raise ImageError(
            f"{path}: expected real numbers, found {_pixel_type(reader)} voxels; save "
            f"the magnitude instead"
        )
    if reader.GetNumberOfComponents() != 1:
        raise ImageError(
            f"{path}: expected one number a voxel, found "
            f"{reader.GetNumberOfComponents()} (colours or vectors); convert it to a "
            f"grey image"
        )
    shape = reader.GetSize()
    geometry = checked_geometry(path, shape, _affine(reader))
    check_size(path, shape, _itemsize(reader), _held(path), DEFLATE)

    def read() -> NDArray[Any]:
        return voxels(path, reader).reshape(spatial_shape(shape), order="F")

    return Source(geometry, (), read)


def _check_encoding(path: Path) -> None:
    """Refuse NRRD files that are compressed as SimpleITK does not read them."""
    encoding = _ENCODING.search(_head(path))
    if encoding and encoding[1].lower() in ("bz2", "bzip2"):
        raise ImageError(
            f"{path}: expected NRRD voxels in raw, text, hex or gzip encoding, found "
            f"bzip2; save the image again with gzip"
        )


def write_itk(target: Path, mask: Mask) -> list[Path]:
    """Write a mask, compressed and atomically, as NRRD or MetaImage.

    Spacing, origin and directions are the very numbers of its image where SimpleITK
    reads it, and come from its geometry otherwise.
    """
    import SimpleITK as sitk

    native = mask.geometry.to_native(mask.labels)
    written = sitk.GetImageFromArray(np.ascontiguousarray(native.T))
    if mask.image.name.lower().endswith(SUFFIXES):
        source = _header(mask.image)
        directions = np.reshape(source.GetDirection(), (source.GetDimension(), -1))
        written.SetDirection(directions[:3, :3].ravel().tolist())
        written.SetSpacing(source.GetSpacing()[:3])
        written.SetOrigin(source.GetOrigin()[:3])
    else:
        affine = mask.geometry.native_affine
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        written.SetDirection((RAS_TO_LPS @ affine[:3, :3] / spacing).ravel().tolist())
        written.SetSpacing(spacing.tolist())
        written.SetOrigin((RAS_TO_LPS @ affine[:3, 3]).tolist())
    with atomic_path(target) as temporary:
        try:
            sitk.WriteImage(written, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise OSError(reason(error, temporary)) from error
    return [target]


def header_fields(path: Path) -> dict[str, str]:
    """Key-value fields of a file's header.

    Raises
    ------
    ImageError
        The file is torn.
    """
    reader = _header(path)
    return {key: str(reader.GetMetaData(key)) for key in reader.GetMetaDataKeys()}


def read_layers(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read a file whole that may hold several values a voxel, and be one slice.

    Returns
    -------
    layers : ndarray (I, J, K, N)
        In the file's own order.
    affine : ndarray (4, 4)
        (i, j, k, 1) to RAS+ mm.

    Raises
    ------
    ImageError
        The file is torn, or no volume.
    """
    reader = _header(path)
    shape, count = reader.GetSize(), reader.GetNumberOfComponents()
    checked_geometry(path, shape, _affine(reader), least=1)
    check_size(path, (*shape, count), _itemsize(reader), _held(path), DEFLATE)
    values = voxels(path, reader)
    if count > 1:  # numpy has them first, in the order of the file's axes
        values = np.moveaxis(values, 0, -1)
    return values.reshape(*spatial_shape(shape), count), _affine(reader)


def voxels(path: Path, reader: Any) -> NDArray[Any]:
    """Let a SimpleITK reader read, as an array (I, J, K, …).

    Raises
    ------
    ImageError
        The file is torn.
    """
    import SimpleITK as sitk

    try:
        found: NDArray[Any] = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise unreadable(path, error) from error
    return found.T


def reason(error: Exception, path: Path) -> str:
    """Say what SimpleITK complains about in one line."""
    lines = [line for line in str(error).splitlines() if "ERROR" in line]
    text = lines[-1] if lines else str(error)
    return one_line(text.rpartition("ERROR:")[2], path)


def unreadable(path: Path, error: Exception) -> ImageError:
    """Wrap what SimpleITK raises."""
    return ImageError(
        f"{path}: expected a whole image file, found '{reason(error, path)}'; copy or "
        f"export the image again"
    )


def _header(path: Path) -> Any:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable(path, error) from error
    return reader


def _affine(reader: Any) -> NDArray[np.float64]:
    """(i, j, k, 1) to RAS+ mm; the identity where there are fewer than three axes."""
    affine = np.eye(4)
    count = reader.GetDimension()
    if count >= 3:
        direction = np.reshape(reader.GetDirection(), (count, count))[:3, :3]
        affine[:3, :3] = RAS_TO_LPS @ direction * reader.GetSpacing()[:3]
        affine[:3, 3] = RAS_TO_LPS @ reader.GetOrigin()[:3]
    return affine


def _pixel_type(reader: Any) -> str:
    import SimpleITK as sitk

    return str(sitk.GetPixelIDValueAsString(reader.GetPixelID()))


def _itemsize(reader: Any) -> int:
    """Bytes a voxel."""
    bits = re.match(r"\d+", _pixel_type(reader))
    return int(bits[0]) // 8 if bits else 1


def _held(path: Path) -> int:
    """Bytes of a file together with those beside it that hold its voxels."""
    return sum(file.stat().st_size for file in (path, *voxel_files(path)))


def _head(path: Path, size: int = _HEADER_BYTES) -> str:
    """Beginning of a file, as far as it is text."""
    try:
        with path.open("rb") as stream:
            return stream.read(size).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise unreadable(path, error) from error


def voxel_files(path: Path) -> list[Path]:
    """Files that hold the voxels of a header: those of them that are there."""
    head = _head(path)
    named = list(_DATA_FILE.finditer(head))
    if not named or named[-1][1].upper() == "LOCAL":
        return []
    names = [named[-1][1]]
    if names[0].upper().startswith("LIST"):
        listed = _head(path, _LIST_BYTES)[named[-1].end() :]
        names = [line.strip() for line in listed.splitlines()]
    elif "%" in names[0]:  # slice%03d.raw 1 40 1
        pattern = re.sub(r"%\d*d", "*", names[0].split()[0])
        return sorted(path.parent.glob(pattern))
    files = [path.parent / name for name in names if name]
    return [file for file in files if file.is_file()]


for _name, _title, _header_only in (
    ("nrrd", "NRRD", ".nhdr"),
    ("mha", "MetaImage", ".mhd"),
):
    register(
        Format(
            _name,
            f"{_title} (.{_name})",
            suffixes=(f".{_name}", _header_only),
            read=open_itk,
            write=write_itk,
            endings=(f".{_name}",),
            voxel_files=voxel_files,
        )
    )
register(Format("gipl", "GIPL (.gipl)", suffixes=(".gipl.gz", ".gipl"), read=open_itk))
