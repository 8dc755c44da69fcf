from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.config import Intensity, TrainingConfig
from napari_semiseg.engine import plan as planning
from napari_semiseg.engine.plan import Fingerprint


def facts(shape=(88, 142, 190), spacing=(0.625, 0.625, 0.625), radius=20.0):
    grid = np.indices((88, 88, 88)) - 44.0
    mask = (np.linalg.norm(grid, axis=0) < radius).astype(np.uint8)
    grey = Intensity(kind="zscore", cut=(0.5, 99.5), mean_std=(0.0, 1.0))
    return Fingerprint(spacing, shape, (), (grey,), (mask,), ((0.625,) * 3,))


def test_working_grid_is_as_coarse_as_the_budget_needs():
    spacing, _ = planning.choose_spacing(facts(), 10_000_000)
    assert spacing == (0.625, 0.625, 0.625)
    spacing, reason = planning.choose_spacing(facts(), 300_000)
    assert spacing == (1.25, 1.25, 1.25)
    assert "survive" in reason


def test_small_structures_keep_the_grid_fine():
    spacing, reason = planning.choose_spacing(facts(radius=3.0), 10_000)
    assert spacing[0] < 1.25
    assert "blur" in reason


def test_anisotropic_scans_lose_their_fine_axes_first():
    spacing, _ = planning.choose_spacing(
        facts((40, 300, 300), (5.0, 1.0, 1.0)), 1_000_000
    )
    assert spacing[0] == 5.0
    assert spacing[1] == spacing[2] > 1.0


@pytest.mark.parametrize(
    "shape", [(44, 71, 95), (36, 51, 35), (600, 512, 512), (12, 256, 256), (9, 9, 9)]
)
def test_patch_fits_the_network(shape):
    patch, strides = planning.choose_patch(shape, 110_000)
    assert np.prod(patch) <= 110_000 * 1.5
    assert 1 <= len(strides) <= 4
    for axis in range(3):
        product = int(np.prod([stride[axis] for stride in strides]))
        assert patch[axis] % product == 0
        assert patch[axis] // product >= 4


def test_patch_holds_a_volume_that_is_small_enough():
    patch, _ = planning.choose_patch((36, 51, 35), 110_000)
    assert patch == (40, 56, 40)


def test_minutes_and_speed_decide_voxels_then_crop(plan):
    """Two minutes a hundredfold slower: coarser voxels; and smaller crops at last."""
    config = TrainingConfig(minutes=20)
    quick = planning.with_grid(plan, config, facts(), 2e-6)
    slow = planning.with_grid(plan, config, facts(), 6e-6)
    assert max(quick.spacing_mm) < max(slow.spacing_mm)
    for made, pace in ((quick, 2e-6), (slow, 6e-6)):
        voxels = np.prod(made.patch_zyx)
        assert voxels * pace * planning.STEPS < 1.3 * 20 * 60
        assert made.sdm_limit_mm == planning.LIMIT_VOXELS * min(made.spacing_mm)
    crawling = planning.with_grid(plan, config, facts(), 1e-3)
    assert np.prod(crawling.patch_zyx) < 1.3 * planning.SMALLEST_PATCH
    assert "20 min" in crawling.reasons["spacing_mm"]


def test_what_is_asked_for_is_taken(plan):
    config = TrainingConfig(steps=5, spacing_mm=(2.0, 1.5, 1.5), patch_zyx=(16, 24, 32))
    made = planning.with_grid(plan, config, facts(), 0.0)
    assert made.spacing_mm == (2.0, 1.5, 1.5)
    assert made.patch_zyx == (16, 24, 32)
    assert made.reasons["patch_zyx"] == made.reasons["spacing_mm"] == "asked for"


def test_oracle_dice_falls_with_the_voxel_size():
    scores = [planning.oracle_dice(facts(), (s, s, s)) for s in (0.625, 1.25, 5.0)]
    assert scores[0] == 1.0
    assert scores[0] > scores[1] > scores[2] > 0.5
