"""Layouts that others agreed on, and the pairing of images and masks by name."""

from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.errors import ProjectError
from napari_semiseg.project.discovery.dataset_layouts import bids_mask_of
from napari_semiseg.project.importing.match_masks import attach
from synthetic import ball, save_nifti, snapshot


def noise(number):
    return np.random.default_rng(number).normal(0, 9, (24, 24, 24)).astype(np.float32)


def test_nnunet_raw_data_sets_bring_images_of_one_channel_and_their_masks(
    empty_project, tmp_path
):
    root = tmp_path / "Dataset007_Atrium"
    for number, name in enumerate("ba"):
        save_nifti(root / "imagesTr" / f"{name}_0000.nii.gz", noise(number))
        save_nifti(root / "labelsTr" / f"{name}.nii.gz", ball(number))
    save_nifti(root / "imagesTs" / "c_0000.nii.gz", noise(2))
    report = empty_project.add(root)
    assert report.added == ["a", "b", "c"]
    assert report.masks["a"] == root / "labelsTr" / "a.nii.gz"
    assert empty_project.case("c").split == "test"
    assert attach(empty_project, root).added == ["a", "b"]
    label = empty_project.case("a").read_label()
    assert np.array_equal(empty_project.case("a").geometry.to_native(label), ball(1))


def test_decathlon_data_sets_have_names_without_channels(empty_project, tmp_path):
    save_nifti(tmp_path / "Task04" / "imagesTr" / "hip_001.nii.gz", noise(0))
    save_nifti(tmp_path / "Task04" / "imagesTr" / "._hip_001.nii.gz", noise(0))
    save_nifti(tmp_path / "Task04" / "labelsTr" / "hip_001.nii.gz", ball(0))
    assert empty_project.add(tmp_path / "Task04").added == ["hip_001"]
    assert attach(empty_project, tmp_path / "Task04").added == ["hip_001"]


def test_bids_derivatives_go_by_entities(empty_project, tmp_path):
    root = tmp_path / "bids"
    root.mkdir()
    (root / "dataset_description.json").write_text("{}", encoding="utf-8")
    for number in (1, 2):
        anat = root / f"sub-0{number}" / "ses-1" / "anat"
        stem = f"sub-0{number}_ses-1"
        save_nifti(anat / f"{stem}_T1w.nii.gz", noise(number))
        beside = root / "derivatives" / "manual" / f"sub-0{number}" / "anat"
        save_nifti(beside / f"{stem}_space-T1w_desc-x_dseg.nii.gz", ball(number))
    report = empty_project.add(root)
    assert report.added == ["sub-01_ses-1_T1w", "sub-02_ses-1_T1w"]
    assert len(report.masks) == 2
    labelled = attach(empty_project, root / "derivatives")
    assert labelled.added == report.added
    assert "sub-02_ses-1_space" in labelled.paths["sub-02_ses-1_T1w"].name


@pytest.mark.parametrize(
    ("image", "mask", "fits"),
    [
        ("sub-01_T1w", "sub-01_dseg", True),
        ("sub-01_T1w", "sub-01_space-T1w_label-tumour_mask", True),
        ("sub-01_T2w", "sub-01_space-T1w_mask", False),
        ("sub-01_T1w", "sub-010_dseg", False),
        ("sub-01_ses-2_T1w", "sub-01_dseg", False),
        ("sub-01_T1w", "sub-01_T1w", False),
        ("case", "case", False),
    ],
)
def test_entities(image, mask, fits):
    assert bids_mask_of(image, mask) is fits


def test_a_mask_that_fits_two_images_goes_to_neither(empty_project, tmp_path):
    for suffix in ("T1w", "T2w"):
        save_nifti(tmp_path / "raw" / f"sub-01_{suffix}.nii.gz", noise(1))
    save_nifti(tmp_path / "masks" / "sub-01_dseg.nii.gz", ball(1))
    empty_project.add(tmp_path / "raw")
    before = snapshot(empty_project.folder)
    with pytest.raises(ProjectError, match="both fit its name"):
        attach(empty_project, tmp_path / "masks")
    assert snapshot(empty_project.folder) == before


def test_a_dry_run_shows_the_pairs_and_writes_nothing(empty_project, spheres):
    before = snapshot(empty_project.folder)
    report = empty_project.add(spheres.images, dry_run=True)
    assert report.added == list(spheres.ids)
    assert report.paths["case_3"] == spheres.images / "case_3.nii.gz"
    assert snapshot(empty_project.folder) == before
    empty_project.add(spheres.images)
    before = snapshot(empty_project.folder)
    pairs = attach(empty_project, spheres.masks, dry_run=True).paths
    assert pairs["case_3"] == spheres.masks / "case_3.nii.gz"
    assert snapshot(empty_project.folder) == before


def test_a_mask_on_another_grid_is_resampled_only_where_allowed(
    empty_project, spheres, tmp_path
):
    empty_project.add(spheres.images / "case_0.nii.gz")
    # The same ball at half the distance of voxels, and the upper half of the image.
    import nibabel

    whole = nibabel.load(spheres.masks / "case_0.nii.gz")
    fine = np.repeat(np.repeat(ball(0), 2, axis=0), 2, axis=1)[:, :, 10:]
    affine = whole.affine @ np.diag([0.5, 0.5, 1, 1])
    affine[:3, 3] = (whole.affine @ [-0.25, -0.25, 10, 1])[:3]
    (tmp_path / "fine").mkdir()
    nibabel.save(nibabel.Nifti1Image(fine, affine), tmp_path / "fine" / "case_0.nii.gz")
    with pytest.raises(Exception, match="--resample nearest"):
        attach(empty_project, tmp_path / "fine")
    attach(empty_project, tmp_path / "fine", resample=True)
    case = empty_project.case("case_0")
    native = case.geometry.to_native(case.read_label())
    assert np.array_equal(native[:, :, 10:], ball(0)[:, :, 10:])
    assert (native[:, :, :10] == 255).all()
    assert case.record.history[-1].resampled == "nearest"
