"""Show a scan with the grey values of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTILES = 33
"""Grey values that describe how bright the parts of a scan are."""
SAMPLE = 50_000
"""Voxels from which they are counted."""
APART = np.arange(QUANTILES) * 1e-5
"""Keeps equal quantiles, as of a black background, in their order."""


def quantiles(image: NDArray[np.floating]) -> NDArray[np.float32]:
    """Describe the grey values of a scan.

    Parameters
    ----------
    image : ndarray (K, Z, Y, X)
        Normalised channels.

    Returns
    -------
    ndarray (K, QUANTILES)
        Of each channel, darkest first.
    """
    flat = image.reshape(len(image), -1)
    few = np.asarray(flat[:, :: max(1, flat.shape[1] // SAMPLE)], dtype=np.float32)
    return np.quantile(few, np.linspace(0, 1, QUANTILES), axis=1).T.astype(np.float32)


def matched(
    values: NDArray[np.float32],
    source: NDArray[np.float32],
    target: NDArray[np.float32],
    strength: float,
) -> NDArray[np.float32]:
    """Move grey values towards those of the same rank in another scan.

    Histogram matching (Gonzalez and Woods, Digital Image Processing, 3.3.2), piecewise
    linear between quantiles.

    Parameters
    ----------
    values : ndarray
        Of a crop of one channel.
    source, target : ndarray (QUANTILES,)
        Of the scan that it was cut from, and of the other one.
    strength : float
        Part of the way that they go, in [0, 1].
    """
    moved = np.interp(values, source + APART, target)
    return (values + strength * (moved - values)).astype(np.float32)
