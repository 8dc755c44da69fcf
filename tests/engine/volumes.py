"""Synthetic volumes with two classes, prepared for the sampler."""

from __future__ import annotations

import numpy as np

from napari_semiseg.engine.data.cache import Prepared
from napari_semiseg.engine.data.distance_maps import distance_intervals

SHAPE = (24, 24, 24)
LIMIT_MM = 6.0


def two_balls(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright and a dark ball on noise: image and class indices."""
    rng = np.random.default_rng(seed)
    position = np.indices(SHAPE).astype(float)
    target = np.zeros(SHAPE, np.uint8)
    for index, first in ((1, 6.0), (2, 17.0)):
        centre = np.array([first, 12.0, 12.0]) + rng.uniform(-1.5, 1.5, 3)
        distance = np.linalg.norm(position - centre[:, None, None, None], axis=0)
        target[distance < rng.uniform(4.0, 5.0)] = index
    image = np.choose(target, (0.0, 2.0, -2.0)) + rng.normal(0, 0.4, SHAPE)
    return image.astype(np.float32), target


def prepared(seed: int, *, labelled: bool = True, known: slice | None = None):
    image, target = two_balls(seed)
    half = image.astype(np.float16)[np.newaxis]
    if not labelled:
        return Prepared(f"case{seed}", {"image": half})
    if known is not None:
        kept = target[known].copy()
        target[:] = 255
        target[known] = kept
    low, high = distance_intervals(target, 3, (1.0, 1.0, 1.0), LIMIT_MM)
    low16 = low.astype(np.float16)
    arrays = {"image": half, "target": target, "low": low16}
    if known is not None:
        arrays["high"] = high.astype(np.float16)
    return Prepared(f"case{seed}", arrays)
