"""Grow the structure from marks on it through similar grey values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_semiseg.assistants.prompts import crop_around
from napari_semiseg.assistants.registry import register
from napari_semiseg.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_semiseg.assistants.prompts import Kind, Prompt

MOST_VOXELS = 4_000_000
"""Of the crop in which it grows."""
DEVIATIONS = (2.5, 2.0, 1.5, 1.0)
"""How far grey values may be from their mean, over their standard deviation."""
ROUNDS = 4
"""How often mean and deviation are measured again."""


@register
class Grow:
    """Confidence-connected region growing, as ITK has it, for organs in CT.

    It takes the widest range of grey values at which the region stays off the marks on
    background, and closes its holes.
    """

    name = "grow"
    title = "Grow through similar grey"
    hint = "A point or stroke inside an evenly grey structure; a box bounds it."
    takes: frozenset[Kind] = frozenset({"point", "scribble", "box"})
    needs_background = False

    def propose(
        self,
        image: NDArray[Any],
        spacing_mm: tuple[float, ...],
        prompts: Sequence[Prompt],
        current: NDArray[Any],
    ) -> NDArray[np.bool_]:
        """Mask of what is connected with the marks."""
        import SimpleITK as sitk

        crop = crop_around(image, spacing_mm, prompts, MOST_VOXELS)
        if not crop.foreground.any():
            raise ImageError(
                "expected a point or stroke inside the structure, found none in the "
                "box; mark some of its inside"
            )
        places, values = np.argwhere(crop.foreground), crop.image[crop.foreground]
        # ITK widens the range to the grey values of all seeds: take the common ones.
        apart = np.abs(values - np.median(values))
        common = apart <= max(float(0.5 * values.std()), float(apart.min()))
        seeds = [tuple(map(int, at[::-1])) for at in places[common]]
        grey = sitk.GetImageFromArray(crop.image)
        for deviations in DEVIATIONS:
            found = sitk.ConfidenceConnected(
                grey, seeds, ROUNDS, deviations, initialNeighborhoodRadius=1
            )
            region = sitk.GetArrayFromImage(found) > 0
            if not (region & crop.background).any():
                break
        region = ndimage.binary_fill_holes(region | crop.foreground)
        score = np.where(region & ~crop.background, 1, -1)
        return crop.enlarged(score.astype(np.float32))
