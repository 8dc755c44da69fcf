"""Bounds on the working grid are those of the whole volume, at little cost."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_semiseg.engine.data import sparse_distance
from napari_semiseg.engine.data.cache import working_target
from napari_semiseg.engine.data.distance_maps import distance_intervals
from napari_semiseg.engine.data.sparse_distance import working_distance_intervals

SPACING = (2.0, 1.0, 0.8)
LIMIT = 6.0
SHAPE = (60, 50, 70)


def organs():
    z, y, x = (
        (np.arange(size) + 0.5) * step
        for size, step in zip(SHAPE, SPACING, strict=True)
    )
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    target = np.zeros(SHAPE, np.uint8)
    target[(z - 60) ** 2 + (y - 25) ** 2 + (x - 20) ** 2 < 20**2] = 1
    target[(z - 70) ** 2 + (y - 30) ** 2 + (x - 38) ** 2 < 12**2] = 2
    return target


def painted(*where):
    target, known = organs(), np.zeros(SHAPE, bool)
    for part in where:
        known[part] = True
    target[~known] = 255
    return target


LABELS = {
    "one slice": painted(np.s_[30]),
    "planes that cross": painted(np.s_[5], np.s_[30], np.s_[:, 24], np.s_[..., 30]),
    "scribbles": painted(np.s_[28, 10:14, 30:60], np.s_[33:36, 30, 5:9], np.s_[59, 49]),
    "a block": painted(np.s_[20:50, 5:45, 5:60]),
    "all but a corner": painted(np.s_[1:], np.s_[:, 3:]),
    "one voxel": painted(np.s_[0, 0, 0]),
    "whole": organs(),
}


def reference(target, shape):
    """Of the whole volume, made smaller by PyTorch."""
    return [
        functional.interpolate(
            torch.from_numpy(values)[None],
            size=shape,
            mode="trilinear",
            align_corners=False,
        )[0].numpy()
        for values in distance_intervals(target, 3, SPACING, LIMIT)
    ]


@pytest.mark.parametrize(
    ("shape", "slab"),
    [
        (SHAPE, 10**9),
        ((40, 17, 23), 5_000),
        ((13, 60, 9), 10**9),
        ((90, 50, 99), 5_000),
    ],
)
@pytest.mark.parametrize("name", LABELS)
def test_intervals_are_those_of_the_whole_volume(monkeypatch, name, shape, slab):
    monkeypatch.setattr(sparse_distance, "SLAB_VOXELS", slab)
    target = LABELS[name]
    known = working_target(target, 3, shape) != 255
    assert known.any()
    found = working_distance_intervals(target, 3, SPACING, LIMIT, shape)
    for ours, exact in zip(found, reference(target, shape), strict=True):
        assert ours.shape == (3, *shape)
        assert np.abs(ours - exact)[:, known].max() < 2e-3  # half precision
    if name == "whole":
        assert np.array_equal(*found)


def test_a_few_slices_cost_what_they_hold(monkeypatch):
    """What must be looked at is about the slices, and never more than the whole."""
    looked = []

    def counted(target, *args):
        looked.append(target.size)
        return distance_intervals(target, *args)

    monkeypatch.setattr(sparse_distance, "distance_intervals", counted)
    large = np.full((300, 120, 120), 255, np.uint8)
    large[40], large[250], large[:, 60] = 0, 1, 0
    working_distance_intervals(large, 2, (1.0, 1.0, 1.0), 4.0, (150, 60, 60))
    assert sum(looked) < 0.5 * large.size
    looked.clear()
    working_distance_intervals(
        np.zeros_like(large), 2, (1.0, 1.0, 1.0), 4.0, (150, 60, 60)
    )
    assert sum(looked) < 1.2 * large.size


def test_far_from_all_labels_nothing_is_claimed():
    low, high = working_distance_intervals(
        LABELS["one voxel"], 3, SPACING, LIMIT, SHAPE
    )
    assert (low[:, 10:] == -1).all()
    assert (high[:, 10:] == 1).all()


def test_beside_a_painted_slice_an_organ_may_go_on_or_end():
    """An unannotated voxel beside one that is inside may be inside as well."""
    target = LABELS["one slice"]
    low, high = distance_intervals(target, 3, SPACING, LIMIT)
    exact, _ = distance_intervals(organs(), 3, SPACING, LIMIT)
    assert (low <= exact + 1e-6).all()
    assert (exact <= high + 1e-6).all()
    beside = (31, 25, math.floor(20 / SPACING[2]))
    assert low[1][beside] < 0 < high[1][beside]


def test_many_classes_need_little_more_than_their_maps():
    classes, shape = 24, (24, 48, 48)
    target = np.zeros(shape, np.uint8)
    for index in range(1, classes):
        target[index % 20 :][:3, 2 * index - 2 : 2 * index, 10:30] = index
    tracemalloc.start()
    try:
        working_distance_intervals(target, classes, (1, 1, 1), 5.0, (12, 24, 24))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    maps = 4 * classes * target.size
    assert peak < 1.7 * maps
