"""Counting what a mask holds, and which classes mirror each other."""

from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.labels import LabelScheme, voxel_counts


def test_voxels_are_counted_by_value_whatever_the_planes_hold():
    """Planes of one value are counted at a glance, to the same numbers."""
    labels = np.random.default_rng(0).integers(0, 256, (9, 7, 5)).astype(np.uint8)
    labels[2], labels[4], labels[7] = 255, 0, 3
    labels[7, 6, 4] = 200
    assert np.array_equal(
        voxel_counts(labels), np.bincount(labels.ravel(), minlength=256)
    )
    assert voxel_counts(labels[:, :0]).sum() == 0


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("left atrium",), False),
        (("left atrium", "left ventricle"), False),
        (("Left Kidney", "right kidney"), True),
        (("hippocampus_L", "hippocampus_R", "brain"), True),
        (("lh.cortex", "rh.cortex"), True),
        (("liver", "spleen"), False),
        (("l1", "r1"), False),
    ],
)
def test_classes_that_are_mirror_images_of_each_other(names, told):
    texts = [f"{value}={name}" for value, name in enumerate(names, start=1)]
    assert LabelScheme.parse(texts).tells_sides is told
