"""Facts of a cohort that decide a plan."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import ndimage

from napari_semiseg.core.labels import UNANNOTATED, is_class
from napari_semiseg.core.plan import Intensity
from napari_semiseg.errors import SemisegError
from napari_semiseg.imaging.morphology import is_one_piece
from napari_semiseg.project.cases.channels import same_channels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.project.cases.case import Case

SAMPLE = 6
"""Cases whose voxels are read."""
SLICES = 16
"""Annotated slices of a case that are looked at in each direction."""
LEAST_WHOLE, MOST_WHOLE = 4, 8
"""Wholly annotated cases that can tell whether a structure is one piece, and how many
are read at most."""

LEAST_RANGE_HU = 20.0
"""Grey values of CT that are told apart at least, where objects have one alone, as
metal has that is as bright as a scan can hold."""

Spacing = tuple[float, float, float]


class Truth(NamedTuple):
    """A mask without unannotated voxels.

    Attributes
    ----------
    mask : ndarray (Z, Y, X), uint8
        All of a case, or its annotated slices, one behind the other.
    spacing_mm : (z, y, x)
        Voxel size of the case.
    across : int, optional
        Axis along which they are single slices.
    """

    mask: NDArray[np.uint8]
    spacing_mm: Spacing
    across: int | None = None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Facts of a cohort that decide a plan."""

    spacing_mm: Spacing
    shape_zyx: tuple[int, int, int]
    channels: tuple[str, ...]
    intensities: tuple[Intensity, ...]
    truths: tuple[Truth, ...]


def fingerprint(cases: Sequence[Case], labelled: Sequence[Case]) -> Fingerprint:
    """Measure spacing and shape of all cases, intensities and masks of a few.

    Those whose label or images cannot be read are passed over.

    Raises
    ------
    SemisegError
        All of them are such.
    """
    spacing = np.median([case.geometry.spacing_mm for case in cases], axis=0)
    extent = np.median(
        [
            np.multiply(case.geometry.shape_zyx, case.geometry.spacing_mm)
            for case in cases
        ],
        axis=0,
    )
    shape = np.maximum(1, np.round(extent / spacing)).astype(int)
    channels = labelled[0].channel_names
    seen = [_Values() for _ in channels]
    whole: list[Truth] = []
    slices: list[Truth] = []
    problem: SemisegError | None = None
    alike = [case for case in labelled if same_channels(case.channel_names, channels)]
    for case in alike[:SAMPLE]:
        try:
            mask, images = case.read_label(), case.read_images()
        except SemisegError as error:  # preparing it says why it is left out
            problem = error
            continue
        if mask is None:
            continue
        inside = is_class(mask)
        for values, image in zip(seen, images, strict=True):
            values.note(image.data, inside)
        if (mask == UNANNOTATED).any():
            slices += _annotated_slices(mask, case.geometry.spacing_mm)
        else:
            whole.append(Truth(mask, case.geometry.spacing_mm))
    if problem is not None and not (whole or slices):
        raise problem
    return Fingerprint(
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        shape_zyx=(int(shape[0]), int(shape[1]), int(shape[2])),
        channels=channels,
        intensities=tuple(values.intensity() for values in seen),
        truths=tuple(whole[:3] or slices),
    )


def single_pieces(labelled: Sequence[Case]) -> tuple[tuple[int, ...], int]:
    """Find the classes that are one piece in every wholly annotated case.

    Isensee et al. (nnU-Net, Nat. Methods 2021) keep the largest piece where that
    raises a score of cross-validation; a few labels leave no scans for one.

    Returns
    -------
    tuple
        Their values; none where there are fewer than `LEAST_WHOLE` cases that show
        them. And the number of cases.
    """
    whole = 0
    shown: Counter[int] = Counter()
    pieces: Counter[int] = Counter()
    for case in labelled[:: math.ceil(len(labelled) / MOST_WHOLE) or 1]:
        try:
            mask = case.read_label()
        except SemisegError:  # preparing it says why it is left out
            continue
        if mask is None or (mask == UNANNOTATED).any():
            continue
        whole += 1
        for value, box in enumerate(ndimage.find_objects(mask), start=1):
            if box is not None:
                shown[value] += 1
                pieces[value] += is_one_piece(mask[box] == value)
    return tuple(
        value
        for value, count in sorted(shown.items())
        if pieces[value] == count >= LEAST_WHOLE
    ), whole


def _annotated_slices(mask: NDArray[np.uint8], spacing_mm: Spacing) -> Iterator[Truth]:
    """Find fully annotated slices that show a structure, along each axis."""
    for axis in range(3):
        highest = mask.max(axis=tuple({0, 1, 2} - {axis}))
        (done,) = np.nonzero(is_class(highest))
        few = done[:: max(1, math.ceil(done.size / SLICES))]
        if few.size:
            yield Truth(mask.take(few, axis), spacing_mm, across=axis)


class _Values:
    """Grey values of one channel: how low they go, and those of the objects."""

    def __init__(self) -> None:
        self._lowest: list[float] = []
        self._objects: list[NDArray[Any]] = []

    def note(self, image: NDArray[Any], inside: NDArray[np.bool_]) -> None:
        """Sample an image (Z, Y, X) in its objects."""
        self._lowest.append(float(np.percentile(image, 0.5)))
        values = image[inside]
        if values.size:
            self._objects.append(values[:: max(1, values.size // 20_000)])

    def intensity(self) -> Intensity:
        """Take CT's fixed scale where every image holds air (about -1000 HU)."""
        if not self._objects or max(self._lowest) >= -500:
            return Intensity(kind="central", cut=(0.5, 99.5), mean_std=(0.0, 1.0))
        values = np.concatenate(self._objects).astype(np.float64)
        low, high = np.percentile(values, [0.5, 99.5])
        more = max(0.0, LEAST_RANGE_HU - (high - low)) / 2
        low, high = low - more, high + more
        clipped = np.clip(values, low, high)
        moments = (float(clipped.mean()), float(max(clipped.std(), 1.0)))
        return Intensity(kind="ct", cut=(float(low), float(high)), mean_std=moments)
