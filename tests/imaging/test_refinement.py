"""A network that is wrong in a way that its own features tell."""

from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.prediction import LOWEST_LOG, FeatureMaps
from napari_semiseg.imaging.refinement import refine_labels

GRID = (24, 20, 28)


def in_8_bits(maps: np.ndarray) -> np.ndarray:
    low, high = maps.min(), maps.max()
    return np.round((maps - low) / (high - low) * 255).astype(np.uint8)


def pooled(maps: np.ndarray) -> np.ndarray:
    f, z, y, x = maps.shape
    return maps.reshape(f, z // 2, 2, y // 2, 2, x // 2, 2).mean(axis=(2, 4, 6))


def world(scale: int = 1) -> tuple[FeatureMaps, np.ndarray, np.ndarray]:
    """Maps, what the network says, and the truth on a grid ``scale`` times as fine.

    Class 3 is a ball. The network calls a part of it class 7, and does not see a rod
    beside it at all; noisy features of two levels tell both.
    """
    rng = np.random.default_rng(0)
    z, y, x = np.indices(GRID).astype(float)
    ball = (z - 12) ** 2 + (y - 10) ** 2 + (x - 10) ** 2 < 49
    rod = (y - 10) ** 2 + (x - 22) ** 2 < 9
    mistaken = ball & (y > 11)
    truth = np.where(ball, 3, np.where(rod, 7, 0))
    said = np.where(mistaken, 7, np.where(ball, 3, 0))
    p = np.stack([np.where(said == value, 0.8, 0.1) for value in (0, 3, 7)])
    logs = np.maximum(np.log(p), LOWEST_LOG)
    fine = np.stack([mistaken, rod, *rng.normal(size=(3, *GRID))]).astype(float)
    fine += rng.normal(0, 0.1, fine.shape)
    coarse = pooled(np.stack([rod, ball, z + y, z * x]).astype(float))
    maps = FeatureMaps(
        np.round((1 - logs / LOWEST_LOG) * 255).astype(np.uint8),
        (
            np.stack([in_8_bits(one) for one in coarse]),
            np.stack([in_8_bits(one) for one in fine]),
        ),
        ((2.0, 2.0, 2.0), (1.0, 1.0, 1.0)),
    )
    sizes = (scale, scale, scale)
    return maps, *(
        np.kron(one, np.ones(sizes)).astype(np.uint8) for one in (said, truth)
    )


def correct(truth: np.ndarray, *slices: int) -> np.ndarray:
    corrected = np.full(truth.shape, 255, np.uint8)
    corrected[list(slices)] = truth[list(slices)]
    return corrected


def error(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask != truth).sum() / (truth > 0).sum())


@pytest.mark.parametrize(("scale", "index"), [(1, 12), (2, 25)])
def test_one_corrected_slice_corrects_its_neighbours(scale, index) -> None:
    maps, said, truth = world(scale)
    corrected = correct(truth, index)
    refined = refine_labels(maps, said, corrected, (3, 7))
    near = slice(6 * scale, 19 * scale)
    assert error(said[near], truth[near]) > 0.4
    assert error(refined[near], truth[near]) < 0.08
    assert np.array_equal(refined[index], truth[index])
    assert refined.dtype == np.uint8


def test_strokes_correct_too_and_win_where_they_are() -> None:
    maps, said, truth = world()
    corrected = np.full(GRID, 255, np.uint8)
    corrected[12, 10, :] = truth[12, 10, :]
    corrected[12, 15, 8:13] = 3
    corrected[2, 2, 2] = 7
    refined = refine_labels(maps, said, corrected, (3, 7))
    near = slice(7, 18)
    assert error(refined[near], truth[near]) < 0.5 * error(said[near], truth[near])
    assert refined[2, 2, 2] == 7


def test_what_is_far_stays() -> None:
    maps, said, truth = world()
    refined = refine_labels(maps, said, correct(truth, 2), (3, 7))
    assert np.array_equal(refined[15:], said[15:])
    assert not np.array_equal(refined[:15], said[:15])


def test_a_class_that_a_corrected_slice_lacks_stays_in_the_others() -> None:
    maps, said, truth = world()
    corrected = correct(truth, 7)
    corrected[7][corrected[7] == 3] = 0
    refined = refine_labels(maps, said, corrected, (3, 7))
    assert (refined[11:] == 3).sum() > 0.9 * (said[11:] == 3).sum()


def test_confirming_the_prediction_changes_next_to_nothing() -> None:
    maps, said, _ = world()
    refined = refine_labels(maps, said, correct(said, 8, 12), (3, 7))
    assert error(refined, said) < 0.02


def test_without_corrections_it_is_the_prediction_and_the_same_each_time() -> None:
    maps, said, truth = world()
    nothing = np.full(GRID, 255, np.uint8)
    assert np.array_equal(refine_labels(maps, said, nothing, (3, 7)), said)
    twice = [refine_labels(maps, said, correct(truth, 9), (3, 7)) for _ in range(2)]
    assert np.array_equal(*twice)


def test_logits_and_position_alone_will_do() -> None:
    """A network of another package may have no decoder whose maps are known."""
    maps, said, truth = world()
    bare = FeatureMaps(maps.log_probabilities)
    corrected = correct(truth, 12)
    refined = refine_labels(bare, said, corrected, (3, 7))
    assert np.array_equal(refined[12], truth[12])
    near = slice(11, 14)
    assert error(said[near], truth[near]) > 0.4
    assert error(refined[near], truth[near]) < 0.1
