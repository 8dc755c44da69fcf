"""Interpolate a mask between annotated slices by signed distance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.boxes import VolumeBox, bounding_box
from napari_semiseg.core.labels import UNANNOTATED, is_class, voxel_counts
from napari_semiseg.imaging.distance import signed_distance
from napari_semiseg.imaging.slice_registration import SliceRegistration

BLEND_MM = 5.0
"""Distance from an annotated slice at which the prediction outweighs its shape."""
MARGIN_VOXELS = 10
"""Around the outlines, since the anatomy may shift between them."""


def interpolate_slices(
    labels: NDArray[np.uint8],
    planes: Mapping[int, Sequence[int]],
    spacing_mm: Sequence[float],
    *,
    sdm_mm: Mapping[int, NDArray[np.float32]] | None = None,
    blend_mm: float = BLEND_MM,
    image: NDArray[Any] | None = None,
) -> NDArray[np.uint8]:
    """Fill what is not annotated between annotated slices.

    Between two neighbouring slices of one axis, the signed distances of each class
    within them are blended linearly (shape-based interpolation: Raya and Udupa,
    IEEE Trans. Med. Imaging 1990). A class that ends in one of them tapers off.
    Where slices of several axes surround a voxel, the nearer ones count more, by the
    inverse of their distance. A voxel goes to the class it is deepest in.

    Parameters
    ----------
    labels : ndarray (Z, Y, X), uint8
        Annotated voxels, which stay as they are, and 255 elsewhere.
    planes : mapping
        Axis to indices of the annotated slices to start from; unannotated voxels
        of these count as background.
    spacing_mm : (z, y, x)
        Voxel size.
    sdm_mm : mapping, optional
        Per class value the predicted signed distance (Z, Y, X), mm, negative
        inside. With it, the result turns from the annotated shapes to the prediction
        with growing distance from the annotated slices.
    blend_mm : float
        Distance at which both count the same.
    image : ndarray (Z, Y, X), optional
        Grey values. With them, each outline is warped from slice to slice with the
        anatomy (`SliceRegistration`) before it is blended with that of the other side.

    Returns
    -------
    ndarray (Z, Y, X), uint8
        A new array; still 255 outside the stacks of annotated slices.
    """
    stacks = {
        axis: sorted(unique)
        for axis in range(3)
        if len(unique := set(planes.get(axis, ()))) > 1
    }
    result = labels.copy()
    if not stacks:
        return result
    between = np.zeros(labels.shape, bool)
    for axis, indices in stacks.items():
        between[(slice(None),) * axis + (slice(indices[0], indices[-1] + 1),)] = True
    between &= labels == UNANNOTATED
    result[between] = 0
    depth = np.zeros(labels.shape, np.float32)
    registration = None
    if image is not None:
        around = _box(is_class(labels), None, stacks, MARGIN_VOXELS)
        registration = None if around is None else SliceRegistration(image, around)
    present = np.flatnonzero(voxel_counts(labels)).tolist()
    for value in sorted({*present, *(sdm_mm or {})} - {0, UNANNOTATED}):
        inside = labels == value
        predicted = None if sdm_mm is None else sdm_mm.get(value)
        box = registration.box if registration else _box(inside, predicted, stacks)
        if box is None or not (inside.any() or predicted is not None):
            continue
        distance = _blend(
            inside, box, stacks, spacing_mm, predicted, blend_mm, registration
        )
        deeper = (distance < depth[box]) & between[box]
        result[box][deeper] = value
        depth[box][deeper] = distance[deeper]
    return result


def _blend(
    inside: NDArray[np.bool_],
    box: VolumeBox,
    stacks: Mapping[int, Sequence[int]],
    spacing_mm: Sequence[float],
    predicted: NDArray[np.float32] | None,
    blend_mm: float,
    registration: SliceRegistration | None,
) -> NDArray[np.float32]:
    """Signed distance of one class in a box; infinite where nothing reaches."""
    shape = tuple(edge.stop - edge.start for edge in box)
    total, weights = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    nearest = np.full(shape, np.inf, np.float32)
    for axis, indices in stacks.items():
        step = spacing_mm[axis]
        for index, distance, near in _stack(
            inside, box, axis, indices, spacing_mm, registration
        ):
            here = (slice(None),) * axis + (index - box[axis].start,)
            weight = 1 / (near * step)
            total[here] += weight * distance
            weights[here] += weight
            nearest[here] = np.minimum(nearest[here], near * step)
    covered = weights > 0
    shaped = np.full(shape, np.inf, np.float32)
    np.divide(total, weights, out=shaped, where=covered)
    if predicted is None:
        return shaped
    trust = np.zeros(shape, np.float32)
    trust[covered] = nearest[covered] / (nearest[covered] + max(blend_mm, 1e-6))
    # A shape that is nowhere near has no finite distance to blend with.
    limit = np.float32(2 * blend_mm)
    bounded = np.clip(shaped, -limit, limit)
    blended = (1 - trust) * bounded + trust * np.clip(predicted[box], -limit, limit)
    return np.where(covered, blended, np.inf).astype(np.float32)


def _stack(
    inside: NDArray[np.bool_],
    box: VolumeBox,
    axis: int,
    indices: Sequence[int],
    spacing_mm: Sequence[float],
    registration: SliceRegistration | None,
) -> Iterator[tuple[int, NDArray[np.float32], int]]:
    """Index, signed distance and slices to the nearest given one, between them."""
    flat = [edge for at, edge in enumerate(box) if at != axis]
    sizes = [size for at, size in enumerate(spacing_mm) if at != axis]

    def given(index: int) -> NDArray[np.float32]:
        return signed_distance(np.take(inside, index, axis)[tuple(flat)], sizes)

    upper = given(indices[0])
    for low, high in pairwise(indices):
        lower, upper = upper, given(high)
        if high - low < 2:
            continue
        first, last = _tapered(lower, upper), _tapered(upper, lower)
        for index in range(max(low + 1, box[axis].start), min(high, box[axis].stop)):
            part = (index - low) / (high - low)
            one, other = first, last
            if registration is not None:
                one = registration.warp(first, axis, low, index)
                other = registration.warp(last, axis, high, index)
            blended = ((1 - part) * one + part * other).astype(np.float32)
            yield index, blended, min(index - low, high - index)


def _tapered(
    distance: NDArray[np.float32], other: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Replace the infinite distances of a slice that is empty or full.

    An empty slice lies as far outside as the other one reaches inside, so that the
    structure ends halfway between them.
    """
    if np.isfinite(distance).all():
        return distance
    finite = np.isfinite(other).all()
    if distance.flat[0] > 0:
        reach = -float(other.min()) if finite else 1.0
        return np.full_like(distance, max(reach, 1e-3))
    reach = float(other.max()) if finite else 1.0
    return np.full_like(distance, -max(reach, 1e-3))


def _box(
    inside: NDArray[np.bool_],
    predicted: NDArray[np.float32] | None,
    stacks: Mapping[int, Sequence[int]],
    margin: int = 1,
) -> VolumeBox | None:
    """Bounding box of where a class can be after interpolation, plus a margin."""
    where = inside if predicted is None else inside | (predicted < 0)
    box = bounding_box(where, (margin, margin, margin))
    if box is None:
        return None
    edges = list(box)
    for axis, indices in stacks.items():
        low, high = edges[axis].start, edges[axis].stop
        edges[axis] = slice(min(low, indices[0]), max(high, indices[-1] + 1))
    return (edges[0], edges[1], edges[2])
