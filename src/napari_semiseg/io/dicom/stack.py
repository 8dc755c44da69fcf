"""Parallel slices, as DICOM describes each, put together to one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.geometry import RAS_TO_LPS, Geometry
from napari_semiseg.errors import ImageError
from napari_semiseg.io.source import SHEAR, checked_geometry

ROUNDING = 1e-4
"""Largest relative difference of numbers that programs write with fewer digits."""

UNEVEN = 0.01
"""Largest deviation of a slice distance, relative to their median."""


@dataclass(frozen=True, slots=True, eq=False)
class DicomSlice:
    """Where one slice lies.

    Attributes
    ----------
    size : tuple of int
        Columns and rows.
    spacing : tuple of float
        Distance of columns and of rows, mm.
    origin : ndarray (3,)
        Centre of the first voxel, LPS mm.
    direction : ndarray (3, 3)
        Directions of columns, rows and of the normal, as columns, LPS.
    """

    size: tuple[int, int]
    spacing: tuple[float, float]
    origin: NDArray[np.float64]
    direction: NDArray[np.float64]

    @classmethod
    def from_tags(
        cls, size: tuple[int, int], spacing: Any, position: Any, orientation: Any
    ) -> Self:
        """Read what Image Plane tags say (DICOM PS3.3 C.7.6.2)."""
        along, down = np.reshape(np.array(orientation, float), (2, 3))
        return cls(
            size=size,
            spacing=(float(spacing[1]), float(spacing[0])),
            origin=np.array(position, float),
            direction=np.stack([along, down, np.cross(along, down)], axis=1),
        )


def stacked(path: Path, slices: Sequence[DicomSlice]) -> tuple[Geometry, list[int]]:
    """Grid of slices, and the order in which they lie in it.

    Parameters
    ----------
    path : Path
        For the message.
    slices : sequence of DicomSlice
        In any order.

    Raises
    ------
    ImageError
        They are not one stack at right angles and even distances.
    """
    _check_alike(path, slices)
    if len(slices) < 2:
        raise ImageError(
            f"{path}: expected a DICOM series of at least 2 slices, found 1; give "
            f"the whole series"
        )
    first = slices[0]
    origins = np.stack([item.origin for item in slices])
    normal = first.direction[:, 2]
    heights = origins @ normal
    order = np.argsort(heights, kind="stable")
    _check_gaps(path, np.diff(heights[order]))
    along = origins[order[-1]] - origins[order[0]]
    tilt = np.degrees(np.arccos(np.clip(along @ normal / np.linalg.norm(along), -1, 1)))
    if np.sin(np.radians(tilt)) > SHEAR:
        raise ImageError(
            f"{path}: expected DICOM slices straight above each other, found a "
            f"gantry tilt of {tilt:.1f} degrees; resample the series without tilt"
        )
    affine = np.eye(4)
    affine[:3, 0] = RAS_TO_LPS @ first.direction[:, 0] * first.spacing[0]
    affine[:3, 1] = RAS_TO_LPS @ first.direction[:, 1] * first.spacing[1]
    affine[:3, 2] = RAS_TO_LPS @ along / (len(slices) - 1)
    affine[:3, 3] = RAS_TO_LPS @ origins[order[0]]
    return checked_geometry(path, (*first.size, len(slices)), affine), order.tolist()


def _check_gaps(path: Path, gaps: NDArray[np.float64]) -> None:
    step = float(np.median(gaps))
    if gaps.min() < 1e-3:
        raise ImageError(
            f"{path}: expected each DICOM slice at a place of its own, found several "
            f"{gaps.min():.3g} mm apart (time points or echoes?); keep one of them"
        )
    if np.abs(gaps - step).max() > max(UNEVEN * step, 1e-3):
        raise ImageError(
            f"{path}: expected DICOM slices at even distances, found "
            f"{gaps.min():.3f} to {gaps.max():.3f} mm; add the missing slices or "
            f"resample the series"
        )


def _check_alike(path: Path, slices: Sequence[DicomSlice]) -> None:
    """Refuse slices that cannot be one stack."""
    first = slices[0]
    sizes = {(*item.size, *item.spacing) for item in slices}
    rows = np.array(sorted(sizes))
    if not np.allclose(rows, rows[0], rtol=ROUNDING):
        listed = ", ".join(str(size) for size in sorted(sizes)[:4])
        raise ImageError(
            f"{path}: expected DICOM slices of one size, found (columns, rows, mm, "
            f"mm) {listed}; remove those that do not belong"
        )
    if any(np.abs(item.direction - first.direction).max() > 1e-3 for item in slices):
        raise ImageError(
            f"{path}: expected parallel DICOM slices, found several directions (a "
            f"localiser?); remove those that do not belong"
        )
