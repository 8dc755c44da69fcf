"""The real volumes, where they are at hand; see `_data` for where they are sought."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_semiseg.errors import ImageError
from napari_semiseg.io.images import find_images, read_geometry, read_image
from napari_semiseg.io.masks import read_labels, write_labels

pytestmark = pytest.mark.data

REFUSED = {
    "dicom_oblique_two_series_one_folder": "found 2: FLAIR_reg (22 files",
    "odd/X39.nii.gz": "2D data of shape (110, 64)",
    "odd/img4d_11f.nii.gz": "4D data of shape (38, 35, 38, 11)",
    "odd/seg4d_11f.nii.gz": "4D data of shape (38, 35, 38, 11)",
    "odd/tensor_rgb.nii.gz": "5D data of shape (36, 36, 20, 1, 3)",
    "odd/nan.mha": "NaN or infinite",
}
"""Whole files that are no single finite 3D volume, and what is said of them."""


def _data(name):
    """Folder of a data set: below SEMISEG_DATA, or beside the repository."""
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("SEMISEG_DATA", default)) / name
    if not folder.is_dir():
        pytest.skip(f"the real volumes are absent: no folder {folder}")
    return folder


def _itk_affine(item):
    """RAS affine from the spacing and direction that the manifest gives."""
    direction = np.reshape(item["direction"], (3, 3))
    return np.diag([-1, -1, 1]) @ direction * item["spacing"]


def test_each_file_of_the_manifest_reads_as_stated_or_is_refused_in_a_sentence():
    folder = _data("FORMATS")
    items = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    wrong, read, refused = [], 0, 0
    for item in items:
        path = folder / item["path"]
        path = path / "image" if (path / "image").is_dir() else path
        # Files that neither library read when the manifest was made are empty.
        empty = "sitk_error" in item and "nib_error" in item
        try:
            image = read_image(path)
        except ImageError as error:
            words = REFUSED.get(item["path"], "expected" if empty else None)
            if words is None or words not in str(error) or "\n" in str(error):
                wrong.append(str(error))
            refused += 1
            continue
        read += 1
        geometry = image.geometry
        if list(geometry.native_shape) != item["shape"]:
            wrong.append(f"{path}: shape {geometry.native_shape}")
        if "affine" in item:
            fits = np.allclose(geometry.native_affine, item["affine"], atol=1e-3)
        else:
            fits = np.allclose(
                geometry.native_affine[:3, :3], _itk_affine(item), atol=1e-3
            )
        if not fits or item["path"] in REFUSED:
            wrong.append(f"{path}: affine {geometry.native_affine.tolist()}")
    assert wrong == []
    assert read >= 12
    assert read + refused == len(items) == 32


@pytest.mark.parametrize("name", ["CT", "MR_T1", "PET"])
def test_dicom_series_equal_their_nifti_references(name):
    folder = _data("FORMATS") / "dicom_rtstruct" / "STS_025" / name
    assert [path.name for path in find_images(folder)] == [
        "image",
        "reference_image.nii.gz",
        "reference_mask.nii.gz",
    ]
    series = read_image(folder / "image")
    reference = read_image(folder / "reference_image.nii.gz")
    assert series.geometry.difference(reference.geometry, 0.02) is None
    scale = np.abs(reference.data.astype(np.float64)).max()
    assert np.allclose(series.data, reference.data, rtol=0, atol=1e-6 * scale)
    mask = read_labels(folder / "reference_mask.nii.gz", series.geometry)
    assert np.count_nonzero(mask) == {"CT": 9655, "MR_T1": 9655, "PET": 606}[name]


@pytest.mark.parametrize(
    ("name", "values"), [("LA", [0, 1]), ("Hippocampus", [0, 1, 2])]
)
def test_cohorts_read_and_their_masks_round_trip(tmp_path, name, values):
    folder = _data(name)
    images = find_images(folder / "imagesTr")
    assert len(images) == {"LA": 80, "Hippocampus": 200}[name]
    for path in images:
        geometry, notes = read_geometry(path)
        assert notes == ()
        assert min(geometry.shape_zyx) > 10
    for path in images[:: len(images) // 4]:
        image = read_image(path)
        stored = nibabel.load(path)
        native = image.geometry.to_native(image.data)
        assert np.allclose(native, stored.get_fdata(), rtol=1e-6, atol=1e-6)
        if stored.dataobj.slope != 1:
            assert image.data.dtype == np.float32
        source = folder / "labelsTr" / path.name
        labels = read_labels(source, image.geometry)
        assert np.unique(labels).tolist() == values
        target = tmp_path / path.name
        write_labels(target, labels, image.geometry, path)
        mask = nibabel.load(target)
        expected = np.asarray(nibabel.load(source).dataobj)
        assert np.array_equal(np.asarray(mask.dataobj), expected)
        for field in ("dim", "pixdim", "xyzt_units", "qform_code", "sform_code"):
            assert np.array_equal(mask.header[field], stored.header[field])
        assert np.array_equal(mask.affine, stored.affine)
        assert np.array_equal(mask.get_qform(), stored.get_qform())
        assert np.array_equal(mask.get_sform(), stored.get_sform())
