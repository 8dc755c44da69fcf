from __future__ import annotations

import pytest
import torch

from napari_semiseg.engine.resample import resample, slabs, working_shape


def test_working_grid_covers_the_same_space():
    assert working_shape((88, 160, 190), (0.625,) * 3, (1.25,) * 3) == (44, 80, 95)
    assert working_shape((3, 100, 100), (5.0, 1.0, 1.0), (5.0, 2.0, 2.0)) == (3, 50, 50)
    assert working_shape((1, 1, 1), (1.0,) * 3, (9.0,) * 3) == (1, 1, 1)


@pytest.mark.parametrize("shape", [(3, 4, 5), (12, 9, 20), (6, 20, 10), (6, 8, 10)])
def test_resampling_keeps_mean_and_position(shape):
    """A linear ramp stays the ramp at the new voxels' centres."""
    ramp = torch.linspace(0.05, 0.95, 10).view(1, 1, 1, 10).expand(1, 6, 8, 10)
    result = resample(ramp, shape)
    assert tuple(result.shape[1:]) == shape
    centres = (torch.arange(shape[2]) + 0.5) / shape[2]
    inner = (centres > 0.1) & (centres < 0.9)
    assert torch.allclose(result[0, 0, 0][inner], centres[inner], atol=0.02)


@pytest.mark.parametrize("voxels", [1, 500, 10**9])
@pytest.mark.parametrize("shape", [(11, 7, 9), (4, 6, 5), (3, 14, 2)])
def test_slabs_equal_the_whole(shape, voxels):
    maps = torch.rand(2, 5, 6, 7)
    whole = torch.nn.functional.interpolate(
        maps[None], size=shape, mode="trilinear", align_corners=False
    )[0]
    result = torch.full_like(whole, float("nan"))
    blocks = (maps[:, :2], maps[:, 2:2], maps[:, 2:3], maps[:, 3:])
    for planes, part in slabs(blocks, 5, shape, voxels):
        assert planes.start == 0 or not result[:, planes.start - 1].isnan().any()
        result[:, planes] = part
    assert torch.allclose(result, whole, atol=1e-5)
