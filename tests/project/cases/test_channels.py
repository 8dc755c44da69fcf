"""Cases of several images on one grid."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_semiseg.core.case import Split
from napari_semiseg.errors import ConfigError, ImageError, ProjectError
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.project import Project
from synthetic import ball, save_nifti

BOTH = ("T1=_t1", "FLAIR=_flair")


def noise(seed, size=24):
    values = np.random.default_rng(seed).normal(100, 10, (size, 24, 24))
    return values.astype(np.float32)


@pytest.fixture
def patients(tmp_path):
    """Two patients with T1 and FLAIR, and a mask of the first beside them."""
    folder = tmp_path / "patients"
    for number in range(2):
        for rank, ending in enumerate(("t1", "flair")):
            path = folder / f"p{number}_{ending}.nii.gz"
            save_nifti(path, noise(10 * number + rank))
    save_nifti(folder / "p0_seg.nii.gz", ball(0))
    return folder


def stored(project, name):
    return json.loads((project.folder / "cases" / name / "case.json").read_text())


def test_images_are_put_together_by_the_ends_of_their_names(empty_project, patients):
    report = empty_project.add(patients, channels=BOTH)
    assert report.added == ["p0", "p1"]
    assert list(report.skipped) == [str(patients / "p0_seg.nii.gz")]
    assert (
        "ends in none of _t1, _flair" in report.skipped[str(patients / "p0_seg.nii.gz")]
    )
    case = empty_project.case("p1")
    assert case.channel_names == empty_project.channels == ("T1", "FLAIR")
    assert case.image.name == "p1_t1.nii.gz"
    for index, ending in enumerate(("t1", "flair")):
        native = case.geometry.to_native(case.read_image(index).data)
        assert np.array_equal(native, noise(10 + index))
        assert case.channels[index].image.name == f"p1_{ending}.nii.gz"
    hashes = {
        item["name"]: item["sha256"] for item in stored(empty_project, "p1")["channels"]
    }
    assert len(set(hashes.values())) == 2


def test_folders_of_patients_and_folders_of_channels(empty_project, tmp_path):
    by_patient = tmp_path / "a" / "smith" / "T1.nii.gz"
    save_nifti(by_patient, noise(0))
    save_nifti(by_patient.with_name("FLAIR.nii.gz"), noise(1))
    for rank, channel in enumerate(("T1", "FLAIR")):
        save_nifti(
            tmp_path / "b" / channel / f"jones {channel}.nii.gz", noise(2 + rank)
        )
    report = empty_project.add(
        tmp_path / "a", tmp_path / "b", channels=("T1=T1", "FLAIR=FLAIR")
    )
    assert report.added == ["jones", "smith"]
    assert empty_project.case("jones").channel_names == ("T1", "FLAIR")


def test_a_missing_channel_is_said(empty_project, patients):
    (patients / "p1_flair.nii.gz").unlink()
    report = empty_project.add(patients, channels=BOTH)
    assert report.added == ["p0"]
    reason = report.skipped[str(patients / "p1_t1.nii.gz")]
    assert "'p1': expected the channels T1, FLAIR, found no FLAIR" in reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: save_nifti(path, noise(1, 20)), r"found \(24, 24, 20\)"),
        (
            lambda path: save_nifti(path, noise(1), shift=3.0),
            "corners up to 3 mm apart",
        ),
    ],
)
def test_channels_on_other_grids_are_refused(empty_project, patients, change, said):
    path = patients / "p1_flair.nii.gz"
    change(path)
    report = empty_project.add(patients, channels=BOTH)
    assert report.added == ["p0"]
    (reason,) = (text for text in report.skipped.values() if "grid of" in text)
    assert str(path) in reason
    with pytest.raises(ImageError, match=said):
        empty_project.add(patients / "p1_t1.nii.gz", path, channels=BOTH)


def test_a_channel_that_changes_its_grid_later_is_refused(empty_project, patients):
    empty_project.add(patients, channels=BOTH)
    save_nifti(patients / "p0_flair.nii.gz", noise(1), shift=5.0)
    with pytest.raises(ImageError, match="has changed since"):
        empty_project.case("p0").read_image(1)
    problems = empty_project.check_images()
    assert "p0_flair.nii.gz has changed" in problems["p0"]
    (patients / "p1_flair.nii.gz").unlink()
    assert "p1_flair.nii.gz is missing" in empty_project.check_images()["p1"]


def test_cases_of_one_project_have_the_same_channels(empty_project, patients):
    empty_project.add(patients, channels=BOTH, cases=["p0"])
    with pytest.raises(ProjectError, match="T1, FLAIR, as the other cases have"):
        empty_project.add(patients / "p1_t1.nii.gz")
    single = Project.create(patients.parent / "single", {"ball": 1})
    single.add(patients / "p1_t1.nii.gz")
    report = single.add(patients, channels=BOTH, cases=["p0"])
    assert report.added == []
    reason = report.skipped[str(patients / "p0_t1.nii.gz")]
    assert "expected one image a case" in reason


def test_choices_that_mean_nothing_are_refused(empty_project, patients):
    for choice in (("T1=_t1", "2"), ("T1=_t1", "T2=_t1"), ("=_t1",), ("T1=",)):
        with pytest.raises(ConfigError, match="NAME=ENDING"):
            empty_project.add(patients, channels=choice)
    with pytest.raises(ProjectError, match="expected a data set of nnU-Net"):
        empty_project.add(patients, channels=("T1",))
    save_nifti(patients / "p0_t1.nii", noise(0))
    with pytest.raises(ProjectError, match="one image of channel X"):
        empty_project.add(patients, channels=("X=_t1", "Y=_flair"))


def test_moved_images_are_found_channel_by_channel(empty_project, patients, tmp_path):
    empty_project.add(patients, channels=BOTH)
    for number, name in enumerate(("p0_t1", "p0_flair", "p1_t1", "p1_flair")):
        new = tmp_path / "moved" / str(number) / f"{name}.nii.gz"
        new.parent.mkdir(parents=True)
        shutil.move(patients / f"{name}.nii.gz", new)
    assert empty_project.relocate(tmp_path / "moved").added == ["p0", "p1"]
    assert empty_project.check_images() == {}
    assert empty_project.case("p1").read_image(1).data.shape == (24, 24, 24)


def test_a_case_of_one_image_has_one_channel(ball_project, spheres):
    (channel,) = stored(ball_project, "case_0")["channels"]
    assert channel["name"] == "image"
    case = Project.open(ball_project.folder).case("case_0")
    assert case.channel_names == ("image",)
    assert [channel.image for channel in case.channels] == [case.image]
    assert case.read_image().data.shape == (24, 24, 24)


# -- known layouts


def nnunet(folder, cases, names):
    for case in cases:
        for number in range(len(names)):
            image = folder / "imagesTr" / f"{case}_{number:04d}.nii.gz"
            save_nifti(image, noise(number))
        save_nifti(folder / "labelsTr" / f"{case}.nii.gz", ball(0))
    described = {"channel_names": {str(i): name for i, name in enumerate(names)}}
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


def test_all_channels_of_nnunet_are_taken(empty_project, tmp_path):
    folder = nnunet(tmp_path / "Dataset001", ("a", "b"), ("T1", "FLAIR"))
    report = empty_project.add(folder)
    assert report.added == ["a", "b"]
    assert report.masks["a"].name == "a.nii.gz"
    assert empty_project.case("a").channel_names == ("T1", "FLAIR")
    assert np.array_equal(
        empty_project.case("b").read_image(1).data,
        empty_project.case("a").read_image(1).data,
    )


def test_the_folder_of_images_alone_keeps_its_channels(empty_project, tmp_path):
    folder = nnunet(tmp_path / "Dataset001", ("a",), ("T1", "FLAIR"))
    report = empty_project.add(folder / "imagesTr", split=Split.VALIDATION)
    assert report.added == ["a"]
    assert empty_project.case("a").split is Split.VALIDATION
    assert empty_project.case("a").channel_names == ("T1", "FLAIR")


@pytest.mark.parametrize("choice", ["FLAIR", "flair", "1"])
def test_one_channel_of_nnunet_may_be_chosen(empty_project, tmp_path, choice):
    folder = nnunet(tmp_path / "Dataset001", ("a",), ("T1", "FLAIR"))
    empty_project.add(folder, channels=[choice])
    case = empty_project.case("a")
    assert case.image.name == "a_0001.nii.gz"
    assert case.channel_names == ("FLAIR",)


def test_a_channel_that_lacks_in_nnunet_is_said(empty_project, tmp_path):
    folder = nnunet(tmp_path / "Dataset001", ("a", "b"), ("T1", "FLAIR"))
    (folder / "imagesTr" / "b_0001.nii.gz").unlink()
    report = empty_project.add(folder)
    assert report.added == ["a"]
    assert "found no FLAIR" in next(iter(report.skipped.values()))


def test_numbers_of_cases_are_no_channels(empty_project, tmp_path):
    """``case_0001`` is a case where its mask has that name, or in any other folder."""
    for number in range(3):
        name = f"case_{number:04d}.nii.gz"
        save_nifti(tmp_path / "one" / "imagesTr" / name, noise(number))
        save_nifti(tmp_path / "one" / "labelsTr" / name, ball(0))
        save_nifti(tmp_path / "plain" / name, noise(10 + number))
    assert empty_project.add(tmp_path / "one").added == [
        "case_0000",
        "case_0001",
        "case_0002",
    ]
    other = Project.create(tmp_path / "other", {"ball": 1})
    assert len(other.add(tmp_path / "plain").added) == 3
    assert other.channels == ("image",)


@pytest.fixture
def decathlon(tmp_path):
    """A Decathlon data set whose files hold two channels each; big-endian, scaled."""
    folder = tmp_path / "Task05_Prostate"
    (folder / "imagesTr").mkdir(parents=True)
    values = np.stack([noise(0), 2 * noise(1)], axis=-1).astype(np.int16)
    image = nib.Nifti1Image(values, np.diag([-1.0, 1.0, 2.0, 1.0]))
    image.header["pixdim"][4] = 1.5
    image.header.set_slope_inter(0.5, 3.0)
    nib.save(image, folder / "imagesTr" / "a.nii.gz")
    modality = {"0": "T2", "1": "ADC"}
    (folder / "dataset.json").write_text(json.dumps({"modality": modality}))
    return folder


def test_volumes_of_a_decathlon_file_are_channels(empty_project, decathlon):
    empty_project.add(decathlon)
    case = empty_project.case("a")
    assert case.channel_names == ("T2", "ADC")
    path = decathlon / "imagesTr" / "a.nii.gz"
    whole = np.asarray(nib.load(path).dataobj, dtype=np.float32)
    for index in range(2):
        native = case.geometry.to_native(case.read_image(index).data)
        assert np.allclose(native, whole[..., index])
    assert [item["volume"] for item in stored(empty_project, "a")["channels"]] == [0, 1]
    mask = case.geometry.to_canonical(ball(0))
    empty_project.set_label("a", mask)
    written = nib.load(empty_project.case("a").folder.label)
    assert written.shape == (24, 24, 24)
    assert np.array_equal(written.affine, nib.load(path).affine)
    assert np.array_equal(read_labels(case.folder.label, case.geometry), mask)


def test_one_volume_of_a_decathlon_file_may_be_chosen(empty_project, decathlon):
    empty_project.add(decathlon, channels=["ADC"])
    case = empty_project.case("a")
    assert case.channel_names == ("ADC",)
    assert case.read_image().data.mean() > 90
    other = Project.create(decathlon.parent / "other", {"ball": 1})
    with pytest.raises(ProjectError, match="out of 0=T2, 1=ADC, found 'T1'"):
        other.add(decathlon, channels=["T1"])


def test_a_file_of_several_volumes_elsewhere_is_refused(empty_project, decathlon):
    with pytest.raises(ImageError, match="expected a 3D volume"):
        empty_project.add(decathlon / "imagesTr" / "a.nii.gz")


def test_bids_suffixes_are_channels_when_asked_for(empty_project, tmp_path):
    folder = tmp_path / "study"
    for subject in ("sub-01", "sub-02"):
        for rank, suffix in enumerate(("T1w", "T2w", "FLAIR")):
            path = folder / subject / "anat" / f"{subject}_{suffix}.nii.gz"
            save_nifti(path, noise(rank))
    mask = folder / "derivatives" / "manual" / "sub-01" / "sub-01_space-T1w_dseg.nii.gz"
    save_nifti(mask, ball(0))
    (folder / "dataset_description.json").write_text("{}")
    assert len(empty_project.add(folder, dry_run=True).added) == 6
    report = empty_project.add(folder, channels=["FLAIR", "T1w"])
    assert report.added == ["sub-01", "sub-02"]
    assert report.masks == {"sub-01": mask}
    assert empty_project.case("sub-01").channel_names == ("FLAIR", "T1w")


# -- export


def test_all_channels_go_into_nnunet_and_the_manifest(
    empty_project, patients, tmp_path
):
    flair = patients / "p0_flair.nii.gz"
    image = nib.load(flair)
    turned = image.as_reoriented(nib.orientations.axcodes2ornt(("L", "P", "I")))
    nib.save(turned, flair)
    empty_project.add(patients, channels=BOTH)
    case = empty_project.case("p0")
    empty_project.set_label("p0", case.geometry.to_canonical(ball(0)))
    out = tmp_path / "out"
    empty_project.export(out, fmt="nnunet")
    assert json.loads((out / "dataset.json").read_text())["channel_names"] == {
        "0": "T1",
        "1": "FLAIR",
    }
    t1, second, mask = (
        nib.load(out / name)
        for name in (
            "imagesTr/p0_0000.nii.gz",
            "imagesTr/p0_0001.nii.gz",
            "labelsTr/p0.nii.gz",
        )
    )
    for one in (second, mask):
        assert np.allclose(one.affine, t1.affine)
    assert np.array_equal(np.asarray(second.dataobj), noise(1))
    (row,) = (
        item
        for item in json.loads((out / "manifest.json").read_text())["files"]
        if item["case"] == "p0"
    )
    assert [item["name"] for item in row["channels"]] == ["T1", "FLAIR"]
    assert Path(row["channels"][1]["image"]).name == "p0_flair.nii.gz"
    again = Project.create(tmp_path / "again", {"ball": 1})
    assert again.add(out).added == ["p0"]
    assert again.channels == ("T1", "FLAIR")
