from __future__ import annotations

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_semiseg.core.labels import annotated_planes
from napari_semiseg.imaging.slice_interpolation import interpolate_slices
from real_data import data_folder

SPACING = (2.0, 1.0, 1.0)


def ball(
    shape: tuple[int, ...], centre: tuple[float, ...], radius: float
) -> np.ndarray:
    """A ball in mm of SPACING."""
    grid = np.indices(shape)
    squares = [
        ((axis - at) * step) ** 2
        for axis, at, step in zip(grid, centre, SPACING, strict=True)
    ]
    return (sum(squares) <= radius**2).astype(np.uint8)


def sparse(truth: np.ndarray, planes: dict[int, list[int]]) -> np.ndarray:
    labels = np.full(truth.shape, 255, np.uint8)
    for axis, indices in planes.items():
        for index in indices:
            key = (slice(None),) * axis + (index,)
            labels[key] = truth[key]
    return labels


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / (one.sum() + other.sum())


def test_a_ball_comes_back_from_every_fourth_slice() -> None:
    truth = ball((25, 50, 50), (12, 24, 26), 20)
    planes = {0: list(range(0, 25, 4))}
    labels = sparse(truth, planes)
    result = interpolate_slices(labels, planes, SPACING)
    assert set(np.unique(result)) == {0, 1}
    assert dice(result == 1, truth == 1) > 0.96


def test_three_planes_beat_one() -> None:
    truth = ball((25, 50, 50), (12, 24, 26), 20)
    axial = {0: [3, 12, 21]}
    planes = {**axial, 1: [6, 16, 24, 34, 42], 2: [8, 18, 26, 36, 44]}
    one = interpolate_slices(sparse(truth, axial), axial, SPACING)
    more = interpolate_slices(sparse(truth, planes), planes, SPACING)
    assert dice(more == 1, truth == 1) > dice(one == 1, truth == 1)
    assert dice(more == 1, truth == 1) > 0.93


def test_nothing_is_written_outside_the_stack() -> None:
    truth = ball((25, 50, 50), (12, 24, 26), 20)
    planes = {0: [8, 16]}
    result = interpolate_slices(sparse(truth, planes), planes, SPACING)
    assert (result[:8] == 255).all()
    assert (result[17:] == 255).all()
    assert not (result[8:17] == 255).any()


def test_one_slice_gives_nothing_to_interpolate() -> None:
    labels = sparse(ball((9, 9, 9), (4, 4, 4), 3), {0: [4]})
    assert np.array_equal(interpolate_slices(labels, {0: [4]}, SPACING), labels)


def test_a_structure_that_ends_tapers_off_halfway() -> None:
    labels = np.full((9, 15, 15), 255, np.uint8)
    labels[0] = labels[8] = 0
    labels[0, 3:12, 3:12] = 1
    areas = (interpolate_slices(labels, {0: [0, 8]}, SPACING) == 1).sum(axis=(1, 2))
    assert (np.diff(areas) <= 0).all()
    assert areas[1] > areas[3] > 0
    assert areas[5] == 0


def test_classes_keep_apart_and_touch_where_they_touched() -> None:
    labels = np.full((5, 10, 20), 255, np.uint8)
    for index in (0, 4):
        labels[index] = 0
        labels[index, 2:8, 2:10] = 1
        labels[index, 2:8, 10:18] = 7
    result = interpolate_slices(labels, {0: [0, 4]}, SPACING)
    assert np.array_equal(result[2], labels[0])


def test_scribbles_between_slices_stay() -> None:
    labels = np.full((5, 10, 10), 255, np.uint8)
    labels[[0, 4]] = 0
    labels[[0, 4], 2:8, 2:8] = 1
    labels[2, 4:6, 4:6] = 2
    labels[2, 2, 2] = 0
    result = interpolate_slices(labels, {0: [0, 4]}, SPACING)
    assert (result[2, 4:6, 4:6] == 2).all()
    assert result[2, 2, 2] == 0
    assert result[2, 3, 3] == 1


def test_far_from_annotated_slices_the_prediction_decides() -> None:
    labels = np.full((21, 30, 30), 255, np.uint8)
    labels[[0, 20]] = 0
    labels[[0, 20], 10:20, 5:15] = 1
    truth = labels == 1
    truth[5:16, 10:20, 12:22] = True
    predicted = np.where(truth, -6.0, 6.0).astype(np.float32)
    plain = interpolate_slices(labels, {0: [0, 20]}, SPACING)
    guided = interpolate_slices(
        labels, {0: [0, 20]}, SPACING, sdm_mm={1: predicted}, blend_mm=2
    )
    assert not (plain[10, 10:20, 16:22] == 1).any()
    assert (guided[10, 10:20, 16:22] == 1).all()
    assert np.array_equal(guided[0], labels[0])
    never = interpolate_slices(
        labels, {0: [0, 20]}, SPACING, sdm_mm={1: predicted}, blend_mm=1e6
    )
    assert np.array_equal(never, plain)


def test_spacing_decides_which_slice_is_nearer() -> None:
    labels = np.full((9, 9, 9), 255, np.uint8)
    labels[:, :, [0, 8]] = 0
    labels[[0, 8]] = 1
    planes = {0: [0, 8], 2: [0, 8]}
    thick = interpolate_slices(labels, planes, (9.0, 1.0, 1.0))
    thin = interpolate_slices(labels, planes, (1.0, 1.0, 9.0))
    assert thick[4, 4, 4] == 0
    assert thin[4, 4, 4] == 1


def test_planes_are_found() -> None:
    labels = np.full((4, 5, 6), 255, np.uint8)
    labels[1] = 0
    labels[:, 2] = 1
    labels[3, 4, 5] = 1
    assert annotated_planes(labels) == {0: [1], 1: [2], 2: []}


@settings(max_examples=60, deadline=None)
@given(
    labels=arrays(np.uint8, (7, 6, 5), elements=st.sampled_from([0, 1, 3, 255, 255])),
    axial=st.sets(st.integers(0, 6), max_size=4),
    sagittal=st.sets(st.integers(0, 4), max_size=3),
    guided=st.booleans(),
)
def test_annotated_voxels_never_change(
    labels: np.ndarray, axial: set[int], sagittal: set[int], guided: bool
) -> None:
    before = labels.copy()
    sdm = {1: np.linspace(-4, 4, labels.size, dtype=np.float32).reshape(labels.shape)}
    result = interpolate_slices(
        labels,
        {0: sorted(axial), 2: sorted(sagittal)},
        SPACING,
        sdm_mm=sdm if guided else None,
    )
    assert np.array_equal(labels, before)
    known = labels != 255
    assert np.array_equal(result[known], labels[known])
    assert set(np.unique(result)) <= {0, 1, 3, 255}
    if len(axial) > 1:
        assert not (result[min(axial) : max(axial) + 1] == 255).any()


@pytest.mark.parametrize("value", [0, 1])
def test_full_slices_stay_full(value: int) -> None:
    labels = np.full((5, 4, 4), 255, np.uint8)
    labels[[0, 4]] = value
    assert (interpolate_slices(labels, {0: [0, 4]}, SPACING) == value).all()


def tube(shape: tuple[int, int, int]) -> np.ndarray:
    """A disc that goes sideways, faster and faster, from slice to slice."""
    rows, columns = np.indices(shape[1:])
    centres = 20 + 16 * np.linspace(0, 1, shape[0]) ** 2
    discs = [(rows - 24) ** 2 + (columns - at) ** 2 <= 81 for at in centres]
    return np.stack(discs).astype(np.uint8)


def test_with_the_image_outlines_follow_the_anatomy() -> None:
    truth = tube((11, 48, 72))
    rng = np.random.default_rng(0)
    image = 100.0 * truth + rng.normal(0, 5, truth.shape)
    planes = {0: [0, 10]}
    labels = sparse(truth, planes)
    shape_only = interpolate_slices(labels, planes, SPACING)[1:-1]
    followed = interpolate_slices(labels, planes, SPACING, image=image)
    between = truth[1:-1] == 1
    assert dice(followed[1:-1] == 1, between) > 0.95
    assert dice(followed[1:-1] == 1, between) > dice(shape_only == 1, between) + 0.05
    assert np.array_equal(followed[[0, 10]], truth[[0, 10]])


def test_the_image_changes_no_annotated_voxel_and_nothing_outside_the_stack() -> None:
    truth = ball((25, 50, 50), (12, 24, 26), 20)
    truth[:, :, 30:] *= 2
    labels = sparse(truth, {0: [6, 18]})
    labels[12, 20:24, 20:24] = 0
    image = np.random.default_rng(1).normal(0, 1, truth.shape)
    result = interpolate_slices(labels, {0: [6, 18]}, SPACING, image=image)
    known = labels != 255
    assert np.array_equal(result[known], labels[known])
    assert (result[:6] == 255).all()
    assert (result[19:] == 255).all()
    assert set(np.unique(result[7:18])) == {0, 1, 2}


@pytest.mark.data
def test_the_image_brings_the_outlines_of_a_real_atrium_nearer() -> None:
    folder = data_folder("LA")
    names = (folder / "splits" / "dev_train.list").read_text(encoding="utf-8").split()
    image, truth = (
        np.asarray(nibabel.load(folder / kind / f"{names[0]}.nii.gz").dataobj).T
        for kind in ("imagesTr", "labelsTr")
    )
    truth = (truth > 0).astype(np.uint8)
    middle = int(np.median(np.flatnonzero(truth.any(axis=(1, 2)))))
    planes = {0: [middle - 10, middle + 1, middle + 12]}
    labels, spacing = sparse(truth, planes), (0.625, 0.625, 0.625)
    inside = slice(middle - 10, middle + 13)
    scores = [
        dice(
            interpolate_slices(labels, planes, spacing, image=shown)[inside] == 1,
            truth[inside] == 1,
        )
        for shown in (None, image)
    ]
    assert scores[1] > scores[0] + 0.005
