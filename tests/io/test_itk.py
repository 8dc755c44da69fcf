from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from napari_semiseg.errors import ImageError
from napari_semiseg.io.images import read_geometry, read_image
from napari_semiseg.io.masks import read_labels, write_labels

DIRECTION = Rotation.from_euler("xyz", (8, -12, 100), degrees=True).as_matrix()


def volume(dtype=np.int16, components=()):
    data = np.arange(4 * 5 * 6 * int(np.prod(components))).astype(dtype)
    image = sitk.GetImageFromArray(
        data.reshape(4, 5, 6, *components), isVector=bool(components)
    )
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-10.5, 20.25, 33))
    image.SetDirection(DIRECTION.ravel().tolist())
    return image


@pytest.fixture(params=["nrrd", "mha", "nhdr", "mhd"])
def path(request, tmp_path):
    target = tmp_path / f"image.{request.param}"
    sitk.WriteImage(volume(), str(target))
    return target


def test_voxels_lie_where_itk_says(path):
    source = sitk.ReadImage(str(path))
    image = read_image(path)
    assert image.data.dtype == np.int16
    for index in ((0, 0, 0), (5, 4, 3), (2, 0, 1)):
        world = np.array(source.TransformIndexToPhysicalPoint(index)) * (-1, -1, 1)
        voxel = np.linalg.solve(image.geometry.affine, (*world, 1))[:3]
        assert np.allclose(voxel, np.rint(voxel), atol=1e-6)
        assert image.data[tuple(np.rint(voxel).astype(int))] == source[index]


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
def test_masks_lie_on_the_image(path, tmp_path, suffix):
    image = read_image(path)
    labels = (image.data % 4).astype(np.uint8)
    target = tmp_path / f"mask{suffix}"
    write_labels(target, labels, image.geometry, path)
    assert np.array_equal(read_labels(target, image.geometry), labels)
    mask, source = sitk.ReadImage(str(target)), sitk.ReadImage(str(path))
    assert mask.GetPixelID() == sitk.sitkUInt8
    assert mask.GetSize() == source.GetSize()
    tolerance = 1e-5 if suffix == ".nii.gz" else 1e-12
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(mask, name)() == pytest.approx(
            getattr(source, name)(), abs=tolerance
        )


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_masks_of_nifti_images_can_be_written_for_itk(tmp_path, suffix):
    affine = np.diag([-1.5, 2, 3, 1.0])
    affine[:3, 3] = 4, 5, 6
    source = tmp_path / "image.nii.gz"
    data = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nibabel.Nifti1Image(data, affine).to_filename(source)
    geometry, _ = read_geometry(source)
    labels = geometry.to_canonical(data % 3).astype(np.uint8)
    target = tmp_path / f"mask{suffix}"
    write_labels(target, labels, geometry, source)
    itk_grid = sitk.ReadImage(str(source))
    mask = sitk.ReadImage(str(target))
    assert mask.GetDirection() == pytest.approx(itk_grid.GetDirection(), abs=1e-6)
    assert mask.GetOrigin() == pytest.approx(itk_grid.GetOrigin(), abs=1e-5)
    assert mask.GetSpacing() == pytest.approx(itk_grid.GetSpacing(), abs=1e-6)
    assert np.array_equal(read_labels(target, geometry), labels)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (volume(np.uint8, (3,)), "3 (colours or vectors)"),
        (sitk.Cast(volume(np.float32), sitk.sitkComplexFloat32), "complex"),
        (sitk.Cast(volume(), sitk.sitkFloat32) / 0, "NaN or infinite"),
        (volume()[:, :, 1], "2D data"),
        (volume()[:, :, 1:2], "single slice"),
        (sitk.JoinSeries([volume(), volume()]), "4D data"),
    ],
)
def test_refuses_what_is_not_one_grey_volume(tmp_path, image, words):
    path = tmp_path / "image.nrrd"
    sitk.WriteImage(image, str(path))
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reads_a_fourth_axis_of_size_one(tmp_path):
    path = tmp_path / "image.nrrd"
    sitk.WriteImage(sitk.JoinSeries([volume()]), str(path))
    single = tmp_path / "single.nrrd"
    sitk.WriteImage(volume(), str(single))
    image, expected = read_image(path), read_image(single)
    assert np.array_equal(image.data, expected.data)
    assert expected.geometry.difference(image.geometry) is None


def test_refuses_torn_and_empty_files(tmp_path):
    for name in ("image.nrrd", "image.mha"):
        path = tmp_path / name
        sitk.WriteImage(volume(), str(path))
        whole = path.read_bytes()
        for part in (b"", b"text", whole[: len(whole) - 40]):
            path.write_bytes(part)
            with pytest.raises(ImageError, match="whole image file") as caught:
                read_image(path)
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.mha", "NDims = 3\nDimSize = {size}\nElementType = MET_SHORT\n"
                  "ElementSpacing = 1 1 1\nElementDataFile = LOCAL\n"),
        ("a.mhd", "NDims = 3\nDimSize = {size}\nElementType = MET_SHORT\n"
                  "ElementSpacing = 1 1 1\nElementDataFile = a.raw\n"),
        ("a.nrrd", "NRRD0004\ntype: short\ndimension: 3\nsizes: {size}\n"
                   "encoding: gzip\nendian: little\n\n"),
    ],
)  # fmt: skip
def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken(
    tmp_path, name, text
):
    path = tmp_path / name
    path.write_bytes(text.format(size="60000 60000 3000").encode() + bytes(500))
    (tmp_path / "a.raw").write_bytes(bytes(5000))
    with pytest.raises(ImageError, match="of 21600000000000 bytes") as caught:
        read_geometry(path)
    assert "\n" not in str(caught.value)


def test_what_simpleitk_complains_about_is_told_without_addresses_and_the_path(
    tmp_path,
):
    import SimpleITK as sitk

    path = tmp_path / "a.nrrd"
    zeros = np.arange(1000, dtype=np.int16).reshape(10, 10, 10)
    sitk.WriteImage(sitk.GetImageFromArray(zeros), str(path), useCompression=True)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(caught.value).count(str(path)) == 1
    assert "0x" not in str(caught.value)


def test_bzip2_is_refused_by_name_before_any_voxel_is_read(tmp_path):
    path = tmp_path / "a.nrrd"
    path.write_text(
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\n"
        "sizes: 4 4 4\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
        "endian: little\nencoding: bzip2\nspace origin: (0,0,0)\n\n"
    )
    with pytest.raises(ImageError, match="found bzip2; save the image again with gzip"):
        read_geometry(path)
