from __future__ import annotations

import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.spatial.transform import Rotation

from napari_semiseg.core.geometry import Geometry
from napari_semiseg.errors import ImageError


@st.composite
def grids(draw):
    shape = draw(st.tuples(*[st.integers(2, 7)] * 3))
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] = turn * draw(st.tuples(*[st.floats(0.01, 30)] * 3))
    if draw(st.booleans()):
        affine[:3, 0] *= -1
    affine[:3, 3] = draw(st.tuples(*[st.floats(-3000, 3000)] * 3))
    return shape, affine


@settings(deadline=None, max_examples=200)
@given(grids())
def test_there_and_back_moves_no_voxel(grid):
    shape, affine = grid
    geometry = Geometry.from_native(shape, affine)
    native = np.arange(np.prod(shape)).reshape(shape)
    canonical = geometry.to_canonical(native)
    assert canonical.shape == geometry.shape_zyx
    assert geometry.native_shape == shape
    assert np.array_equal(geometry.to_native(canonical), native)
    assert np.allclose(geometry.native_affine, affine, atol=1e-9)
    # The voxel with a number lies at one place, whichever order it is indexed in.
    for number in (0, native.size // 3, native.size - 1):
        there = affine @ (*np.argwhere(native == number)[0], 1)
        back = geometry.affine @ (*np.argwhere(canonical == number)[0], 1)
        assert np.allclose(there, back, atol=1e-8)


@settings(deadline=None, max_examples=100)
@given(grids())
def test_json_round_trips(grid):
    geometry = Geometry.from_native(*grid)
    again = Geometry.from_json(json.loads(json.dumps(geometry.to_json())))
    assert again.difference(geometry, 0) is None
    assert (again.axes, again.flips) == (geometry.axes, geometry.flips)


def test_canonical_axes_grow_to_superior_posterior_left():
    geometry = Geometry.from_native((2, 3, 4), np.diag([1.0, 2.0, 3.0, 1.0]))
    assert geometry.shape_zyx == (4, 3, 2)
    assert geometry.spacing_mm == (3, 2, 1)
    assert np.array_equal(geometry.affine[:3, 0], [0, 0, 3])
    assert np.array_equal(geometry.affine[:3, 1], [0, -2, 0])
    assert np.array_equal(geometry.affine[:3, 2], [-1, 0, 0])
    assert geometry.voxel_ml == pytest.approx(0.006)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_any_voxel_size_will_do(size):
    affine = np.diag([size, size, size, 1.0])
    assert Geometry.from_native((2, 2, 2), affine).spacing_mm == (size,) * 3


@pytest.mark.parametrize(
    "affine",
    [np.diag([1.0, 1, 0, 1]), np.full((4, 4), np.nan), np.ones((4, 4))],
)
def test_refuses_an_affine_that_collapses(affine):
    with pytest.raises(ImageError, match="three directions"):
        Geometry.from_native((2, 2, 2), affine)


def test_refuses_what_is_not_3d():
    with pytest.raises(ImageError, match=r"\(2, 2\)"):
        Geometry.from_native((2, 2), np.eye(4))


def test_difference_is_said_in_words():
    one = Geometry.from_native((4, 5, 6), np.eye(4))
    assert one.difference(one) is None
    assert "(6, 5, 4)" in one.difference(Geometry.from_native((4, 5, 7), np.eye(4)))
    moved = np.eye(4)
    moved[0, 3] = 2.5
    assert "2.5 mm" in one.difference(Geometry.from_native((4, 5, 6), moved))
    moved[0, 3] = 0.005
    assert one.difference(Geometry.from_native((4, 5, 6), moved)) is None


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_half_a_voxel_is_another_place_however_small_it_is(size):
    affine = np.diag([size, size, size, 1.0])
    one = Geometry.from_native((4, 5, 6), affine)
    for part, same in ((0.01, True), (0.5, False)):
        moved = affine.copy()
        moved[0, 3] = part * size
        other = Geometry.from_native((4, 5, 6), moved)
        assert (one.difference(other) is None) is same


def test_axes_follow_another_grid_where_asked():
    turn = Rotation.from_euler("z", 45 + 1e-5, degrees=True).as_matrix()
    other = Rotation.from_euler("z", 45 - 1e-5, degrees=True).as_matrix()
    one, near = np.eye(4), np.eye(4)
    one[:3, :3], near[:3, :3] = turn, other
    image = Geometry.from_native((4, 5, 6), one)
    assert Geometry.from_native((4, 5, 6), near).axes != image.axes
    alike = Geometry.from_native((4, 5, 6), near, like=image)
    assert (alike.axes, alike.flips) == (image.axes, image.flips)
    assert image.difference(alike) is None
