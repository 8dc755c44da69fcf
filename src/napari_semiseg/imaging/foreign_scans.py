"""Say how far prediction should adapt to a scan that looks unlike those of training.

Measured on four sets: most familiar scans are less than 0.1 apart, and adapting to them
costs 0.003 to 0.007 Dice; hearts that the network does not find are 0.15 to 0.22 apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.imaging.sliding_window import GridSampler, padded

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

FAMILIAR, FOREIGN = 0.08, 0.16
"""How far apart scans are up to which nothing is adapted, and from which on all is."""
SETTLED = 0.25
"""How far apart scans with labels may be: statistics that fit these no better, after
very few steps, tell nothing of a scan, and adapting to it does harm."""
OWN = 0.5
"""Part that a scan's own statistics then have, as one of two crops in training has."""
WINDOWS = 8
"""Windows that are looked at, or fewer."""


def own_share(apart: float) -> float:
    """Choose the part that a scan's own statistics have in its prediction.

    Parameters
    ----------
    apart : float
        Mean distance of the means of its maps from those of training, in standard
        deviations.
    """
    share = (apart - FAMILIAR) / (FOREIGN - FAMILIAR)
    return OWN * min(1.0, max(0.0, share))


def is_settled(familiar: float | None) -> bool:
    """Whether scans with labels are near enough to tell others from them.

    Parameters
    ----------
    familiar : float, optional
        How far apart they are on average; None where it was not measured.
    """
    return familiar is not None and familiar <= SETTLED


def windows_to_look_at(
    image: NDArray[np.float32], patch: Sequence[int]
) -> list[NDArray[np.float32]]:
    """Choose windows (K, z, y, x) all over a volume (K, Z, Y, X)."""
    larger, _ = padded(image, patch)
    boxes = list(GridSampler(larger.shape[-3:], patch, step=1.0))
    chosen = boxes[:: -(-len(boxes) // WINDOWS)]
    return [larger[(slice(None), *box)] for box in chosen]
