from __future__ import annotations

import numpy as np
import pytest
from medpy.metric import binary
from scipy import ndimage

from napari_semiseg.core.geometry import Geometry
from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.errors import ImageError
from napari_semiseg.imaging.metrics import evaluate_labels

SCHEME = LabelScheme.parse(["1=atrium", "3=wall"])


def grid(shape_zyx, spacing_zyx=(1.0, 1.0, 1.0)):
    return Geometry(shape_zyx, np.diag([*spacing_zyx, 1.0]))


def blobs(rng, shape, count=1):
    """Smooth random labels 0..count; every class occurs."""
    noise = ndimage.gaussian_filter(rng.normal(size=(count + 1, *shape)), (0, 2, 2, 2))
    return noise.argmax(axis=0).astype(np.uint8)


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_medpy_on_random_blobs(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(12, 34, 3))
    spacing = tuple(rng.uniform(0.4, 3.5, 3))
    prediction, reference = blobs(rng, shape), blobs(rng, shape)
    found = evaluate_labels(prediction, reference, grid(shape, spacing), SCHEME)
    metrics = found["atrium"]
    expected = {
        "dice": binary.dc(prediction, reference),
        "jaccard": binary.jc(prediction, reference),
        "hd95_mm": binary.hd95(prediction, reference, spacing),
        "assd_mm": binary.assd(prediction, reference, spacing),
        "hd95_voxel": binary.hd95(prediction, reference),
        "asd_voxel": binary.assd(prediction, reference),
    }
    found_values = {name: getattr(metrics, name) for name in expected}
    assert found_values == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("far", [60, 4])
def test_agrees_with_medpy_where_surfaces_are_far_apart(far):
    spacing = (1.3, 0.6, 0.9)
    offset = np.indices((64, 64, 64)) - 32
    radius = np.linalg.norm(offset, axis=0)
    reference = (radius < 30).astype(np.uint8)
    prediction = (radius < 6).astype(np.uint8) if far == 60 else reference.copy()
    prediction[0, 0, :far] = 1
    found = evaluate_labels(
        prediction, reference, grid(reference.shape, spacing), SCHEME
    )
    expected = (
        binary.hd95(prediction, reference, spacing),
        binary.assd(prediction, reference, spacing),
        binary.hd95(prediction, reference),
        binary.assd(prediction, reference),
    )
    metrics = found["atrium"]
    assert (
        metrics.hd95_mm,
        metrics.assd_mm,
        metrics.hd95_voxel,
        metrics.asd_voxel,
    ) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_overlap_and_volume_agree_with_simpleitk_for_each_class(seed):
    import SimpleITK as sitk

    rng = np.random.default_rng(seed)
    shape, spacing = (14, 18, 22), (2.5, 0.7, 1.1)
    prediction = np.array([0, 1, 3], np.uint8)[blobs(rng, shape, 2)]
    reference = np.array([0, 1, 3], np.uint8)[blobs(rng, shape, 2)]
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(
        sitk.GetImageFromArray(reference), sitk.GetImageFromArray(prediction)
    )
    found = evaluate_labels(prediction, reference, grid(shape, spacing), SCHEME)
    for value, name in ((1, "atrium"), (3, "wall")):
        assert found[name].dice == pytest.approx(overlap.GetDiceCoefficient(value))
        assert found[name].jaccard == pytest.approx(
            overlap.GetJaccardCoefficient(value)
        )
        volume = np.count_nonzero(prediction == value) * 2.5 * 0.7 * 1.1 / 1000
        assert found[name].volume_ml == pytest.approx(volume)


def test_two_single_voxels_lie_their_centres_apart():
    prediction = np.zeros((9, 9, 9), np.uint8)
    reference = prediction.copy()
    prediction[1, 4, 4] = reference[7, 4, 8] = 1
    metrics = evaluate_labels(
        prediction, reference, grid((9, 9, 9), (0.5, 1, 2)), SCHEME
    )["atrium"]
    assert metrics.dice == metrics.jaccard == 0
    assert metrics.hd95_mm == metrics.assd_mm == pytest.approx(np.hypot(3, 8))
    assert metrics.hd95_voxel == metrics.asd_voxel == pytest.approx(np.hypot(6, 4))
    assert metrics.volume_ml == metrics.reference_ml == pytest.approx(0.001)


def test_surface_includes_voxels_at_the_border_of_the_volume():
    reference = np.ones((5, 5, 5), np.uint8)
    prediction = np.zeros_like(reference)
    prediction[1:4, 1:4, 1:4] = 1
    metrics = evaluate_labels(prediction, reference, grid((5, 5, 5)), SCHEME)["atrium"]
    # 26 surface voxels of the small cube are 1 from the outer shell; of the 98 of the
    # shell, 54 lie 1 away, 36 sqrt(2), 8 sqrt(3).
    expected = (26 + 54 + 36 * np.sqrt(2) + 8 * np.sqrt(3)) / (26 + 98)
    assert metrics.asd_voxel == pytest.approx(expected)
    assert metrics.dice == pytest.approx(2 * 27 / (27 + 125))


@pytest.mark.parametrize("empty", ["prediction", "reference"])
def test_one_empty_mask_scores_the_worst(empty):
    shape, spacing = (3, 4, 12), (2.0, 3.0, 1.0)
    masks = {name: np.zeros(shape, np.uint8) for name in ("prediction", "reference")}
    other = "reference" if empty == "prediction" else "prediction"
    masks[other][1, 1:3, 4:6] = 1
    metrics = evaluate_labels(**masks, geometry=grid(shape, spacing), labels=SCHEME)[
        "atrium"
    ]
    assert metrics.dice == metrics.jaccard == 0
    assert metrics.hd95_voxel == metrics.asd_voxel == pytest.approx(13.0)
    assert metrics.hd95_mm == metrics.assd_mm == pytest.approx(np.sqrt(36 + 144 + 144))


def test_two_empty_masks_agree():
    empty = np.zeros((4, 4, 4), np.uint8)
    metrics = evaluate_labels(empty, empty, grid((4, 4, 4)), SCHEME)["wall"]
    assert metrics.dice == metrics.jaccard == 1
    assert metrics.hd95_mm == metrics.assd_mm == 0
    assert metrics.hd95_voxel == metrics.asd_voxel == 0
    assert metrics.volume_ml == metrics.reference_ml == 0


def test_voxels_not_annotated_in_the_reference_count_in_neither_mask():
    rng = np.random.default_rng(3)
    shape = (10, 12, 14)
    prediction, reference = blobs(rng, shape, 1), blobs(rng, shape, 1)
    reference[:4] = 255
    found = evaluate_labels(prediction, reference, grid(shape), SCHEME)
    seen_prediction, seen_reference = prediction.copy(), reference.copy()
    seen_prediction[:4] = seen_reference[:4] = 0
    assert found == evaluate_labels(
        seen_prediction, seen_reference, grid(shape), SCHEME
    )
    assert prediction[:4].any(), "the arguments must not be changed"
    nothing = np.full(shape, 255, np.uint8)
    assert evaluate_labels(prediction, nothing, grid(shape), SCHEME)["atrium"].dice == 1


def test_identical_masks_are_perfect_and_order_does_not_matter():
    rng = np.random.default_rng(1)
    one, other = blobs(rng, (12, 12, 12)), blobs(rng, (12, 12, 12))
    same = evaluate_labels(one, one, grid((12, 12, 12)), SCHEME)["atrium"]
    assert (same.dice, same.jaccard, same.hd95_mm, same.assd_mm) == (1, 1, 0, 0)
    there = evaluate_labels(one, other, grid((12, 12, 12)), SCHEME)["atrium"]
    back = evaluate_labels(other, one, grid((12, 12, 12)), SCHEME)["atrium"]
    assert there.dice == back.dice
    assert there.hd95_mm == back.hd95_mm
    assert there.assd_mm == pytest.approx(back.assd_mm)
    assert there.volume_ml == back.reference_ml


def test_refuses_arrays_of_another_shape():
    mask = np.zeros((4, 4, 4), np.uint8)
    with pytest.raises(ImageError, match=r"reference.*\(4, 4, 4\).*\(4, 4, 5\)"):
        evaluate_labels(mask, np.zeros((4, 4, 5), np.uint8), grid((4, 4, 4)), SCHEME)
