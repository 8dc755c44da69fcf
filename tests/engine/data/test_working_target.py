from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.engine.data.cache import working_target


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
