"""Volumes of a left atrium's size on a working grid, without any file."""

from __future__ import annotations

import numpy as np
import torch

from napari_semiseg.core.plan import Intensity, Plan
from napari_semiseg.engine.data.cache import Prepared
from napari_semiseg.engine.data.distance_maps import distance_intervals
from napari_semiseg.engine.networks.registry import halve
from napari_semiseg.engine.planning.plan import LEARNING_RATES, choose_patch

SHAPE = (48, 80, 96)
SPACING_MM = 1.25


def volume(seed: int, shape: tuple[int, int, int] = SHAPE) -> Prepared:
    """A bright ellipsoid on noise, with its label and distances."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    axes = rng.uniform(0.35, 0.6, 3)
    inside = sum((g / a) ** 2 for g, a in zip(grid, axes, strict=True)) < 1
    image = rng.normal(0, 1, shape) + 1.5 * inside
    target = inside.astype(np.uint8)
    low, _ = distance_intervals(target, 2, (SPACING_MM,) * 3, 10 * SPACING_MM)
    half = low.astype(np.float16)
    grey = image.astype(np.float16)[np.newaxis]
    return Prepared(f"volume{seed}", {"image": grey, "target": target, "low": half})


def plan(precision: str, *, unlabelled: int = 0) -> Plan:
    """A training of whole volumes on this machine's processor."""
    patch, spacing = choose_patch(SHAPE, 400_000), (SPACING_MM,) * 3
    return Plan(
        spacing_mm=spacing,
        patch_zyx=patch,
        strides=halve(patch, spacing),
        width=16,
        labelled_batch=2,
        unlabelled_batch=unlabelled,
        sdm_limit_mm=10 * SPACING_MM,
        channels=("image",),
        intensities=(Intensity(kind="zscore", cut=(0.5, 99.5), mean_std=(0.0, 1.0)),),
        device="cpu",
        precision=precision,
        threads=torch.get_num_threads(),
        optimiser="muon",
        learning_rate=LEARNING_RATES["muon"],
        steps=100,
        validate_every=1000,
        reasons={},
    )
