from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_semiseg.engine.data.distance_maps import distance_intervals
from napari_semiseg.engine.methods.perturbations import soft_mask


def ball(shape=(20, 30, 30), radius_mm=9.0, spacing=(2.0, 1.0, 1.0)):
    grid = np.indices(shape).astype(float)
    centre = np.array([9.5, 14.5, 14.5])
    scaled = (grid - centre[:, None, None, None]) * np.array(spacing)[
        :, None, None, None
    ]
    return np.linalg.norm(scaled, axis=0) - radius_mm


def test_complete_label_gives_the_distance_in_mm():
    true = ball()
    low, high = distance_intervals((true < 0).astype(np.uint8), 2, (2.0, 1.0, 1.0), 5.0)
    assert np.array_equal(low, high)
    near = np.abs(true) < 4
    assert np.abs(low[1] * 5.0 - true)[near].max() < 1.6
    assert np.abs(low[1] * 5.0 - true)[near].mean() < 0.5
    assert np.allclose(low[0], -low[1])


def test_sign_and_truncation():
    target = (ball() < 0).astype(np.uint8)
    low, _ = distance_intervals(target, 2, (2.0, 1.0, 1.0), 3.0)
    assert (low[1][target == 1] <= 0).all()
    assert (low[1][target == 0] >= 0).all()
    assert np.abs(low).max() == 1.0
    assert low[1][0, 0, 0] == 1.0


def test_absent_class_is_far_away_everywhere():
    low, high = distance_intervals(np.zeros((8, 8, 8), np.uint8), 3, (1, 1, 1), 4.0)
    assert (low[1:] == 1).all()
    assert (high[1:] == 1).all()
    assert (low[0] == -1).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_soft_mask_recovers_the_labels(classes):
    target = (ball() < 0).astype(np.uint8)
    if classes == 3:
        target[:, :, 15:] *= 2
    low, _ = distance_intervals(target, classes, (2.0, 1.0, 1.0), 10.0)
    mask = soft_mask(torch.from_numpy(low)[None], 20.0)[0].argmax(0).numpy()
    assert (mask == target).mean() > 0.99
    for index in range(1, classes):
        both = ((mask == index) & (target == index)).sum()
        assert both / ((mask == index) | (target == index)).sum() > 0.99


def test_intervals_of_a_partial_label_hold_the_truth():
    """Whatever lies in the unannotated slices, the interval contains it."""
    target = (ball() < 0).astype(np.uint8)
    exact, _ = distance_intervals(target, 2, (2.0, 1.0, 1.0), 6.0)
    partial = np.full_like(target, 255)
    partial[8:11] = target[8:11]
    partial[:, 14] = target[:, 14]
    low, high = distance_intervals(partial, 2, (2.0, 1.0, 1.0), 6.0)
    known = partial != 255
    assert (low <= high).all()
    assert (low[:, known] <= exact[:, known] + 1e-6).all()
    assert (exact[:, known] <= high[:, known] + 1e-6).all()
    assert (high - low)[:, known].max() > 0


def test_crop_to_the_object_changes_nothing():
    """The box in which distances are computed is only a matter of speed."""
    small = (ball() < -3).astype(np.uint8)
    low, _ = distance_intervals(small, 2, (2.0, 1.0, 1.0), 4.0)
    marked = small.copy()
    marked[0, 0, 0] = 255
    whole_low, whole_high = distance_intervals(marked, 2, (2.0, 1.0, 1.0), 4.0)
    far = np.ones(small.shape, bool)
    far[:4, :6, :6] = False
    assert np.allclose(low[:, far], whole_low[:, far])
    assert np.allclose(low[:, far], whole_high[:, far])


@pytest.mark.parametrize("limit", [3.0, 50.0])
def test_distances_are_those_of_the_whole_volume(limit):
    """Boxes change no value; masks at the rim, in two pieces."""
    target = np.zeros((40, 30, 30), np.uint8)
    target[:5, 3:9, 20:] = 1
    target[30:36, 10:20, 5:12] = 1
    target[31:34, 12:16, 7:9] = 2
    spacing = (2.0, 1.0, 1.0)
    low, high = distance_intervals(target, 3, spacing, limit)
    assert high is low
    for index in range(3):
        inside = target == index
        outer, inner = (
            ndimage.distance_transform_edt(side, sampling=spacing) - 0.5
            for side in (~inside, inside)
        )
        exact = np.clip(np.where(inside, -inner, outer), -limit, limit) / limit
        assert np.allclose(low[index], exact, atol=1e-5)
