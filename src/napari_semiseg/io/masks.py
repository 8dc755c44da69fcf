"""Masks and maps that lie exactly on the grid of their image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_semiseg.core.cancellation import NEVER, CancellationToken
from napari_semiseg.core.geometry import Geometry
from napari_semiseg.core.prediction import map_dtype
from napari_semiseg.errors import ImageError
from napari_semiseg.io import nifti
from napari_semiseg.io.images import open_source
from napari_semiseg.io.registry import Mask, mask_writer


def read_labels(path: Path, geometry: Geometry) -> NDArray[np.uint8]:
    """Read a mask of the image that lies on ``geometry``.

    Returns
    -------
    labels : ndarray (Z, Y, X), uint8

    Raises
    ------
    ImageError
        The file cannot be read, lies on another grid, or holds values that are not
        whole numbers from 0 to 255.
    """
    source = open_source(path)
    grid = _matched(path, geometry, source.geometry)
    labels = _as_labels(source.read(), str(path))
    return np.ascontiguousarray(grid.to_canonical(labels))


def resample_labels(
    path: Path, geometry: Geometry, fill: int
) -> tuple[NDArray[np.uint8], bool]:
    """Read a mask of the same patient that may lie on another grid.

    Parameters
    ----------
    path : Path
    geometry : Geometry
        The grid to bring it to, each voxel taking the value of the nearest one.
    fill : int
        Value of voxels that the mask does not reach.

    Returns
    -------
    labels : ndarray (Z, Y, X), uint8
    moved : bool
        Whether it lay on another grid.

    Raises
    ------
    ImageError
        The file cannot be read, or holds no whole numbers from 0 to 255.
    """
    from scipy import ndimage

    source = open_source(path)
    if _differs(geometry, source.geometry)[1] is None:
        return read_labels(path, geometry), False
    labels = source.geometry.to_canonical(_as_labels(source.read(), str(path)))
    matrix = np.linalg.inv(source.geometry.affine) @ geometry.affine
    moved: NDArray[np.uint8] = ndimage.affine_transform(
        labels,
        matrix[:3, :3],
        matrix[:3, 3],
        geometry.shape_zyx,
        order=0,
        mode="grid-constant",
        cval=fill,
    )
    return moved, True


def write_labels(
    target: Path, labels_zyx: NDArray[Any], geometry: Geometry, image: Path
) -> None:
    """Write a mask onto the grid of its image, atomically, as uint8.

    Parameters
    ----------
    target : Path
        Ends in ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``. NIfTI masks of NIfTI
        images carry a copy of the image's header.
    labels_zyx : ndarray (Z, Y, X)
        Whole numbers from 0 to 255.
    geometry : Geometry
        The grid of ``image``.
    image : Path
        The image that the mask belongs to.

    Raises
    ------
    ImageError
        The mask does not fit, or ``image`` has changed.
    """
    labels = checked_labels(labels_zyx, geometry, str(target))
    write = mask_writer(target).write
    assert write is not None
    write(target, Mask(labels, geometry, image))


def write_map(
    target: Path,
    values: NDArray[Any],
    geometry: Geometry,
    image: Path,
    *,
    slope: float,
    dtype: DTypeLike,
    cancellation: CancellationToken = NEVER,
) -> None:
    """Write real values as scaled whole numbers on the grid of their image.

    Parameters
    ----------
    target : Path
        Ends in ``.nii.gz`` or ``.nii``.
    values : ndarray (Z, Y, X) or (K, Z, Y, X)
        K volumes lie along a fourth axis of the file. Values beyond the range of
        ``dtype`` times ``slope`` are clipped.
    geometry : Geometry
        The grid of ``image``.
    image : Path
        The image that the map belongs to.
    slope : float
        Step between two values that can be told apart, in the unit of ``values``.
    dtype : dtype
        Integer type to store.
    cancellation : CancellationToken, optional
        Checked every moment; once cancelled, the target is left as it was.

    Raises
    ------
    ImageError
        The map does not fit, or ``image`` has changed.
    """
    _check_shape(values.shape[-3:], geometry, str(target))
    volumes = values if values.ndim == 4 else values[np.newaxis]
    native = np.empty((*geometry.native_shape, len(volumes)), dtype, order="F")
    limits = np.iinfo(native.dtype)
    for index, volume in enumerate(volumes):
        into = geometry.to_canonical(native[..., index])
        # Plane by plane: the maps of a large scan fill the memory once already.
        for plane, written in zip(volume, into, strict=True):
            cancellation.check()
            if not np.isfinite(plane).all():
                raise ValueError(f"{target}: a map must be finite")
            steps = np.rint(plane / np.float32(slope))
            written[:] = np.clip(steps, limits.min, limits.max)
    stored = native if values.ndim == 4 else native[..., 0]
    nifti.write_nifti(
        target, stored, geometry, image, slope=slope, cancellation=cancellation
    )


def read_map(path: Path, geometry: Geometry) -> NDArray[np.floating]:
    """Read what `write_map` wrote.

    Returns
    -------
    values : ndarray (Z, Y, X) or (K, Z, Y, X)
        float32, or float16 for large volumes; see `core.prediction.map_dtype`.

    Raises
    ------
    ImageError
        The file cannot be read or lies on another grid.
    """
    native, slope, found = nifti.read_stored(path)
    grid = _matched(path, geometry, found)
    volumes = native if native.ndim == 4 else native[..., np.newaxis]
    count = volumes.shape[-1]
    values = np.empty((count, *geometry.shape_zyx), map_dtype(geometry.shape_zyx))
    for index in range(count):
        stored = grid.to_canonical(volumes[..., index])
        for plane, into in zip(stored, values[index], strict=True):
            into[:] = plane * np.float32(slope)
    return values if native.ndim == 4 else values[0]


def _matched(path: Path, expected: Geometry, found: Geometry) -> Geometry:
    """Give the grid of a mask with its axes ordered as the image's are."""
    grid, difference = _differs(expected, found)
    if difference is not None:
        raise ImageError(
            f"{path}: expected a mask on the image's grid, found {difference}; "
            f"resample it to the image with nearest neighbours (semiseg label has "
            f"--resample nearest)"
        )
    return grid


def _differs(expected: Geometry, found: Geometry) -> tuple[Geometry, str | None]:
    """Order the axes of a grid as the image's are, and say how it differs."""
    grid = Geometry.from_native(found.native_shape, found.native_affine, expected)
    return grid, expected.difference(grid)


def checked_labels(
    values: NDArray[Any], geometry: Geometry, source: str
) -> NDArray[np.uint8]:
    """Values (Z, Y, X) as uint8; another shape and other values are refused.

    Raises
    ------
    ImageError
        Names the ``source``.
    """
    _check_shape(values.shape, geometry, source)
    return _as_labels(values, source)


def _check_shape(shape: tuple[int, ...], geometry: Geometry, source: str) -> None:
    if shape != geometry.shape_zyx:
        raise ImageError(
            f"{source}: expected shape (z, y, x) {geometry.shape_zyx}, found {shape}; "
            f"give the mask of this image"
        )


def _as_labels(values: NDArray[Any], source: str) -> NDArray[np.uint8]:
    """Values as uint8, refused where that would change them."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype.kind not in "iuf":
        raise ImageError(
            f"{source}: expected whole numbers from 0 to 255, found {values.dtype}; "
            "save labels as uint8"
        )
    low, high = values.min(), values.max()
    whole = values
    if values.dtype.kind == "f":
        whole = np.rint(values)
        # Scaled files give 2.0000002 for 2.
        wrong = ~(np.abs(values - whole) <= 1e-3)
        if wrong.any():
            raise ImageError(
                f"{source}: expected whole numbers from 0 to 255, found "
                f"{values[wrong][0]:.6g}; save labels instead of probabilities"
            )
    if whole.min() < 0 or whole.max() > 255:
        raise ImageError(
            f"{source}: expected whole numbers from 0 to 255, found {low:g} to "
            f"{high:g}; give the classes smaller values"
        )
    return whole.astype(np.uint8)
