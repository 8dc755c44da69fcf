from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from napari_semiseg.imaging.distance import (
    distance_outside,
    signed_distance,
    truncated_distance,
)

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=3, max_side=9))
SIZES = st.lists(st.floats(0.1, 8), min_size=3, max_size=3)
NOTHING = np.zeros((3, 4, 5), bool)
SPACING = (2.0, 1.0, 0.5)


def reference(inside: np.ndarray, spacing: list[float]) -> np.ndarray:
    """The same by another exact transform, one side after the other, in float64."""
    half = 0.5 * min(spacing)
    outer = ndimage.distance_transform_edt(~inside, sampling=spacing) - half
    inner = ndimage.distance_transform_edt(inside, sampling=spacing) - half
    return np.where(inside, -inner, outer)


@settings(max_examples=200, deadline=None)
@given(mask=MASKS, sizes=SIZES, limit=st.floats(0.2, 20), order=st.sampled_from("CF"))
def test_distances_are_exact_in_any_grid(
    mask: np.ndarray, sizes: list[float], limit: float, order: str
) -> None:
    inside, spacing = np.array(mask, order=order), sizes[: mask.ndim]
    found = signed_distance(inside, spacing)
    assert found.dtype == np.float32
    cut = truncated_distance(inside, spacing, limit)
    if inside.all() or not inside.any():
        sign = -1 if inside.all() else 1
        assert (found == sign * np.inf).all()
        assert np.allclose(cut, sign * limit)
        return
    exact = reference(inside, spacing)
    assert np.allclose(found, exact, rtol=1e-5, atol=1e-5)
    assert np.allclose(cut, exact.clip(-limit, limit), rtol=1e-5, atol=1e-5)
    assert np.array_equal(distance_outside(inside, spacing), found.clip(min=0))
    assert np.array_equal(found < 0, inside)


def test_every_second_voxel_of_an_array_is_a_mask_as_well() -> None:
    wide = np.zeros((6, 12, 8), bool)
    wide[2:4, 4:8, 2:6] = True
    every_second = wide[:, ::2, ::-1]
    assert np.array_equal(
        signed_distance(every_second, SPACING),
        signed_distance(every_second.copy(), SPACING),
    )


def test_the_sign_changes_between_two_voxels() -> None:
    inside = np.zeros((5, 9), bool)
    inside[:, 4:] = True
    assert signed_distance(inside, (1, 1))[2].tolist() == [
        -x for x in (-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5)
    ]


def test_nothing_is_far_from_everywhere() -> None:
    assert (truncated_distance(NOTHING, SPACING, 7) == 7).all()
    assert (truncated_distance(~NOTHING, SPACING, 7) == -7).all()
    assert np.isposinf(distance_outside(NOTHING, SPACING)).all()
    assert (distance_outside(~NOTHING, SPACING) == 0).all()
