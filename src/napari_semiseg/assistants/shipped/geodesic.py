"""Let two fronts meet that start at the marks on the structure and on background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_semiseg.assistants.prompts import crop_around
from napari_semiseg.assistants.registry import register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_semiseg.assistants.prompts import Crop, Kind, Prompt

MOST_VOXELS = 250_000
"""Of the crop in which fronts are computed."""
FAR_MM = 10.0
"""A face of the crop is background where all marks on the structure are farther."""
BINS = 64
"""Grey values that are told apart."""


@register
class Geodesic:
    """Geodesic segmentation with two fronts.

    As Bai and Sapiro (A geodesic framework for fast interactive image and video
    segmentation and matting, ICCV 2007): each mark sends out a front that is slow where
    the likelihood of the structure's grey values changes, and a voxel belongs to the
    side whose front comes first. Besides, a front is slow at edges of the image, and
    where grey values speak for the other side. Fronts are computed by fast marching
    in mm (Sethian, PNAS 1996), in a crop around the marks, whose faces count as
    background where they are those of a box or far from the structure's marks.
    """

    name = "geodesic"
    title = "Follow edges"
    hint = "Strokes inside and around the structure, on a few slices of any plane."
    takes: frozenset[Kind] = frozenset({"point", "scribble", "box"})
    needs_background = True

    def propose(
        self,
        image: NDArray[Any],
        spacing_mm: tuple[float, ...],
        prompts: Sequence[Prompt],
        current: NDArray[Any],
    ) -> NDArray[np.bool_]:
        """Mask where the front of the structure comes first."""
        crop = crop_around(image, spacing_mm, prompts, MOST_VOXELS)
        foreground = crop.foreground
        if not foreground.any():  # a box alone: its middle is inside
            foreground = foreground.copy()
            middle = (slice(2 * n // 5, 3 * n // 5 + 1) for n in foreground.shape)
            foreground[tuple(middle)] = True
        far_mm = 0.0 if any(one.kind == "box" for one in prompts) else FAR_MM
        background = crop.background | _faces(foreground, crop.spacing_mm, far_mm)
        inside, edges = _likelihood(crop, foreground, background)
        first = _arrival(edges + 0.05 * (1 - inside), foreground, crop.spacing_mm)
        other = _arrival(edges + 0.05 * inside, background, crop.spacing_mm)
        return crop.enlarged(other - first)


def _faces(
    seeds: NDArray[np.bool_], spacing_mm: Sequence[float], far_mm: float
) -> NDArray[np.bool_]:
    """Faces of the crop that lie farther than that from all seeds."""
    result = np.zeros(seeds.shape, bool)
    for axis, mm in enumerate(spacing_mm):
        last, places = seeds.shape[axis] - 1, np.nonzero(seeds)[axis]
        for face, distance in ((0, places.min()), (last, last - places.max())):
            if distance * mm > far_mm:
                result[(slice(None),) * axis + (face,)] = True
    return result


def _likelihood(
    crop: Crop, foreground: NDArray[np.bool_], background: NDArray[np.bool_]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Probability of the structure by its grey value, and slowness at edges."""
    sigma = min(crop.spacing_mm) / np.asarray(crop.spacing_mm)
    smooth = ndimage.gaussian_filter(crop.image, sigma)
    low, high = np.percentile(smooth, (0.5, 99.5))
    bins = np.clip((smooth - low) / max(high - low, 1e-6), 0, 1) * (BINS - 1)
    bins = bins.astype(np.intp)
    density = []
    for side in (foreground, background):
        counts = np.bincount(bins[side], minlength=BINS) / max(side.sum(), 1)
        density.append(ndimage.gaussian_filter1d(counts, 3.0) + 1e-3 / BINS)
    inside = (density[0] / (density[0] + density[1]))[bins]
    gradient = ndimage.gaussian_gradient_magnitude(crop.image, sigma)
    gradient /= max(float(np.percentile(gradient, 95)), 1e-6)
    change = ndimage.gaussian_gradient_magnitude(inside, sigma)
    edges = 0.02 + change + 0.1 * gradient
    return ndimage.gaussian_filter(inside, sigma), edges


def _arrival(
    slowness: NDArray[np.floating],
    seeds: NDArray[np.bool_],
    spacing_mm: Sequence[float],
) -> NDArray[np.float32]:
    """Time at which a front from the seeds arrives."""
    import SimpleITK as sitk

    speed = sitk.GetImageFromArray((1 / slowness).astype(np.float32))
    speed.SetSpacing(tuple(spacing_mm[::-1]))
    march = sitk.FastMarchingImageFilter()
    march.SetTrialPoints([tuple(map(int, at[::-1])) for at in np.argwhere(seeds)])
    time: NDArray[np.float32] = sitk.GetArrayFromImage(march.Execute(speed))
    time[seeds] = 0
    return time
