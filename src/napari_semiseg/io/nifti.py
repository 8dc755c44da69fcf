"""NIfTI-1, NIfTI-2, Analyze and MGH files through nibabel."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.cancellation import NEVER, CancellationToken
from napari_semiseg.core.geometry import GRID_TOLERANCE
from napari_semiseg.errors import ImageError
from napari_semiseg.io.atomic import atomic_path
from napari_semiseg.io.memory import within_memory
from napari_semiseg.io.registry import Format, Mask, register
from napari_semiseg.io.source import (
    DEFLATE,
    Source,
    check_size,
    checked_geometry,
    one_line,
    spatial_shape,
)

if TYPE_CHECKING:
    from io import IOBase

    from napari_semiseg.core.geometry import Geometry

NIFTI_SUFFIXES = (".nii.gz", ".nii")

PIECE = 2**22
"""Bytes that are written at once where somebody may want an end."""

_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


def open_nifti(path: Path, volume: int | None = None) -> Source:
    """Read and check the header of a NIfTI, Analyze or MGH file.

    Parameters
    ----------
    path : Path
        The file.
    volume : int, optional
        Which volume along the fourth axis; without it there must be one.

    Raises
    ------
    ImageError
        The file is absent, is no such image, or holds what is not one real-valued 3D
        volume on a rectangular grid.
    """
    image = _load(path)
    with _reading(path):
        _check_voxel_type(path, image.get_data_dtype())
        _check_size(path, image)
        affine, notes = _affine(path, image)
        shape = _shape_of_one(path, image.shape, volume)
        geometry = checked_geometry(path, shape, affine)

    def read() -> NDArray[Any]:
        part = ... if volume is None else (..., volume)
        return _voxels(path, image, part).reshape(spatial_shape(shape), order="F")

    return Source(geometry, notes, read)


def count_volumes(path: Path) -> int:
    """Number of volumes along the fourth axis of a NIfTI, Analyze or MGH file.

    Raises
    ------
    ImageError
        The file is absent or no such image.
    """
    shape = spatial_shape(_load(path).shape)
    return shape[3] if len(shape) == 4 else 1


def _shape_of_one(
    path: Path, shape: tuple[int, ...], volume: int | None
) -> tuple[int, ...]:
    if volume is None:
        return shape
    sizes = spatial_shape(shape)
    if len(sizes) != 4 or not 0 <= volume < sizes[3]:
        raise ImageError(
            f"{path}: expected at least {volume + 1} volumes along a fourth axis, "
            f"found shape {sizes}; put the original back"
        )
    return sizes[:3]


def read_stored(path: Path) -> tuple[NDArray[Any], float, Geometry]:
    """Read a map as it was stored by `write_nifti`, a fourth axis included.

    Returns
    -------
    stored : ndarray (I, J, K) or (I, J, K, N)
        In the file's own order and type.
    slope : float
        What one step of it means.
    geometry : Geometry
        Grid of the first three axes.
    """
    image = _load(path)
    affine, _ = _affine(path, image)
    geometry = checked_geometry(path, image.shape[:3], affine)
    with within_memory(path, image.shape), _reading(path):
        _check_size(path, image)
        stored: NDArray[Any] = np.asarray(image.dataobj.get_unscaled())
    return stored, float(image.dataobj.slope), geometry


def write_nifti(
    target: Path,
    native: NDArray[Any],
    geometry: Geometry,
    image: Path,
    *,
    slope: float | None = None,
    cancellation: CancellationToken = NEVER,
) -> None:
    """Write voxels onto a copy of the header of ``image``, atomically.

    Shape, affine, qform and sform with their codes, units and voxel order are those
    of ``image`` where it is NIfTI; what its header says of its intensities is dropped.
    For other images the header is made from ``geometry``.

    Parameters
    ----------
    target : Path
        Ends in ``.nii`` or ``.nii.gz``.
    native : ndarray (I, J, K) or (I, J, K, N)
        In the file's own order; stored in its own type.
    geometry : Geometry
        The grid of ``image``.
    image : Path
        The source image.
    slope : float, optional
        Stored as scl_slope: what one step of the stored value means. Without it the
        mask keeps trailing axes of size 1 of ``image``.
    cancellation : CancellationToken, optional
        Checked every moment; once cancelled, the target is left as it was.

    Raises
    ------
    ImageError
        ``image`` has another grid than ``geometry`` by now.
    """
    import nibabel
    from nibabel.openers import ImageOpener

    if _is_nifti(image):
        header, affine, shape = _source_header(image, geometry)
        if slope is None:
            native = native.reshape(shape, order="F")
    else:
        header, affine = nibabel.Nifti1Header(), geometry.native_affine
        header.set_qform(affine, code="scanner")
        header.set_sform(affine, code="scanner")
        header.set_xyzt_units("mm")
    header.set_data_dtype(native.dtype)
    pixdim = header["pixdim"].copy()
    mask = (
        nibabel.Nifti2Image(native, affine, header)
        if isinstance(header, nibabel.Nifti2Header)
        else nibabel.Nifti1Image(native, affine, header)
    )
    # The constructor touches both.
    mask.header["pixdim"] = pixdim
    mask.header.set_slope_inter(1.0 if slope is None else slope, 0.0)
    with atomic_path(target) as temporary, ImageOpener(str(temporary), "wb") as stream:
        pieces = cast("IOBase", _CancellableStream(stream, cancellation))
        mask.file_map["image"].fileobj = pieces
        mask.to_file_map()


class _CancellableStream:
    """Check for cancellation at every piece that nibabel writes."""

    def __init__(self, stream: Any, cancellation: CancellationToken) -> None:
        self._cancellation = cancellation
        for name in ("read", "seek", "tell"):
            setattr(self, name, getattr(stream, name))
        self._write = stream.write

    def write(self, content: bytes) -> int:
        whole = memoryview(content).cast("B")
        for start in range(0, len(whole), PIECE):
            self._cancellation.check()
            self._write(whole[start : start + PIECE])
        return len(whole)


def _is_nifti(image: Path) -> bool:
    """Whether a file has a NIfTI header that a mask can take over."""
    import nibabel

    name = image.name.lower()
    if name.endswith((".hdr", ".img")):
        return isinstance(_load(image), nibabel.Nifti1Pair)
    return name.endswith(NIFTI_SUFFIXES)


def _load(path: Path) -> Any:
    """Nibabel image whose voxels are still on the disk."""
    import nibabel

    if not path.is_file():
        raise ImageError(
            f"{path}: expected an image file, found nothing there; check the path"
        )
    _check_ending(path)
    with _reading(path, MemoryError):
        # No memory map: Windows cannot replace a file that is mapped.
        return _known(path, nibabel.load(path, mmap=False))


def _check_ending(path: Path) -> None:
    """Refuse compressed files that are named as others, and the other way round."""
    named = path.name.lower().endswith((".gz", ".mgz"))
    with _reading(path), path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    if packed != named:
        expected, found = ("a", "none") if named else ("no", "one")
        advice = "without .gz" if named else "with the ending .gz"
        raise ImageError(
            f"{path}: expected {expected} file compressed by gzip, as its ending says, "
            f"found {found}; rename it {advice}"
        )


def _known(path: Path, image: Any) -> Any:
    import nibabel

    # NIfTI is a kind of Analyze to nibabel.
    if not isinstance(image, nibabel.analyze.AnalyzeImage | nibabel.MGHImage):
        raise ImageError(
            f"{path}: expected NIfTI, Analyze or MGH, found {type(image).__name__}; "
            f"convert it to .nii.gz"
        )
    return image


@contextmanager
def _reading(path: Path, *also: type[Exception]) -> Iterator[None]:
    """Turn what nibabel and the decompressors raise on bad files into one line."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    bad: tuple[type[Exception], ...] = (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        OverflowError,
        zlib.error,
        ImageFileError,
        HeaderDataError,
        WrapStructError,
        *also,
    )
    try:
        yield
    except bad as error:
        reason = one_line(error, path) or type(error).__name__
        raise ImageError(
            f"{path}: expected a whole image file, found '{reason}'; copy or export "
            f"the image again"
        ) from error


def _voxel_files(path: Path) -> list[Path]:
    beside = path.with_suffix(".img")
    return [beside] if path.suffix.lower() == ".hdr" and beside.is_file() else []


def _check_size(path: Path, image: Any) -> None:
    """Refuse a header that promises more than its file can hold, unread."""
    voxels = Path(image.file_map["image"].filename)
    packed = voxels.suffix.lower() in (".gz", ".mgz")
    itemsize = int(image.get_data_dtype().itemsize)
    held = voxels.stat().st_size
    check_size(path, image.shape, itemsize, held, DEFLATE * packed)


def _check_voxel_type(path: Path, dtype: np.dtype[Any]) -> None:
    if dtype.fields is not None:
        names = ", ".join(dtype.fields)
        raise ImageError(
            f"{path}: expected one number a voxel, found colours ({names}); convert it "
            f"to a grey image"
        )
    if dtype.kind not in "biuf":
        raise ImageError(
            f"{path}: expected real numbers, found {dtype.name} voxels; save the "
            f"magnitude instead"
        )


def _affine(path: Path, image: Any) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Affine in mm (sform, else qform, else voxel sizes) and what to say about it."""
    import nibabel

    affine = np.array(image.affine, dtype=np.float64)
    if isinstance(image, nibabel.MGHImage):
        return affine, ()
    if not isinstance(image, nibabel.Nifti1Pair):
        return affine, (
            f"{path.name}: Analyze does not say left from right; the first axis is "
            f"taken to run from right to left",
        )
    header = image.header
    notes: list[str] = []
    if (_stored_voxel_sizes(image) < 0).any():
        notes.append(
            f"{path.name}: pixdim is negative, which is no voxel size; it is read as "
            f"positive, and masks are written so"
        )
    qform, sform = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]
    if qform is None and sform is None:
        notes.append(
            f"{path.name}: neither qform nor sform is set, so position and directions "
            f"are unknown; left and right may be exchanged"
        )
    if qform is not None and sform is not None and np.isfinite(sform).all():
        apart = _apart_mm(spatial_shape(image.shape), qform, sform)
        if apart > 0.25 * float(np.linalg.norm(sform[:3, :3], axis=0).min()):
            notes.append(
                f"{path.name}: qform and sform disagree by up to {apart:.3g} mm; the "
                f"sform is used"
            )
    unit = header.get_xyzt_units()[0]
    if _MM[unit] != 1.0:
        affine[:3] *= _MM[unit]
        notes.append(f"{path.name}: the header is in {unit}, converted to mm")
    return affine, tuple(notes)


def _stored_voxel_sizes(image: Any) -> NDArray[Any]:
    """Voxel sizes as the file has them; nibabel drops their signs when it loads it."""
    files = image.file_map
    with files.get("header", files["image"]).get_prepare_fileobj("rb") as stream:
        raw = type(image.header).from_fileobj(stream, check=False)
    return np.asarray(raw["pixdim"][1:4])


def _apart_mm(shape: tuple[int, ...], one: Any, other: Any) -> float:
    """Largest distance between the places that two affines give to a corner."""
    corners = np.array(list(itertools.product(*((0, size - 1) for size in shape[:3]))))
    corners = np.pad(corners, ((0, 0), (0, 4 - corners.shape[1])))
    corners[:, 3] = 1
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())


def _voxels(path: Path, image: Any, part: Any = ...) -> NDArray[Any]:
    """Read the stored values, or float32 where the header scales them."""
    proxy = image.dataobj
    with _reading(path):
        if proxy.slope == 1.0 and proxy.inter == 0.0:
            # Without scaling a part comes in the stored type.
            whole = part is ...
            stored: NDArray[Any] = np.asarray(
                proxy.get_unscaled() if whole else proxy[part]
            )
            return stored.astype(stored.dtype.newbyteorder("="), copy=False)
        with np.errstate(over="ignore"):
            scaled = np.asarray(proxy if part is ... else proxy[part], dtype=np.float32)
        return scaled.astype(np.float32, copy=False)


def _source_header(image: Path, geometry: Geometry) -> tuple[Any, Any, tuple[int, ...]]:
    """Copy of a NIfTI header with nothing in it about the intensities."""
    import nibabel

    source = _load(image)
    shape = spatial_shape(source.shape)
    several = len(shape) == 4
    shape = shape[:3] if several else shape  # volumes of one file are channels
    if shape != geometry.native_shape:
        raise ImageError(
            f"{image}: expected the shape {geometry.native_shape} that it had when it "
            f"was added, found {shape}; put the original back"
        )
    apart = _apart_mm(shape, _affine(image, source)[0], geometry.native_affine)
    if apart > GRID_TOLERANCE * min(geometry.spacing_mm):
        raise ImageError(
            f"{image}: expected the place that it had when it was added, found its "
            f"corners up to {apart:.3g} mm away; put the original back"
        )
    two = int(source.header["sizeof_hdr"]) == nibabel.Nifti2Header.sizeof_hdr
    kind = nibabel.Nifti2Header if two else nibabel.Nifti1Header
    header = kind(  # type: ignore[no-untyped-call]
        source.header.binaryblock, source.header.endianness, check=False
    )
    header["magic"] = kind.default_structarr()["magic"]
    for field in ("cal_max", "cal_min", "intent_p1", "intent_p2", "intent_p3"):
        header[field] = 0
    for field in ("intent_name", "aux_file", "descrip", "db_name", "data_type"):
        if field in header:  # the last two name patients and are not in NIfTI-2
            header[field] = b""
    header["intent_code"] = 0
    return header, source.affine, shape if several else tuple(source.shape)


def _write_mask(target: Path, mask: Mask) -> list[Path]:
    native = mask.geometry.to_native(mask.labels)
    write_nifti(target, native, mask.geometry, mask.image)
    return [target]


register(
    Format(
        "nifti",
        "NIfTI (.nii.gz)",
        suffixes=NIFTI_SUFFIXES,
        read=open_nifti,
        write=_write_mask,
        endings=NIFTI_SUFFIXES,
    )
)
register(
    Format(
        "analyze",
        "Analyze, or NIfTI in two files (.hdr, .img)",
        suffixes=(".hdr", ".img"),
        read=open_nifti,
        voxel_files=_voxel_files,
    )
)
register(Format("mgh", "MGH (.mgz)", suffixes=(".mgz", ".mgh"), read=open_nifti))
