"""Distance intervals on the working grid, computed only about what is annotated.

A few painted slices of a large scan cost what they hold, not what the scan does, and
no map of the whole scan is ever held in its own voxels.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.boxes import bounding_box
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.engine.data.distance_maps import distance_intervals
from napari_semiseg.imaging.resampling import joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.boxes import Box
    from napari_semiseg.imaging.resampling import Shape

CELL = 8
"""Edge, in voxels, of the cubes in which annotated voxels are looked for."""
SMALL = 512
"""Cells of a box that is not divided any further."""
SLAB_VOXELS = 16_000_000
"""Voxels of a scan whose maps are held at once."""


def working_distance_intervals(
    target: NDArray[np.uint8],
    classes: int,
    spacing_mm: Sequence[float],
    limit_mm: float,
    shape: Shape,
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Interpolate `distance_intervals` at the centres of working voxels.

    They are exact in working voxels that hold the centre of an annotated voxel or lie
    in one; far from these nothing is known (-1 and 1).

    Parameters
    ----------
    target : ndarray (Z, Y, X), uint8
        Class indices 0..C-1 on the case's own grid; 255 where not annotated.
    classes, spacing_mm, limit_mm
        As in `distance_intervals`.
    shape : (z, y, x)
        The working grid, over the same box of space.

    Returns
    -------
    low, high : ndarray (C, z, y, x), float16
        In [-1, 1], negative inside.
    """
    low, high = (
        np.full((classes, *shape), value, dtype=np.float16) for value in (-1, 1)
    )
    known = target != UNANNOTATED
    reach = [math.ceil(limit_mm / step) + 1 for step in spacing_mm]
    # The farthest that a voxel used for a working voxel lies from its centre.
    margin = [
        math.ceil(0.5 * own / working) + 1
        for own, working in zip(target.shape, shape, strict=True)
    ]
    for box in _pieces(known, reach):
        wide = _grown(box, margin, target.shape)
        looked = _grown(wide, reach, target.shape)
        tight = _tight(known, looked) or box
        # What is not annotated begins within one voxel around what is.
        inner = _grown(tight, [1, 1, 1], target.shape)
        needed = tuple(
            slice(min(one.start, two.start), max(one.stop, two.stop))
            for one, two in zip(wide, inner, strict=True)
        )
        within = tuple(
            slice(one.start - two.start, one.stop - two.start)
            for one, two in zip(wide, needed, strict=True)
        )
        intervals = distance_intervals(target[needed], classes, spacing_mm, limit_mm)
        for values, into in zip(intervals, (low, high), strict=True):
            for one, into_one in zip(values, into, strict=True):
                _sample(one[within], wide, target.shape, into_one)
    return low, high


def _pieces(known: NDArray[np.bool_], reach: Sequence[int]) -> Iterator[Box]:
    """Find boxes that hold all annotated voxels and little else."""
    cells = known
    for axis, size in enumerate(known.shape):
        cells = joined(cells, np.arange(0, size, CELL), axis)
    margins = [2 * cells_of / CELL for cells_of in reach]
    whole = tuple(slice(0, size) for size in cells.shape)
    for coarse in _cover(cells, whole, margins)[1]:
        fine = tuple(
            slice(edge.start * CELL, min(edge.stop * CELL, size))
            for edge, size in zip(coarse, known.shape, strict=True)
        )
        box = _tight(known, fine) or fine
        planes, plane = box[0], math.prod(edge.stop - edge.start for edge in box[1:])
        step = max(reach[0], SLAB_VOXELS // plane)
        for start in range(planes.start, planes.stop, step):
            piece = (slice(start, min(planes.stop, start + step)), *box[1:])
            if known[piece].any():
                yield piece


def _cover(
    cells: NDArray[np.bool_], box: Box, margins: Sequence[float]
) -> tuple[float, list[Box]]:
    """Find boxes about all true cells, and the volume to compute for them.

    A box is halved where its halves with their surroundings are less than it is.
    """
    found = _tight(cells, box)
    if found is None:
        return 0.0, []
    box = found
    sizes = [edge.stop - edge.start for edge in box]
    whole = math.prod(
        size + margin for size, margin in zip(sizes, margins, strict=True)
    )
    if math.prod(sizes) <= SMALL or cells[box].all():
        return whole, [box]
    axis = int(np.argmax(sizes))
    middle = box[axis].start + sizes[axis] // 2
    halves = (slice(box[axis].start, middle), slice(middle, box[axis].stop))
    parts = [
        _cover(cells, (*box[:axis], half, *box[axis + 1 :]), margins) for half in halves
    ]
    apart = sum(cost for cost, _ in parts)
    if apart >= whole:
        return whole, [box]
    return apart, list(itertools.chain(*(boxes for _, boxes in parts)))


def _tight(mask: NDArray[np.bool_], outer: Box) -> Box | None:
    """Find the smallest box of true voxels within another; None without any."""
    found = bounding_box(mask[outer])
    if found is None:
        return None
    return tuple(
        slice(edge.start + frame.start, edge.stop + frame.start)
        for edge, frame in zip(found, outer, strict=True)
    )


def _grown(box: Box, margin: Sequence[int], shape: Sequence[int]) -> Box:
    return tuple(
        slice(max(0, edge.start - more), min(size, edge.stop + more))
        for edge, more, size in zip(box, margin, shape, strict=True)
    )


def _sample(
    values: NDArray[np.float32],
    box: Box,
    shape: Sequence[int],
    into: NDArray[np.float16],
) -> None:
    """Interpolate the values of a box at the working voxels centred in it.

    Of one class: those of many at once would fill the memory.
    """
    places = []
    for axis, (edge, own) in enumerate(zip(box, shape, strict=True)):
        working = into.shape[axis]
        position = (np.arange(working) + 0.5) * (own / working) - 0.5
        position = position.clip(0, own - 1)
        below = position.astype(int)
        above = np.minimum(below + 1, own - 1)
        inside = np.flatnonzero((below >= edge.start) & (above < edge.stop))
        places.append(inside)
        share = (position - below)[inside].astype(np.float32)
        share = share.reshape(-1, *[1] * (values.ndim - 1 - axis))
        first = values.take(below[inside] - edge.start, axis)
        second = values.take(above[inside] - edge.start, axis)
        values = first + share * (second - first)
    into[np.ix_(*places)] = values
