"""Map voxels to the patient's space and to the axis order of their file."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.errors import ImageError

CANONICAL = ("S", "P", "L")
"""Directions in which the canonical axes (z, y, x) grow."""

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
"""From the world of NIfTI to that of DICOM and ITK (Left, Posterior), and back."""

GRID_TOLERANCE = 0.05
"""How far, in voxels, the corners of one grid lie apart where programs round them."""

Triple = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """A voxel grid in patient space, and the axis order of the file it came from.

    Arrays of the package are canonical: indexed (z, y, x), growing to Superior,
    Posterior and Left. Going to and from the file's own order is a permutation and
    flips, so that no voxel is ever resampled.

    Attributes
    ----------
    shape_zyx : tuple of int
        Size of the canonical array.
    affine : ndarray (4, 4), float64
        (z, y, x, 1) to RAS+ millimetres, the world of NIfTI.
    axes : tuple of int
        The file's axis that lies under each canonical axis.
    flips : tuple of bool
        Whether that axis is stored the other way round.
    """

    shape_zyx: Triple
    affine: NDArray[np.float64]
    axes: Triple = (2, 1, 0)
    flips: tuple[bool, bool, bool] = (False, False, False)

    @classmethod
    def from_native(
        cls,
        shape: Sequence[int],
        affine: NDArray[Any],
        like: Geometry | None = None,
    ) -> Self:
        """Geometry of a file's own grid.

        Parameters
        ----------
        shape : sequence of 3 int
            Array shape in the file's axis order (i, j, k).
        affine : ndarray (4, 4)
            (i, j, k, 1) to RAS+ millimetres.
        like : Geometry, optional
            Order the axes as this grid does. Without it they are ordered by the
            direction that each is nearest to, which near 45 degrees rounding decides:
            give it to compare a mask with its image.

        Raises
        ------
        ImageError
            The affine is not finite or has a collapsed axis.
        """
        from nibabel import orientations

        matrix = np.asarray(affine, dtype=np.float64)
        if len(shape) != 3:
            raise ImageError(f"expected a 3D volume, found shape {tuple(shape)}")
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        finite = np.isfinite(matrix).all()
        if not finite or abs(np.linalg.det(matrix[:3, :3])) <= 1e-6 * lengths.prod():
            raise ImageError(
                "expected an affine that spans three directions of space, found one "
                "that does not"
            )
        if like is None:
            turn = orientations.ornt_transform(
                orientations.io_orientation(matrix),
                orientations.axcodes2ornt(CANONICAL),
            )
        else:
            turn = orientations.io_orientation(np.linalg.inv(like.affine) @ matrix)
        z, y, x = (int(axis) for axis in np.argsort(turn[:, 0]))
        flipped = turn[:, 1] < 0
        return cls(
            shape_zyx=(int(shape[z]), int(shape[y]), int(shape[x])),
            affine=matrix @ orientations.inv_ornt_aff(turn, shape),
            axes=(z, y, x),
            flips=(bool(flipped[z]), bool(flipped[y]), bool(flipped[x])),
        )

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along (z, y, x), in mm."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def slice_axis(self) -> int:
        """Axis across which the slices have the finest pixels."""
        return int(np.argmax(self.spacing_mm))

    @property
    def corners(self) -> NDArray[np.float64]:
        """Places (8, 3) of the corner voxels in RAS mm."""
        ends = itertools.product(*((0, size - 1) for size in self.shape_zyx), (1,))
        return (np.array(list(ends), np.float64) @ self.affine.T)[:, :3]

    @property
    def native_shape(self) -> Triple:
        """Array shape in the file's axis order."""
        shape = [0, 0, 0]
        for size, axis in zip(self.shape_zyx, self.axes, strict=True):
            shape[axis] = size
        return shape[0], shape[1], shape[2]

    @property
    def native_affine(self) -> NDArray[np.float64]:
        """(i, j, k, 1) of the file's own order to RAS+ mm."""
        from nibabel.orientations import inv_ornt_aff

        turn = np.column_stack([self.axes, np.where(self.flips, -1, 1)])
        native: NDArray[np.float64] = self.affine @ inv_ornt_aff(turn, self.shape_zyx)
        return native

    def to_canonical(self, native: NDArray[Any]) -> NDArray[Any]:
        """View a file-order array (i, j, k) as (z, y, x)."""
        flipped = tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)
        return native.transpose(self.axes)[flipped]

    def to_native(self, canonical: NDArray[Any]) -> NDArray[Any]:
        """View a canonical array (z, y, x) in the file's axis order (i, j, k)."""
        flipped = tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)
        inverse = np.argsort(self.axes)
        return canonical[flipped].transpose(tuple(int(axis) for axis in inverse))

    def difference(
        self, other: Geometry, tolerance_mm: float | None = None
    ) -> str | None:
        """Say in words how another grid differs; None when the voxels coincide.

        Both are compared in canonical order, so that two files that store the same
        grid in different axis orders agree. Corners may be ``tolerance_mm`` apart, by
        default `GRID_TOLERANCE` voxels.
        """
        if self.shape_zyx != other.shape_zyx:
            return f"shape (z, y, x) {other.shape_zyx} instead of {self.shape_zyx}"
        apart = np.abs(self.corners - other.corners).max()
        if tolerance_mm is None:
            tolerance_mm = GRID_TOLERANCE * min(self.spacing_mm)
        if apart > tolerance_mm:
            return f"corners lie up to {apart:.3g} mm apart"
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            "shape_zyx": list(self.shape_zyx),
            "affine": self.affine.tolist(),
            "axes": list(self.axes),
            "flips": list(self.flips),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Inverse of `to_json`."""
        try:
            z, y, x = values["shape_zyx"]
            i, j, k = values["axes"]
            a, b, c = values["flips"]
            made = cls(
                shape_zyx=(int(z), int(y), int(x)),
                affine=np.array(values["affine"], dtype=np.float64).reshape(4, 4),
                axes=(int(i), int(j), int(k)),
                flips=(bool(a), bool(b), bool(c)),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ImageError(
                f"expected shape_zyx, affine, axes and flips of a grid, found "
                f"{error!r}; restore the file"
            ) from error
        sound = np.isfinite(made.affine).all() and np.linalg.det(made.affine) != 0
        if sorted(made.axes) != [0, 1, 2] or min(made.shape_zyx) < 1 or not sound:
            raise ImageError(
                f"expected the grid of a volume, found shape {made.shape_zyx}, axes "
                f"{made.axes} and affine {made.affine.tolist()}; restore the file"
            )
        return made
