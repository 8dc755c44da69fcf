from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_semiseg.imaging.distance import truncated_distance
from napari_semiseg.imaging.morphology import (
    fill_holes,
    is_one_piece,
    keep_largest_pieces,
    largest_component,
    remove_specks,
    replace_class,
    smooth,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

SPACING = (2.0, 1.0, 0.5)


def move_boundary(
    labels: np.ndarray, sdm: np.ndarray, mm: float, locked: Collection[int] = ()
) -> np.ndarray:
    return replace_class(labels, 1, sdm < mm, locked)


def moved(labels: np.ndarray, mm: float, locked: Collection[int]) -> np.ndarray:
    sdm = truncated_distance(labels == 1, SPACING, 9)
    return move_boundary(labels, sdm, mm, locked)


TOOLS = {
    "boundary out": lambda labels, locked: moved(labels, 1.5, locked),
    "boundary in": lambda labels, locked: moved(labels, -0.5, locked),
    "largest": lambda labels, locked: replace_class(
        labels, 1, largest_component(labels == 1), locked
    ),
    "specks": lambda labels, locked: replace_class(
        labels, 1, remove_specks(labels == 1, 3.0, SPACING), locked
    ),
    "holes": lambda labels, locked: replace_class(
        labels, 1, fill_holes(labels, 1), locked
    ),
    "smooth": lambda labels, locked: replace_class(
        labels, 1, smooth(labels == 1, 1.0, SPACING), locked
    ),
}


def two_pieces() -> np.ndarray:
    labels = np.zeros((10, 20, 20), np.uint8)
    labels[2:8, 2:12, 2:12] = 1
    labels[8, 16:18, 16:18] = 1
    return labels


def test_the_boundary_moves_by_millimetres() -> None:
    labels = np.zeros((21, 41, 81), np.uint8)
    labels[8:13, 16:25, 32:49] = 1
    sdm = truncated_distance(labels == 1, SPACING, 10)
    grown = move_boundary(labels, sdm, 4.0)
    assert np.flatnonzero((grown == 1).any(axis=(1, 2)))[[0, -1]].tolist() == [6, 14]
    assert np.flatnonzero((grown == 1).any(axis=(0, 2)))[[0, -1]].tolist() == [12, 28]
    assert np.flatnonzero((grown == 1).any(axis=(0, 1)))[[0, -1]].tolist() == [24, 56]
    shrunk = move_boundary(labels, sdm, -2.0)
    assert np.flatnonzero((shrunk == 1).any(axis=(0, 2)))[[0, -1]].tolist() == [18, 22]
    assert np.array_equal(move_boundary(labels, sdm, 0.0), labels)


def test_one_slice_is_moved_as_the_volume() -> None:
    labels = two_pieces()
    sdm = truncated_distance(labels == 1, SPACING, 10)
    whole = move_boundary(labels, sdm, 1.2)
    assert np.array_equal(move_boundary(labels[5], sdm[5], 1.2), whole[5])


def test_only_the_largest_piece_stays() -> None:
    labels = two_pieces()
    labels[0, 0, 0] = 2
    kept = replace_class(labels, 1, largest_component(labels == 1))
    assert not kept[8].any()
    assert np.array_equal(kept[2:8], labels[2:8])
    assert kept[0, 0, 0] == 2


def test_the_largest_piece_of_each_class_stays() -> None:
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[1:4, 1:4, 1:4] = 3
    labels[6, 6, 6] = 3
    labels[0, 0, 7] = labels[7, 7, 0] = 5
    kept = labels.copy()
    lost = keep_largest_pieces(kept, [3])
    assert np.argwhere(lost).tolist() == [[6, 6, 6]]
    assert kept[6, 6, 6] == 0
    assert np.array_equal(kept[~lost], labels[~lost])
    assert not keep_largest_pieces(kept, [3, 4]).any()
    assert np.count_nonzero(keep_largest_pieces(kept, [5])) == 1


@pytest.mark.parametrize(("beside", "one"), [(0, True), (5, True), (6, False)])
def test_a_speck_beside_a_structure_does_not_make_two_of_it(
    beside: int, one: bool
) -> None:
    inside = np.zeros((12, 10, 10), bool)
    inside[:5] = True  # 500 voxels
    inside[8, 0, :beside] = True
    assert is_one_piece(inside) is one
    assert not is_one_piece(np.zeros_like(inside))


def test_pieces_that_touch_at_a_corner_are_one() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 1, 1] = labels[2, 2, 2] = 1
    assert np.array_equal(largest_component(labels == 1), labels == 1)


@pytest.mark.parametrize(("mm3", "stays"), [(4.0, True), (4.1, False)])
def test_specks_are_measured_in_cubic_millimetres(mm3: float, stays: bool) -> None:
    labels = two_pieces()
    cleaned = replace_class(labels, 1, remove_specks(labels == 1, mm3, SPACING))
    assert cleaned[8].any() == stays
    assert np.array_equal(cleaned[2:8], labels[2:8])


def test_holes_are_filled_but_not_what_lies_in_them() -> None:
    labels = two_pieces()
    labels[4:6, 5:9, 5:9] = 0
    labels[4, 6, 6] = 2
    labels[2, 2:4, 2:4] = 0
    filled = replace_class(labels, 1, fill_holes(labels, 1))
    assert filled[4, 6, 6] == 2
    assert np.count_nonzero(filled[4:6, 5:9, 5:9] == 1) == 31
    assert not filled[2, 2:4, 2:4].any()


def test_smoothing_takes_spikes_and_keeps_the_body() -> None:
    labels = np.zeros((20, 40, 40), np.uint8)
    labels[5:15, 10:30, 10:30] = 1
    labels[10, 30:36, 20] = 1
    smoothed = replace_class(labels, 1, smooth(labels == 1, 2.0, (1, 1, 1)))
    assert not smoothed[10, 32:36, 20].any()
    assert (smoothed[6:14, 12:28, 12:28] == 1).all()
    assert 0.8 < np.count_nonzero(smoothed) / np.count_nonzero(labels) < 1


def test_smoothing_measures_in_millimetres() -> None:
    labels = np.zeros((9, 30, 30), np.uint8)
    labels[4, 5:25, 5:25] = 1
    assert smooth(labels == 1, 1.0, (9.0, 1.0, 1.0)).any()
    assert not smooth(labels == 1, 1.0, (1.0, 1.0, 1.0)).any()


@settings(max_examples=40, deadline=None)
@given(
    labels=arrays(np.uint8, (5, 6, 7), elements=st.sampled_from([0, 1, 1, 2, 3])),
    name=st.sampled_from(sorted(TOOLS)),
)
def test_locked_classes_and_inputs_stay(labels: np.ndarray, name: str) -> None:
    tool: Callable[[np.ndarray, set[int]], np.ndarray] = TOOLS[name]
    before = labels.copy()
    result = tool(labels, {2})
    assert np.array_equal(labels, before)
    assert np.array_equal(result == 2, labels == 2)
    assert set(np.unique(result)) <= set(np.unique(labels)) | {0, 1}
    assert np.array_equal(tool(labels, {1}), labels)


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_an_absent_class_changes_nothing(name: str) -> None:
    labels = np.full((4, 4, 4), 3, np.uint8)
    assert np.array_equal(TOOLS[name](labels, set()), labels)
