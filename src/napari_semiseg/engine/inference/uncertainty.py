"""Numbers that rank volumes and slices for review."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from scipy import ndimage

from napari_semiseg.core.boxes import bounding_box, others
from napari_semiseg.core.prediction import (
    CaseScore,
    ClassScore,
    SliceScore,
    map_dtype,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.geometry import Geometry

SHELL_VOXELS = 3
"""Thickness of the shell on either side, in the smallest edge of a voxel."""
THICK = 3.0
"""How many times as long as wide a pixel may be for its slice to be looked at."""
SLAB = 32
"""Planes that are looked at at once."""
SLICES_PER_PLANE = 8
SLICES_PER_CLASS = 4
UNDECIDED = 0.5
"""Doubt from which a voxel far from any predicted surface counts too."""
DIGITS = 4
"""Of a feature: what JSON holds of it."""
DISAGREE = "segmentation and distance disagree"


@dataclass(frozen=True, slots=True, eq=False)
class UncertaintyMaps:
    """Classes and uncertainty of a prediction on the working grid, to be scored.

    Attributes
    ----------
    indices : ndarray (Z, Y, X), uint8
        Predicted class of each voxel.
    entropy, gap : ndarray (Z, Y, X), float32, or float16 for large volumes
        As in `predictor.Maps`.
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
        """Room for the maps of a volume, to be filled."""
        kept = map_dtype(shape)
        entropy, gap = np.empty((2, *shape), kept)
        return cls(np.empty(shape, np.uint8), entropy, gap, kind)


def score_case(
    maps: UncertaintyMaps,
    geometry: Geometry,
    volumes_ml: dict[str, float],
    features: Iterable[float] = (),
    reach: tuple[tuple[int, int], ...] | None = None,
) -> CaseScore:
    """Score a prediction.

    ``volumes_ml`` was counted on the case's own grid, per class in their order;
    ``features`` are `EmbeddingAccumulator.mean`; ``reach`` is the `extent` there.

    The case's scores are the Dice that it would lose if doubt were the chance of an
    error (`expected_loss`), within what was predicted, a shell about its surface, and
    what is undecided elsewhere. The shell is as thick in mm along every axis: thick
    slices are not reached across. Those of
    slices are sums over the shell, and over what is undecided elsewhere, divided by
    the largest slice of the shell: within a plane they rank as the doubt in a slice
    does, and neither a large field of view nor small voxels change them. Planes across
    thick slices, whose pixels are long, have none.
    """
    shape = geometry.shape_zyx
    spacing = [
        step * size / working
        for step, size, working in zip(
            geometry.spacing_mm, shape, maps.indices.shape, strict=True
        )
    ]
    shell = surface_shell(maps.indices, spacing)
    inside = maps.indices > 0
    entropy, gap = (
        expected_loss(values, inside, shell) for values in (maps.entropy, maps.gap)
    )
    doubt = maps.entropy if maps.kind == "entropy" else maps.gap
    return CaseScore(
        uncertainty=entropy if maps.kind == "entropy" else gap,
        entropy=entropy,
        gap=gap,
        volumes_ml=volumes_ml,
        slices=_worst(doubt, shell, geometry, _reasons(maps, shell)),
        gap_slices=_worst(maps.gap, shell, geometry, lambda axis, index: DISAGREE),
        classes=_classes(maps, shell, spacing, geometry, list(volumes_ml)),
        features=tuple(float(f"{value:.{DIGITS}g}") for value in features),
        reach=reach,
    )


def extent(labels: NDArray[np.uint8]) -> tuple[tuple[int, int], ...]:
    """First and last voxel of all structures along each axis; empty without any."""
    box = bounding_box(labels > 0)
    return () if box is None else tuple((at.start, at.stop - 1) for at in box)


def _classes(
    maps: UncertaintyMaps,
    shell: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    geometry: Geometry,
    names: list[str],
) -> dict[str, ClassScore]:
    """Doubt of every structure that was predicted."""
    found = {}
    for index, name in enumerate(names, start=1):
        inside = maps.indices == index
        if not inside.any():
            continue
        own = shell if len(names) == 1 else surface_shell(inside, spacing_mm)
        words = f"{name} uncertain"
        found[name] = ClassScore(
            entropy=expected_loss(maps.entropy, inside, own),
            slices=_worst(
                maps.entropy,
                own,
                geometry,
                lambda axis, index, words=words: words,  # type: ignore[misc]
                SLICES_PER_CLASS,
            ),
        )
    return found


def expected_loss(
    doubt: NDArray[np.floating], inside: NDArray[np.bool_], shell: NDArray[np.bool_]
) -> float:
    """Dice that a structure would lose if doubt were the chance of an error.

    1 - 2 TP / (2 TP + FP + FN), where what is inside and not doubted is right. It
    weighs doubt against the size of what was found: a mean over the surface is low
    for a piece of a structure with sharp edges, where most is missing.
    """
    near = inside | shell | (doubt >= UNDECIDED)
    wrong = doubt.sum(where=near, dtype=np.float64)
    right = np.count_nonzero(inside) - doubt.sum(where=inside, dtype=np.float64)
    return float(wrong / (2.0 * right + wrong)) if wrong > 0 else 0.0


def _mean(values: NDArray[np.floating]) -> float:
    return float(values.mean(dtype=np.float32))


def surface_shell(
    indices: NDArray[np.integer | np.bool_], spacing_mm: Sequence[float] = (1, 1, 1)
) -> NDArray[np.bool_]:
    """Voxels near a predicted surface; all where there is none.

    Those within `SHELL_VOXELS` of the smallest edge of a voxel, the way being measured
    along the axes, in mm. So thick slices have shells in their planes alone.
    """
    reach = (SHELL_VOXELS - 0.5) * min(spacing_mm)
    steps = [int(reach / step) for step in spacing_mm]
    changed = np.zeros(indices.shape, dtype=bool)
    for axis in np.flatnonzero(steps):
        step = np.diff(indices, axis=axis) != 0
        before = [slice(None)] * 3
        after = [slice(None)] * 3
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        changed[tuple(before)] |= step
        changed[tuple(after)] |= step
    if not changed.any():
        return np.ones(indices.shape, dtype=bool)
    offsets = np.meshgrid(*(np.arange(-n, n + 1) for n in steps), indexing="ij")
    near = np.tensordot(spacing_mm, np.abs(offsets), 1) <= reach
    margin = steps[0]
    shell = np.empty_like(changed)
    # In slabs: scipy keeps a list of all voxels that it has reached.
    for start in range(0, len(changed), SLAB):
        low, stop = max(0, start - margin), start + SLAB
        grown = ndimage.binary_dilation(changed[low : stop + margin], near)
        shell[start:stop] = grown[start - low :][:SLAB]
    return shell


def _worst(
    doubt: NDArray[np.floating],
    shell: NDArray[np.bool_],
    geometry: Geometry,
    reason: Callable[[int, int], str],
    most: int = SLICES_PER_PLANE,
) -> tuple[SliceScore, ...]:
    """Most doubtful slices of each plane, worst first, on the case's own grid."""
    region = shell | (doubt >= UNDECIDED)
    found: list[SliceScore] = []
    for axis, size in enumerate(geometry.shape_zyx):
        across = others(axis)
        edges = [geometry.spacing_mm[other] for other in across]
        if max(edges) > THICK * min(edges):
            continue
        profile = doubt.sum(axis=across, where=region, dtype=np.float32)
        profile /= shell.sum(axis=across).max()
        places = ((np.arange(profile.size) + 0.5) * size / profile.size).astype(int)
        seen: set[int] = set()
        for index in np.argsort(-profile, kind="stable"):
            own = int(places[index])
            if profile[index] <= 0 or len(seen) == most:
                break
            if own in seen:  # one slice may be several planes of the working grid
                continue
            seen.add(own)
            score = min(1.0, float(profile[index]))
            why = reason(axis, int(index))
            found.append(SliceScore(axis=axis, index=own, score=score, reason=why))
    return tuple(found)


def _reasons(
    maps: UncertaintyMaps, shell: NDArray[np.bool_]
) -> Callable[[int, int], str]:
    """Say why a slice is doubtful: mask and distance disagree, for their entropy."""

    def split(at: tuple[Any, ...]) -> float:
        near = shell[at]
        if not near.any():
            return 0.0
        return _mean(maps.gap[at][near] / (maps.entropy[at][near] + np.float32(0.05)))

    usual = split(())

    def reason(axis: int, index: int) -> str:
        at = (*(slice(None),) * axis, index)
        return DISAGREE if split(at) > 1.5 * usual else "boundary uncertain"

    return reason
