"""Tiny nets and synthetic volumes for the engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_semiseg.core.config import Plan
from napari_semiseg.engine.method import Task
from napari_semiseg.engine.prepare import Prepared
from napari_semiseg.engine.sdm import distance_bounds

SHAPE = (24, 24, 24)
LIMIT_MM = 6.0


@pytest.fixture(autouse=True)
def _threads():
    torch.set_num_threads(2)


@pytest.fixture
def plan() -> Plan:
    return Plan(
        spacing_mm=(1.0, 1.0, 1.0),
        patch_zyx=(16, 16, 16),
        strides=((2, 2, 2), (2, 2, 2)),
        width=4,
        labelled_batch=2,
        unlabelled_batch=2,
        sdm_limit_mm=LIMIT_MM,
        intensity="zscore",
        intensity_range=(0.5, 99.5),
        intensity_mean_std=(0.0, 1.0),
        device="cpu",
        precision="fp32",
        threads=2,
        learning_rate=0.1,
        steps=12,
        validate_every=100,
        reasons={},
    )


@pytest.fixture
def task(plan: Plan) -> Task:
    return Task(
        classes=3,
        steepness=2 * plan.sdm_limit_mm,
        width=plan.width,
        strides=plan.strides,
    )


def two_balls(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright and a brighter ball on noise: image and class indices."""
    rng = np.random.default_rng(seed)
    position = np.indices(SHAPE).astype(float)
    target = np.zeros(SHAPE, np.uint8)
    for index, first in ((1, 6.0), (2, 17.0)):
        centre = np.array([first, 12.0, 12.0]) + rng.uniform(-1.5, 1.5, 3)
        distance = np.linalg.norm(position - centre[:, None, None, None], axis=0)
        target[distance < rng.uniform(4.0, 5.0)] = index
    image = target * 1.5 + rng.normal(0, 0.4, SHAPE)
    return image.astype(np.float32), target


def prepared(seed: int, *, labelled: bool = True, known: slice | None = None):
    image, target = two_balls(seed)
    half = image.astype(np.float16)
    if not labelled:
        return Prepared(f"case{seed}", half)
    if known is not None:
        kept = target[known].copy()
        target[:] = 255
        target[known] = kept
    low, high = distance_bounds(target, 3, (1.0, 1.0, 1.0), LIMIT_MM)
    low16 = low.astype(np.float16)
    high16 = low16 if known is None else high.astype(np.float16)
    return Prepared(f"case{seed}", half, target, low16, high16)
