from __future__ import annotations

import doctest

import numpy as np
import pytest

from napari_semiseg.imaging import sliding_window
from napari_semiseg.imaging.sliding_window import (
    GridSampler,
    gaussian_window,
    predict_planes,
)


@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 40, 33)])
def test_windows_cover_every_voxel(shape):
    seen = np.zeros(shape)
    for box in GridSampler(shape, (16, 16, 16)):
        seen[box] += 1
    assert seen.min() >= 1


def test_the_loop_of_the_docstring_runs():
    assert doctest.testmod(sliding_window) == (0, 7)


def test_window_weight_is_highest_in_the_middle():
    window = gaussian_window((16, 8, 8))
    assert window.shape == (16, 8, 8)
    assert window.min() > 0
    assert np.unravel_index(int(window.argmax()), window.shape)[0] in (7, 8)


def test_a_local_model_is_the_same_in_windows_that_reach_beyond_a_volume():
    """Each window is told where it starts in the volume, also before it."""
    image = np.random.default_rng(0).random((1, 5, 30, 9), np.float32)
    starts = []

    def twice(window, start):
        starts.append(start)
        return 2 * window

    blocks = predict_planes(image, (16, 16, 16), [0.0], twice, lambda window: window[0])
    assert np.allclose(np.concatenate(list(blocks), axis=1), 2 * image, atol=1e-5)
    assert starts == [(-5, y, -3) for y in (0, 7, 14)]
