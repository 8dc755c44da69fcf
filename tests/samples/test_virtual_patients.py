"""The virtual patients are different, correctly labelled, and reproducible."""

from __future__ import annotations

import itertools
import sys

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from napari_semiseg.errors import SemisegError
from napari_semiseg.samples.template import Template
from napari_semiseg.samples.virtual_patients import ABOUT, make_cohort, make_patient

pytest.importorskip("nilearn", reason="the demo extra is not installed")


@pytest.fixture(scope="module")
def template() -> Template:
    return Template.load()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory):
    return make_cohort(tmp_path_factory.mktemp("cohort"), n=4, spacing_mm=4.0)


def test_the_target_is_the_pair_of_lateral_ventricles(template: Template) -> None:
    millilitres = template.ventricles.sum() / 1000
    assert 12 < millilitres < 25
    where = np.argwhere(template.ventricles)
    right_left = template.affine[0, 3] + where[:, 0]
    assert right_left.min() < -20
    assert right_left.max() > 20
    inside = template.t1[template.ventricles].mean()
    ring = ndimage.binary_dilation(template.ventricles, iterations=5)
    around = template.t1[ring & ~template.ventricles].mean()
    assert inside < around - 0.1


def test_files_hold_an_image_and_a_mask_on_one_grid(cohort) -> None:
    assert cohort.ids == ["patient_01", "patient_02", "patient_03", "patient_04"]
    assert cohort.labelled == ["patient_01", "patient_02", "patient_03"]
    for image_path, mask_path in zip(cohort.images, cohort.masks, strict=True):
        image, mask = nibabel.load(image_path), nibabel.load(mask_path)
        assert image.get_data_dtype() == np.int16
        assert mask.get_data_dtype() == np.uint8
        assert set(np.unique(mask.dataobj)) == {0, 1}
        assert image.header["sform_code"] == image.header["qform_code"] == 1
        np.testing.assert_array_equal(image.affine, mask.affine)
        np.testing.assert_allclose(image.header.get_zooms(), 4.0)


def test_patients_differ_in_anatomy_and_contrast(template: Template) -> None:
    patients = [make_patient(template, index, spacing_mm=3.0) for index in range(6)]
    volumes = [patient.mask.sum() * 0.027 for patient in patients]
    assert max(volumes) / min(volumes) > 1.4
    for one, other in itertools.pairwise(patients):
        shared = (one.mask & other.mask).sum()
        assert 2 * shared / (one.mask.sum() + other.mask.sum()) < 0.8
        assert np.corrcoef(one.image.ravel(), other.image.ravel())[0, 1] < 0.95


def test_tissue_is_bent_and_never_folded(template: Template) -> None:
    patient = make_patient(template, 0, spacing_mm=3.0)
    slopes = np.stack(
        [np.stack(np.gradient(part, 3.0)) for part in patient.template_mm]
    )
    growth = np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1)))
    assert growth.min() > 0
    moved = patient.template_mm[0, :, 40, 30]
    assert np.abs(np.diff(moved, 2)).max() > 0.01


def test_the_mask_marks_dark_fluid_in_the_image(template: Template) -> None:
    patient = make_patient(template, 1, spacing_mm=2.0)
    mask = patient.mask > 0
    ring = ndimage.binary_dilation(mask, iterations=3) & ~mask
    assert patient.image[mask].mean() < 0.9 * patient.image[ring].mean()


def test_a_patient_depends_on_seed_and_number_only(
    template: Template, cohort, tmp_path
) -> None:
    alone = make_patient(template, 2, spacing_mm=4.0)
    np.testing.assert_array_equal(
        np.asarray(nibabel.load(cohort.images[2]).dataobj), alone.image
    )
    other = make_patient(template, 2, seed=1, spacing_mm=4.0)
    assert (other.mask != alone.mask).any()


def test_sampling_does_not_change_the_anatomy(template: Template) -> None:
    coarse = make_patient(template, 0, spacing_mm=4.0)
    fine = make_patient(template, 0, spacing_mm=2.0)
    ratio = coarse.mask.sum() * 64 / (fine.mask.sum() * 8)
    assert ratio == pytest.approx(1, abs=0.1)


def test_a_second_call_reuses_the_files_and_mends_missing_ones(cohort) -> None:
    kept, lost = cohort.images[0], cohort.masks[3]
    stamp, before = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    again = make_cohort(cohort.folder, n=4, spacing_mm=4.0)
    assert again == cohort
    assert kept.stat().st_mtime_ns == stamp
    restored = np.asarray(nibabel.load(lost).dataobj)
    lost.write_bytes(before)
    np.testing.assert_array_equal(restored, np.asarray(nibabel.load(lost).dataobj))


def test_another_cohort_is_not_overwritten(cohort) -> None:
    with pytest.raises(SemisegError, match="choose another folder"):
        make_cohort(cohort.folder, n=4, spacing_mm=4.0, seed=9)


def test_the_folder_says_that_nobody_is_in_it(cohort) -> None:
    assert ABOUT in (cohort.folder / "cohort.json").read_text(encoding="utf-8")
    assert ABOUT.startswith("Synthetic")


def test_without_nilearn_the_message_says_what_to_install(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(SemisegError, match=r"napari-semiseg\[demo\]"):
        make_cohort(tmp_path / "cohort")
    assert not (tmp_path / "cohort").exists()
