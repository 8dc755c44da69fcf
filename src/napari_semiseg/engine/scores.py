"""Numbers that rank volumes and slices for review."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from scipy import ndimage

from napari_semiseg.core.prediction import CaseScore, SliceScore, map_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_semiseg.core.geometry import Geometry

SHELL_VOXELS = 3
SLICES_PER_PLANE = 8
PLANES = ("axial", "coronal", "sagittal")


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the scores of a case are made of, on the working grid.

    Attributes
    ----------
    indices : ndarray (Z, Y, X), uint8
        Predicted class of each voxel.
    entropy, gap : ndarray (Z, Y, X), float32, or float16 for large volumes
        As in `infer.Maps`.
    kind : {"entropy", "gap"}
        Which of the two is stored as the case's uncertainty.
    """

    indices: NDArray[np.uint8]
    entropy: NDArray[np.floating]
    gap: NDArray[np.floating]
    kind: Literal["entropy", "gap"]

    @classmethod
    def empty(
        cls, shape: tuple[int, int, int], kind: Literal["entropy", "gap"]
    ) -> Self:
        """Room for the evidence of a volume, to be filled."""
        kept = map_dtype(shape)
        entropy, gap = np.empty((2, *shape), kept)
        return cls(np.empty(shape, np.uint8), entropy, gap, kind)


def score_case(
    said: Evidence, geometry: Geometry, volumes_ml: dict[str, float]
) -> CaseScore:
    """Score a prediction; ``volumes_ml`` was counted on the case's own grid.

    The case's scores are means over a shell about the predicted surface, so that a
    large field of view does not dilute them; slices are scored by the mean over the
    whole slice, which ranks them as the sum does.
    """
    shell = surface_shell(said.indices)
    entropy, gap = (_mean(values[shell]) for values in (said.entropy, said.gap))
    doubt = said.entropy if said.kind == "entropy" else said.gap
    split = (said.gap / (said.entropy + np.float32(0.05))).astype(said.gap.dtype)
    return CaseScore(
        uncertainty=entropy if said.kind == "entropy" else gap,
        entropy=entropy,
        gap=gap,
        volumes_ml=volumes_ml,
        slices=tuple(
            score
            for axis in range(3)
            for score in _slices(doubt, split, axis, geometry.shape_zyx[axis])
        ),
    )


def _mean(values: NDArray[np.floating]) -> float:
    return float(values.mean(dtype=np.float32))


def surface_shell(indices: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Voxels within `SHELL_VOXELS` of a predicted surface; all where there is none."""
    changed = np.zeros(indices.shape, dtype=bool)
    for axis in range(3):
        step = np.diff(indices, axis=axis) != 0
        before = [slice(None)] * 3
        after = [slice(None)] * 3
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        changed[tuple(before)] |= step
        changed[tuple(after)] |= step
    if not changed.any():
        return np.ones(indices.shape, dtype=bool)
    grown = ndimage.binary_dilation(changed, iterations=SHELL_VOXELS - 1)
    return np.asarray(grown, dtype=bool)


def _slices(
    doubt: NDArray[np.floating], split: NDArray[np.floating], axis: int, size: int
) -> list[SliceScore]:
    """Most doubtful slices of a plane, worst first, as indices of the case's grid.

    ``split`` is how much segmentation and distance disagree for their entropy.
    """
    across = tuple(other for other in range(3) if other != axis)
    profile, disagreement = (
        values.mean(axis=across, dtype=np.float32) for values in (doubt, split)
    )
    usual = float(disagreement.mean())
    found: list[SliceScore] = []
    for index in np.argsort(profile)[::-1]:
        if len(found) == SLICES_PER_PLANE or profile[index] <= 0:
            break
        own = int((index + 0.5) * size / len(profile))
        disagrees = disagreement[index] > 1.5 * usual
        found.append(
            SliceScore(
                axis=axis,
                index=min(own, size - 1),
                score=float(profile[index]),
                reason="segmentation and distance disagree"
                if disagrees
                else "boundary uncertain",
            )
        )
    return found
