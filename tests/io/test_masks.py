from __future__ import annotations

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_semiseg.errors import ImageError
from napari_semiseg.io.images import read_geometry
from napari_semiseg.io.masks import read_labels, write_labels

AFFINE = np.diag([-0.7, 0.7, 3.0, 1.0])
SHAPE = (5, 6, 7)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.nii.gz"
    nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), AFFINE).to_filename(path)
    return path


@pytest.fixture
def geometry(image):
    return read_geometry(image)[0]


def save(path, data, affine=AFFINE):
    nibabel.Nifti1Image(data, affine).to_filename(path)
    return path


def refused(path, geometry):
    with pytest.raises(ImageError) as caught:
        read_labels(path, geometry)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "expected" in message
    assert "found" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "f4", "f8", ">i2"])
def test_whole_numbers_of_any_type_are_labels(tmp_path, geometry, dtype):
    data = np.random.default_rng(0).integers(0, 5, SHAPE).astype(dtype)
    labels = read_labels(save(tmp_path / "m.nii.gz", data), geometry)
    assert labels.dtype == np.uint8
    assert labels.flags.c_contiguous
    assert np.array_equal(geometry.to_native(labels), data)


def test_scaled_whole_numbers_are_labels(tmp_path, geometry):
    mask = nibabel.Nifti1Image(np.full(SHAPE, 85, np.uint8), AFFINE)
    mask.header.set_slope_inter(1 / 85, 1)
    mask.to_filename(tmp_path / "m.nii.gz")
    assert np.unique(read_labels(tmp_path / "m.nii.gz", geometry)).tolist() == [2]


def test_refuses_values_that_are_no_labels(tmp_path, geometry):
    path = tmp_path / "m.nii.gz"
    half = np.zeros(SHAPE, np.float32)
    half[1, 1, 1] = 0.5
    assert "found 0.5" in refused(save(path, half), geometry)
    half[1, 1, 1] = np.nan
    assert "found nan" in refused(save(path, half), geometry)
    assert "0 to 256" in refused(
        save(path, np.where(half > -1, 0, 256).astype(np.int16)), geometry
    )
    assert "-1 to -1" in refused(save(path, np.full(SHAPE, -1, np.int16)), geometry)
    assert "1e+09" in refused(save(path, np.full(SHAPE, 1e9, np.float32)), geometry)


def test_the_same_grid_in_another_axis_order_is_turned(tmp_path, geometry):
    data = np.random.default_rng(1).integers(0, 3, SHAPE).astype(np.uint8)
    save(tmp_path / "m.nii.gz", data)
    turned = nibabel.load(tmp_path / "m.nii.gz").as_reoriented(
        nibabel.orientations.axcodes2ornt(
            ("S", "R", "P"), (("L", "R"), ("P", "A"), ("I", "S"))
        )
    )
    turned.to_filename(tmp_path / "turned.nii.gz")
    assert nibabel.load(tmp_path / "turned.nii.gz").shape != SHAPE
    expected = read_labels(tmp_path / "m.nii.gz", geometry)
    assert np.array_equal(read_labels(tmp_path / "turned.nii.gz", geometry), expected)


@pytest.mark.parametrize("turn", [1e-5, -1e-5])
def test_rounding_at_45_degrees_does_not_exchange_axes(tmp_path, turn):
    def tilted(degrees):
        affine = np.eye(4)
        rotation = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
        affine[:3, :3] = rotation * (1, 1.5, 2)
        return affine

    data = np.random.default_rng(2).integers(0, 3, SHAPE).astype(np.uint8)
    image = save(tmp_path / "image.nii.gz", data, tilted(45 + turn))
    geometry, _ = read_geometry(image)
    mask = save(tmp_path / "mask.nii.gz", data, tilted(45 - turn))
    assert read_geometry(mask)[0].axes != geometry.axes
    assert np.array_equal(geometry.to_native(read_labels(mask, geometry)), data)


def test_refuses_another_grid_with_the_difference(tmp_path, geometry):
    path = tmp_path / "m.nii.gz"
    message = refused(save(path, np.zeros((5, 6, 8), np.uint8)), geometry)
    assert "shape (z, y, x) (8, 6, 5) instead of (7, 6, 5)" in message
    moved = AFFINE.copy()
    moved[2, 3] = 1.5
    message = refused(save(path, np.zeros(SHAPE, np.uint8), moved), geometry)
    assert "1.5 mm apart" in message
    mirrored = AFFINE.copy()
    mirrored[0] *= -1
    refused(save(path, np.zeros(SHAPE, np.uint8), mirrored), geometry)
    coarser = AFFINE * [1.1, 1, 1, 1]
    refused(save(path, np.zeros(SHAPE, np.uint8), coarser), geometry)


def test_rounded_directions_are_the_same_grid(tmp_path, geometry):
    nearly = AFFINE + 1e-4
    nearly[3] = 0, 0, 0, 1
    path = save(tmp_path / "m.nii.gz", np.zeros(SHAPE, np.uint8), nearly)
    assert read_labels(path, geometry).shape == geometry.shape_zyx


def test_does_not_write_what_does_not_fit(tmp_path, image, geometry):
    target = tmp_path / "m.nii.gz"
    with pytest.raises(ImageError, match=r"expected shape.*\(7, 6, 5\).*\(5, 6, 7\)"):
        write_labels(target, np.zeros(SHAPE, np.uint8), geometry, image)
    with pytest.raises(ImageError, match="0 to 255"):
        write_labels(target, np.full(geometry.shape_zyx, 300), geometry, image)
    with pytest.raises(ImageError, match="expected a file name ending"):
        write_labels(
            tmp_path / "m.png", np.zeros(geometry.shape_zyx, np.uint8), geometry, image
        )
    save(image, np.zeros((5, 6, 9), np.uint8))
    with pytest.raises(ImageError, match=r"shape \(5, 6, 7\).*\(5, 6, 9\)"):
        write_labels(target, np.zeros(geometry.shape_zyx, np.uint8), geometry, image)
    flipped = np.diag([0.7, 0.7, 3.0, 1.0])
    save(image, np.zeros(SHAPE, np.uint8), flipped)
    with pytest.raises(ImageError, match="put the original back"):
        write_labels(target, np.zeros(geometry.shape_zyx, np.uint8), geometry, image)
    assert not target.exists()


def test_boolean_masks_are_written(tmp_path, image, geometry):
    mask = np.zeros(geometry.shape_zyx, bool)
    mask[2:4, 1, 1] = True
    write_labels(tmp_path / "m.nii.gz", mask, geometry, image)
    assert np.array_equal(read_labels(tmp_path / "m.nii.gz", geometry), mask)
