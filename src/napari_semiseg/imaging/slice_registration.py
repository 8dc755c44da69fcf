"""Register neighbouring slices of a volume by their grey values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from napari_semiseg.core.boxes import VolumeBox

RADIUS = 7
"""Half the window in which one displacement is estimated, voxels."""
WARPS = 3
BLUR_VOXELS = 1.0
SMALLEST = 4
"""Slices with a shorter edge, in voxels, are not registered."""


class SliceRegistration:
    """Warps a map of one slice to another one along the grey values between.

    Neighbouring slices are registered by dense optical flow, and the displacements
    are chained from slice to slice: registration-based interpolation (Penney et al.,
    IEEE Trans. Med. Imaging 2004) with the iterative Lucas-Kanade flow of
    scikit-image (Le Besnerais and Champagnat, ICIP 2005).

    Parameters
    ----------
    image : ndarray (Z, Y, X)
        Grey values of any scale.
    box : tuple of slice
        The part of it to look at.

    Attributes
    ----------
    box : tuple of slice
        As given; maps have the shape of its slices.
    """

    def __init__(self, image: NDArray[Any], box: VolumeBox) -> None:
        self.box = box
        part = image[box].astype(np.float32)
        low, high = np.percentile(part, (1, 99))
        self._image = np.clip((part - low) / max(float(high - low), 1e-6), 0, 1)
        self._chains: dict[tuple[int, int, int], NDArray[np.float32]] = {}

    def warp(
        self, values: NDArray[np.float32], axis: int, start: int, end: int
    ) -> NDArray[np.float32]:
        """Warp a map of slice ``start`` to slice ``end``.

        Parameters
        ----------
        values : ndarray (H, W), float32
            A map of slice ``start`` in the box.
        axis : int
            Across which the slices lie.
        start, end : int
            Indices in the whole volume.

        Returns
        -------
        ndarray (H, W), float32
            Interpolated linearly; beyond the edge its values are repeated.
        """
        if min(values.shape) < SMALLEST:
            return values
        places = np.indices(values.shape, np.float32)
        places += self._displacement(axis, start, end)
        return _sample(values, places)

    def _displacement(self, axis: int, start: int, end: int) -> NDArray[np.float32]:
        """Displacement (2, H, W) from each voxel of ``end`` to ``start``, voxels."""
        step = 1 if end > start else -1
        shape = np.take(self._image, 0, axis).shape
        chain = np.zeros((2, *shape), np.float32)
        for index in range(start + step, end + step, step):
            known = self._chains.get((axis, start, index))
            if known is None:
                flow = self._flow(axis, index - step, index)
                places = np.indices(shape, np.float32) + flow
                known = flow + np.stack([_sample(part, places) for part in chain])
                self._chains[axis, start, index] = known
            chain = known
        return chain

    def _flow(self, axis: int, start: int, end: int) -> NDArray[np.float32]:
        from skimage.registration import optical_flow_ilk

        first = self.box[axis].start
        reference, moving = (
            ndimage.gaussian_filter(
                np.take(self._image, index - first, axis), BLUR_VOXELS
            )
            for index in (end, start)
        )
        flow = optical_flow_ilk(
            reference, moving, radius=RADIUS, num_warp=WARPS, dtype=np.float32
        )
        return np.asarray(flow, np.float32)


def _sample(
    values: NDArray[np.float32], places: NDArray[np.float32]
) -> NDArray[np.float32]:
    found = ndimage.map_coordinates(values, places, order=1, mode="nearest")
    return np.asarray(found, np.float32)
