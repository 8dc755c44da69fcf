from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_semiseg.imaging.resampling import (
    linear_weights,
    resample,
    slabs,
    thick_axis,
    working_shape,
)


def trilinear(maps, shape):
    """What another library makes of it."""
    factors = np.divide(shape, maps.shape[1:])
    zoomed = [
        ndimage.zoom(one, factors, order=1, mode="nearest", grid_mode=True)
        for one in maps
    ]
    return np.stack(zoomed)


def test_working_grid_covers_the_same_space():
    assert working_shape((88, 160, 190), (0.625,) * 3, (1.25,) * 3) == (44, 80, 95)
    assert working_shape((3, 100, 100), (5.0, 1.0, 1.0), (5.0, 2.0, 2.0)) == (3, 50, 50)
    assert working_shape((1, 1, 1), (1.0,) * 3, (9.0,) * 3) == (1, 1, 1)


@pytest.mark.parametrize(
    ("thickness", "slices"), [(5.0, 12), (10.0, 12), (20.0, 12), (4.0, 5), (30.0, 36)]
)
def test_thick_slices_are_taken_as_they_are(thickness, slices):
    plan = (10.0, 4.0, 4.0)
    found = working_shape((12, 100, 80), (thickness, 2.0, 2.0), plan)
    assert found == (slices, 50, 40)
    assert working_shape((100, 12, 80), (2.0, thickness, 2.0), (4.0, 10.0, 4.0)) == (
        50,
        slices,
        40,
    )


def test_voxels_that_are_hardly_longer_than_wide_are_no_slices():
    assert thick_axis((1.0, 1.5, 1.0)) == 1
    assert thick_axis((1.4, 1.0, 1.0)) is None
    assert thick_axis((3.0, 3.0, 1.0)) is None
    assert working_shape((12, 9, 9), (7.0, 4.0, 4.0), (10.0, 7.5, 4.0)) == (8, 5, 9)


@pytest.mark.parametrize("shape", [(3, 4, 5), (12, 9, 20), (6, 20, 10), (6, 8, 10)])
def test_resampling_keeps_mean_and_position(shape):
    """A linear ramp stays the ramp at the new voxels' centres."""
    line = np.linspace(0.05, 0.95, 10, dtype=np.float32)
    ramp = np.broadcast_to(line, (1, 6, 8, 10)).copy()
    result = resample(ramp, shape)
    assert result.shape[1:] == shape
    assert result.dtype == np.float32
    centres = (np.arange(shape[2]) + 0.5) / shape[2]
    inner = (centres > 0.1) & (centres < 0.9)
    assert np.allclose(result[0, 0, 0][inner], centres[inner], atol=0.02)


def test_larger_volumes_are_interpolated_and_smaller_ones_averaged():
    maps = np.random.default_rng(0).random((2, 4, 6, 8), np.float32)
    larger = resample(maps, (9, 13, 8))
    assert np.allclose(larger, trilinear(maps, (9, 13, 8)), atol=1e-6)
    halves = maps.reshape(2, 2, 2, 3, 2, 4, 2).mean(axis=(2, 4, 6))
    assert np.allclose(resample(maps, (2, 3, 4)), halves, atol=1e-6)
    uneven = resample(maps, (4, 4, 8))
    assert np.allclose(uneven[:, :, 0], maps[:, :, 0:2].mean(axis=2), atol=1e-6)
    assert np.allclose(uneven[:, :, 1], maps[:, :, 1:3].mean(axis=2), atol=1e-6)


@pytest.mark.parametrize("voxels", [1, 500, 10**9])
@pytest.mark.parametrize("shape", [(11, 7, 9), (4, 6, 5), (3, 14, 2)])
def test_slabs_equal_the_whole(shape, voxels):
    maps = np.random.default_rng(0).random((2, 5, 6, 7), np.float32)
    whole = trilinear(maps, shape)
    result = np.full_like(whole, np.nan)
    blocks = (maps[:, :2], maps[:, 2:2], maps[:, 2:3], maps[:, 3:])
    for planes, part in slabs(blocks, 5, shape, voxels):
        assert planes.start == 0 or not np.isnan(result[:, planes.start - 1]).any()
        result[:, planes] = part
    assert np.allclose(result, whole, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 9, 18, 22, 50, 101])
@pytest.mark.parametrize("planes", [1, 3, 4, 10])
def test_slabs_of_thick_slices_skip_planes_of_a_finer_grid(depth, planes):
    """Those that no slice needs come in blocks of their own."""
    maps = np.random.default_rng(0).random((1, depth, 2, 3), np.float32)
    blocks = (maps[:, at : at + 8] for at in range(0, depth, 8))
    found = [part for _, part in slabs(blocks, depth, (planes, 2, 3))]
    weights = linear_weights(depth, planes)
    expected = np.einsum("td,kdyx->ktyx", weights, maps)
    assert np.allclose(np.concatenate(found, axis=1), expected, atol=1e-5)
