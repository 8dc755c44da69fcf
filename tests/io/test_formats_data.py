"""Each item of the torture set: what a second library reads, or a refusal by name."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.errors import ImageError
from napari_semiseg.io.dicom.segmentation import write_segmentation
from napari_semiseg.io.dicom.series import instances, series_of
from napari_semiseg.io.dicom.structures import series_uid
from napari_semiseg.io.images import content_sha256, find_images, read_image
from napari_semiseg.io.masks import read_labels, write_labels
from napari_semiseg.io.registry import Mask
from napari_semiseg.io.structures import (
    open_structures,
    read_structures,
)
from real_data import ROOT, data_folder

pytestmark = pytest.mark.data

REFUSED = {
    "odd/X39.nii.gz": "2D data of shape (110, 64)",
    "odd/img4d_11f.nii.gz": "4D data of shape (38, 35, 38, 11)",
    "odd/seg4d_11f.nii.gz": "4D data of shape (38, 35, 38, 11)",
    "odd/tensor_rgb.nii.gz": "5D data of shape (36, 36, 20, 1, 3)",
    "odd/nan.mha": "NaN or infinite",
}
"""Whole files that are no single finite 3D volume, and what is said of them."""


def manifest():
    """Items by a readable name; a single None where the data are absent."""
    file = ROOT / "FORMATS" / "manifest.json"
    items = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else [None]
    names = [
        f"{item['path']} {item.get('series', '')}".strip() if item else "absent"
        for item in items
    ]
    return [pytest.param(i, id=name) for i, name in zip(items, names, strict=True)]


def located(item):
    """Where the image of an item lies, as the package refers to it."""
    path = data_folder("FORMATS") / item["path"]
    if (path / "image").is_dir():
        return path / "image"
    if not item.get("series"):
        return path
    (image,) = [
        image
        for image in find_images(path, ["all"])
        if series_uid(image).endswith(item["series"])
    ]
    return image


def read_elsewhere(path):
    """Voxels (I, J, K) and affine to RAS of an image, by another reader than ours."""
    lps = np.diag([-1.0, -1, 1, 1])
    if path.is_dir() or path.suffix == ".dcm":
        files, _ = instances(path)
        slices = [pydicom.dcmread(file) for file in files]
        planes = [
            item.pixel_array.T * float(item.get("RescaleSlope", 1))
            + float(item.get("RescaleIntercept", 0))
            for item in slices
        ]
        first, last = slices[0], slices[-1]
        across, down = np.reshape(
            np.array(first.ImageOrientationPatient, float), (2, 3)
        )
        affine = np.eye(4)
        affine[:3, 0] = across * float(first.PixelSpacing[1])
        affine[:3, 1] = down * float(first.PixelSpacing[0])
        origin = np.array(first.ImagePositionPatient, float)
        end = np.array(last.ImagePositionPatient, float)
        affine[:3, 2] = (end - origin) / (len(files) - 1)
        affine[:3, 3] = origin
        return np.stack(planes, axis=-1), lps @ affine
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, lps @ affine


@pytest.mark.parametrize("item", manifest())
def test_an_item_is_read_exactly_or_refused_in_a_sentence(item, tmp_path):
    data_folder("FORMATS")
    path = located(item)
    # Files that neither library read when the manifest was made are empty.
    unread = "sitk_error" in item and "nib_error" in item
    if unread or item["path"] in REFUSED:
        with pytest.raises(ImageError) as caught:
            read_image(path)
        message = str(caught.value)
        assert REFUSED.get(item["path"], "expected") in message
        assert str(path) in message
        assert "\n" not in message
        return
    image = read_image(path)
    geometry = image.geometry
    native = geometry.to_native(image.data)
    assert list(native.shape) == item["shape"]
    if "affine" in item:
        assert np.allclose(geometry.native_affine, item["affine"], atol=1e-3)
    voxels, affine = read_elsewhere(path)
    assert np.allclose(geometry.native_affine, affine, atol=2e-4)
    if voxels.dtype.kind == "f":
        assert np.allclose(native, voxels, rtol=1e-6, atol=1e-4)
    else:
        assert np.array_equal(native, voxels)
    # A mask on it, as two other libraries see it.
    labels = (image.data > image.data.mean()).astype(np.uint8) * 3
    for suffix in (".nii.gz", ".nrrd") if labels.size < 2e7 else (".nii.gz",):
        target = tmp_path / f"mask{suffix}"
        write_labels(target, labels, geometry, path)
        found, where = read_elsewhere(target)
        assert np.array_equal(found, geometry.to_native(labels))
        assert np.allclose(where, affine, atol=2e-4)
        assert np.array_equal(read_labels(target, geometry), labels)
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj), geometry.to_native(labels))
    assert np.allclose(mask.affine, affine, atol=2e-4)


def test_two_series_in_one_folder_are_listed_and_told_apart():
    folder = data_folder("FORMATS") / "dicom_oblique_two_series_one_folder"
    with pytest.raises(ImageError) as caught:
        read_image(folder)
    for words in (
        "11 'T1post' (2020-",
        "36468 'FLAIR_reg' (2020-",
        "22 files",
        "--series",
    ):
        assert words in str(caught.value)
    assert "Dumbledore" not in str(caught.value)
    (first,) = find_images(folder, ["t1post"])
    (second,) = find_images(folder, ["36468"])
    assert content_sha256(first) != content_sha256(second)
    assert not np.array_equal(read_image(first).data, read_image(second).data)


@pytest.mark.parametrize("name", ["CT", "MR_T1", "PET"])
def test_contours_fill_the_reference_masks(name):
    folder = data_folder("FORMATS") / "dicom_rtstruct" / "STS_025" / name
    image = read_image(folder / "image")
    reference = read_labels(folder / "reference_mask.nii.gz", image.geometry) > 0
    file = open_structures(folder / "RS.dcm")
    assert file.series == {series_uid(folder / "image")}
    (roi,) = file.names
    filled = read_structures(file, [roi], image.geometry)[roi]
    common = np.count_nonzero(filled & reference)
    assert 2 * common / (filled.sum() + reference.sum()) >= 0.99


def test_a_segmentation_of_a_real_series_comes_back(tmp_path):
    folder = data_folder("FORMATS") / "dicom_rtstruct" / "STS_025" / "MR_T1"
    image = read_image(folder / "image")
    labels = read_labels(folder / "reference_mask.nii.gz", image.geometry)
    classes = LabelScheme.parse(["1=Neoplasm"]).classes
    target = tmp_path / "seg.dcm"
    write_segmentation(target, Mask(labels, image.geometry, folder / "image", classes))
    file = open_structures(target)
    found = read_structures(file, ["Neoplasm"], image.geometry)["Neoplasm"]
    assert np.array_equal(found, labels == 1)


def test_a_lossless_series_without_identifiers_cannot_be_referred_to(tmp_path):
    folder = data_folder("FORMATS") / "dicom_ct_jpeg2000"
    (series,) = series_of(folder)
    assert (series.uid, len(series.files)) == ("", 20)
    image = read_image(folder)
    labels = (image.data > 200).astype(np.uint8)
    classes = LabelScheme.parse(["1=Bone"]).classes
    with pytest.raises(ImageError, match="that a SEG can refer to"):
        write_segmentation(
            tmp_path / "seg.dcm", Mask(labels, image.geometry, folder, classes)
        )
    assert list(tmp_path.iterdir()) == []
