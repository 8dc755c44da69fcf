"""The real volumes, where they are at hand; see `real_data` for where that is."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from napari_semiseg.io.images import find_images, read_geometry, read_image
from napari_semiseg.io.masks import read_labels, write_labels
from real_data import data_folder

pytestmark = pytest.mark.data


@pytest.mark.parametrize("name", ["CT", "MR_T1", "PET"])
def test_dicom_series_equal_their_nifti_references(name):
    folder = data_folder("FORMATS") / "dicom_rtstruct" / "STS_025" / name
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
    folder = data_folder(name)
    images = find_images(folder / "imagesTr")
    # `fetch_scans` brings all 260 hippocampi.
    assert len(images) in {"LA": (80,), "Hippocampus": (200, 260)}[name]
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
