"""Counting what a mask holds."""

from __future__ import annotations

import numpy as np

from napari_semiseg.core.labels import voxel_counts


def test_voxels_are_counted_by_value_whatever_the_planes_hold():
    """Planes of one value are counted at a glance, to the same numbers."""
    labels = np.random.default_rng(0).integers(0, 256, (9, 7, 5)).astype(np.uint8)
    labels[2], labels[4], labels[7] = 255, 0, 3
    labels[7, 6, 4] = 200
    assert np.array_equal(
        voxel_counts(labels), np.bincount(labels.ravel(), minlength=256)
    )
    assert voxel_counts(labels[:, :0]).sum() == 0
