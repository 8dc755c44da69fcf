"""Offer customary ranges of grey values for CT and for other images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

AIR_HU = -500.0
"""Only CT has values below: lung and the air around the patient."""
LOWEST_HU, HIGHEST_HU = -4096.0, 32768.0
SAMPLES = 4e6


@dataclass(frozen=True, slots=True)
class Window:
    """A range of grey values under a name.

    Attributes
    ----------
    name : str
        For the user.
    level, width : float
        Middle and width: HU, or percentiles of the image's own values.
    percent : bool
        Whether they are percentiles.
    """

    name: str
    level: float
    width: float
    percent: bool = False

    def limits(self, image: NDArray[Any]) -> tuple[float, float]:
        """Lowest and highest grey value shown, of an image of any shape.

        Large volumes are sampled on a coarse grid.
        """
        low, high = self.level - self.width / 2, self.level + self.width / 2
        if self.percent:
            low, high = (float(v) for v in np.percentile(_sampled(image), (low, high)))
        return (low, high) if high > low else (low, low + 1)


AUTOMATIC = Window("Automatic", 50, 99, percent=True)
FULL = Window("Full range", 50, 100, percent=True)
CT = (
    AUTOMATIC,
    Window("Soft tissue", 40, 400),
    Window("Lung", -600, 1500),
    Window("Bone", 400, 1800),
    Window("Brain", 40, 80),
    Window("Liver", 60, 160),
    Window("Vessels", 300, 600),
    FULL,
)
"""Customary windows in HU."""
PERCENTILES = (
    AUTOMATIC,
    Window("More contrast, 2\u201398 %", 50, 96, percent=True),
    Window("Most contrast, 5\u201395 %", 50, 90, percent=True),
    Window("Dark tissue, 1\u201375 %", 38, 74, percent=True),
    Window("Bright tissue, 50\u201399.9 %", 74.95, 49.9, percent=True),
    FULL,
)
"""For MR and other images whose values have no unit."""


def is_ct(image: NDArray[Any]) -> bool:
    """Whether the grey values can be Hounsfield units.

    At least 1 % of the voxels are darker than `AIR_HU`, and none is outside of what
    scanners write.
    """
    values = _sampled(image)
    low, dark, high = np.percentile(values, (0, 1, 100))
    return bool(low >= LOWEST_HU and dark < AIR_HU and high <= HIGHEST_HU)


def windows_for(image: NDArray[Any]) -> tuple[Window, ...]:
    """Windows to choose from for an image."""
    return CT if is_ct(image) else PERCENTILES


def _sampled(image: NDArray[Any]) -> NDArray[Any]:
    step = max(1, round((image.size / SAMPLES) ** (1 / 3)))
    return image[(slice(None, None, step),) * image.ndim]
