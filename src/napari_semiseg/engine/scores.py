"""Numbers that rank volumes and slices for review."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_semiseg.core.prediction import CaseScore, SliceScore

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.engine.infer import Maps

SHELL_VOXELS = 3
SLICES_PER_PLANE = 8
PLANES = ("axial", "coronal", "sagittal")


def score_case(
    maps: Maps, doubt: Tensor, geometry: Geometry, volumes_ml: dict[str, float]
) -> CaseScore:
    """Score a prediction from its maps on the working grid.

    ``doubt`` is the map (1, Z, Y, X) that is stored as the case's uncertainty;
    ``volumes_ml`` was counted on the case's own grid.

    The case's scores are means over a shell about the predicted surface, so that a
    large field of view does not dilute them; slices are scored by the mean over the
    whole slice, which ranks them as the sum does.
    """
    indices = maps.probabilities.argmax(dim=0).numpy()
    shell = surface_shell(indices)
    uncertainty = doubt[0].numpy()
    entropy = maps.entropy[0].numpy()
    gap = maps.gap[0].numpy()
    split: NDArray[np.float32] = (gap / (entropy + 0.05)).astype(np.float32)
    return CaseScore(
        uncertainty=float(uncertainty[shell].mean()),
        entropy=float(entropy[shell].mean()),
        gap=float(gap[shell].mean()),
        volumes_ml=volumes_ml,
        slices=tuple(
            score
            for axis in range(3)
            for score in _slices(uncertainty, split, axis, geometry.shape_zyx[axis])
        ),
    )


def surface_shell(indices: NDArray[np.int64]) -> NDArray[np.bool_]:
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
    doubt: NDArray[np.float32], split: NDArray[np.float32], axis: int, size: int
) -> list[SliceScore]:
    """Most doubtful slices of a plane, worst first, as indices of the case's grid.

    ``split`` is how much segmentation and distance disagree for their entropy.
    """
    across = tuple(other for other in range(3) if other != axis)
    profile, disagreement = doubt.mean(axis=across), split.mean(axis=across)
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
