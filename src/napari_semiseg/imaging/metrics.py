"""How well a mask agrees with a reference: overlap, surface distance, volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from napari_semiseg.core.labels import BACKGROUND, UNANNOTATED, LabelScheme
from napari_semiseg.errors import ImageError

if TYPE_CHECKING:
    from napari_semiseg.core.boxes import Box
    from napari_semiseg.core.geometry import Geometry

NEAR_VOXELS = 10
"""How far a k-d tree is searched for all voxels of a surface."""

FEW_VOXELS = 2000
"""For how many voxels of a surface it is searched to the end."""


class Metrics(BaseModel):
    """Agreement of one class in one case.

    Surface voxels are foreground voxels with a face neighbour outside the mask or
    outside the volume. Distances go from the centre of each surface voxel of one mask
    to the nearest of the other, in both directions.

    Attributes
    ----------
    dice, jaccard : float
        Overlap in [0, 1]; 1 where both masks are empty.
    hd95_mm, hd95_voxel : float
        95th percentile of the distances of both directions pooled, as `hd95` of MedPy
        (https://loli.github.io/medpy/), with which the published tables of the field
        are made. Toolkits that take the larger of the two directed percentiles
        (MONAI) give other numbers.
    assd_mm, asd_voxel : float
        Mean of the distances of both directions pooled, as `assd` of MedPy since 0.5;
        before, it was the mean of the two directed means. (Published columns named
        ASD are mostly MedPy's `asd`, from prediction to reference only.)
    volume_ml, reference_ml : float
        Volume of the class in the mask and in the reference, millilitres.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dice: float
    jaccard: float
    hd95_mm: float
    assd_mm: float
    hd95_voxel: float
    asd_voxel: float
    volume_ml: float
    reference_ml: float


class Overlap(BaseModel):
    """What a person left of a mask: quick to compute, without distances.

    Attributes
    ----------
    dice : dict of str to float
        Per class, in [0, 1]; 1 for a class that is in neither mask.
    changed_voxels : int
        Voxels of another class than before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dice: dict[str, float]
    changed_voxels: int

    @property
    def mean_dice(self) -> float:
        """Mean over the classes."""
        return float(np.mean(list(self.dice.values())))


def overlap(
    before: NDArray[np.uint8], after: NDArray[np.uint8], labels: LabelScheme
) -> Overlap:
    """Compare a mask with what a person made of it.

    Parameters
    ----------
    before, after : ndarray (Z, Y, X), uint8
        Values of ``labels``. Voxels that are 255 (not annotated) in ``after`` do not
        count.
    """
    pairs = np.zeros(1 << 16, np.int64)
    for one, other in zip(before, after, strict=True):  # a slice needs little memory
        joined = (one.astype(np.intp) << 8) + other
        pairs += np.bincount(joined.ravel(), minlength=pairs.size)
    table = pairs.reshape(256, 256)
    table[:, UNANNOTATED] = 0
    rows, columns, common = table.sum(axis=1), table.sum(axis=0), table.diagonal()
    dice = {}
    for item in labels:
        total = int(rows[item.value] + columns[item.value])
        dice[item.name] = float(2 * common[item.value] / total) if total else 1.0
    return Overlap(dice=dice, changed_voxels=int(table.sum() - common.sum()))


def evaluate_labels(
    prediction: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    geometry: Geometry,
    labels: LabelScheme,
) -> dict[str, Metrics]:
    """Compare a mask with a reference, class by class.

    Voxels that are 255 (not annotated) in the reference count in neither mask. Where
    just one of the two masks is empty, Dice is 0 and the distances are the diagonal
    of the volume; where both are, Dice is 1 and the distances are 0.

    Parameters
    ----------
    prediction, reference : ndarray (Z, Y, X), uint8
        Values of ``labels``.
    geometry : Geometry
        The grid of both.

    Returns
    -------
    dict
        Metrics by class name.

    Raises
    ------
    ImageError
        An array does not have the shape of the grid.
    """
    for name, array in (("prediction", prediction), ("reference", reference)):
        if array.shape != geometry.shape_zyx:
            raise ImageError(
                f"expected a {name} of shape (z, y, x) {geometry.shape_zyx}, found "
                f"{array.shape}; compare masks of the same image"
            )
    unknown = reference == UNANNOTATED
    if unknown.any():
        prediction = np.where(unknown, np.uint8(BACKGROUND), prediction)
        reference = np.where(unknown, np.uint8(BACKGROUND), reference)
    boxes, reference_boxes = _boxes(prediction), _boxes(reference)
    return {
        item.name: _evaluate(
            _Mask(prediction, item.value, boxes.get(item.value)),
            _Mask(reference, item.value, reference_boxes.get(item.value)),
            geometry,
        )
        for item in labels
    }


def _boxes(labels: NDArray[np.uint8]) -> dict[int, Box]:
    """Bounding box of each value that occurs."""
    from scipy import ndimage

    found = ndimage.find_objects(labels)
    return {value: box for value, box in enumerate(found, start=1) if box is not None}


class _Mask:
    """One class of a label volume, seen through its bounding box."""

    def __init__(self, labels: NDArray[np.uint8], value: int, box: Box | None) -> None:
        self._labels, self._value = labels, value
        self._box = box or (slice(0, 0),) * 3
        self.voxels = int(np.count_nonzero(self._within(self._box)))

    def _within(self, box: Box) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = self._labels[box] == self._value
        return inside

    def surface(self) -> NDArray[np.intp]:
        """Give the indices (N, 3) of the surface voxels."""
        from scipy import ndimage

        mask = self._within(self._box)
        # Beyond its bounding box there is none of the mask: the default border of 0.
        inside = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 1))
        start = np.array([side.start for side in self._box], dtype=np.intp)
        return np.argwhere(mask & ~inside) + start

    def common(self, other: _Mask) -> int:
        """Count the voxels that are in both masks."""
        both = self._within(self._box) & other._within(self._box)
        return int(np.count_nonzero(both))


def _evaluate(mask: _Mask, reference: _Mask, geometry: Geometry) -> Metrics:
    spacing = np.array(geometry.spacing_mm)
    shape = np.array(geometry.shape_zyx)
    common = 0
    if mask.voxels and reference.voxels:
        common = mask.common(reference)
        surfaces = mask.surface(), reference.surface()
        hd95_voxel, asd_voxel = _distances(*surfaces, np.ones(3))
        hd95_mm, assd_mm = _distances(*surfaces, spacing)
    elif mask.voxels or reference.voxels:
        hd95_voxel = asd_voxel = float(np.linalg.norm(shape))
        hd95_mm = assd_mm = float(np.linalg.norm(shape * spacing))
    else:
        hd95_voxel = asd_voxel = hd95_mm = assd_mm = 0.0
    total = mask.voxels + reference.voxels
    return Metrics(
        dice=2 * common / total if total else 1.0,
        jaccard=common / (total - common) if total else 1.0,
        hd95_mm=hd95_mm,
        assd_mm=assd_mm,
        hd95_voxel=hd95_voxel,
        asd_voxel=asd_voxel,
        volume_ml=mask.voxels * geometry.voxel_ml,
        reference_ml=reference.voxels * geometry.voxel_ml,
    )


def _distances(
    one: NDArray[np.intp], other: NDArray[np.intp], spacing: NDArray[np.float64]
) -> tuple[float, float]:
    """HD95 and ASSD between surface voxels (N, 3), in the unit of ``spacing``."""
    pooled = np.concatenate(
        [_nearest(one, other, spacing), _nearest(other, one, spacing)]
    )
    return float(np.percentile(pooled, 95)), float(pooled.mean())


def _nearest(
    points: NDArray[np.intp], others: NDArray[np.intp], spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance from each voxel (N, 3) to the nearest of ``others``.

    A k-d tree is many times faster than a distance transform where surfaces lie near
    each other, and far slower where all of one is far from the other.
    """
    from scipy import ndimage
    from scipy.spatial import cKDTree

    tree = cKDTree(others * spacing)
    bound = NEAR_VOXELS * float(spacing.max())
    found = np.array(tree.query(points * spacing, distance_upper_bound=bound)[0])
    far = ~np.isfinite(found)
    if np.count_nonzero(far) <= FEW_VOXELS:
        if far.any():
            found[far] = tree.query(points[far] * spacing)[0]
        return found
    start = np.minimum(points.min(axis=0), others.min(axis=0))
    stop = np.maximum(points.max(axis=0), others.max(axis=0)) + 1
    away = np.ones(stop - start, dtype=bool)
    away[tuple((others - start).T)] = False
    field = ndimage.distance_transform_edt(away, sampling=spacing)
    distances: NDArray[np.float64] = field[tuple((points - start).T)]
    return distances
