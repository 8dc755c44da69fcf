from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.engine.data.cache import working_target
from napari_semiseg.engine.data.resample import resample, slabs, working_shape


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


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 4, 9), (9, 4, 5), (10, 11, 17)])
def test_one_annotated_slice_is_not_lost_on_the_working_grid(
    shape: tuple[int, int, int], axis: int
) -> None:
    fine = (9, 10, 16)
    truth = np.zeros(fine, np.uint8)
    truth[2:7, 3:8, 4:12] = 1
    sparse = np.full(fine, UNANNOTATED, np.uint8)
    index = fine[axis] // 2
    key = (slice(None),) * axis + (index,)
    sparse[key] = truth[key]
    working = working_target(sparse, 2, shape)
    whole = working_target(truth, 2, shape)
    seen = working != UNANNOTATED
    planes = np.flatnonzero(seen.any(axis=tuple(set(range(3)) - {axis})))
    assert seen.sum() == len(planes) * seen[(slice(None),) * axis + (planes[0],)].size
    assert len(planes) <= max(1, np.ceil(shape[axis] / fine[axis]))
    centres = (planes + 0.5) * (fine[axis] / shape[axis])
    assert (abs(centres - index - 0.5) <= max(0.5, fine[axis] / shape[axis] / 2)).all()
    assert np.mean(working[seen] == whole[seen]) > 0.85
    assert (working == 1).any()


def test_only_the_annotated_vote_for_a_working_voxel() -> None:
    fine = np.full((5, 5, 5), UNANNOTATED, np.uint8)
    fine[2, 2, 2] = 2
    assert working_target(fine, 3, (1, 1, 1)).item() == 2
    fine[2, 2, 3:] = 1
    assert working_target(fine, 3, (1, 1, 1)).item() == 1
    assert working_target(np.full_like(fine, 255), 3, (2, 2, 2)).min() == UNANNOTATED
