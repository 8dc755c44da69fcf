"""What add, label and export say of formats and layouts."""

from __future__ import annotations

import csv
import json
import shlex
import sys

import nibabel
import numpy as np
import pytest

from synthetic import ball, save_nifti, snapshot


@pytest.fixture
def patients(tmp_path):
    """Two patients with two DICOM series each in one folder."""
    import SimpleITK as sitk

    rng = np.random.default_rng(0)
    for patient in ("anna", "bert"):
        folder = tmp_path / "patients" / patient
        folder.mkdir(parents=True)
        for number, name in ((3, "T1"), (7, "FLAIR")):
            for index in range(5):
                data = rng.integers(0, 900, (8, 9)).astype(np.int16)
                image = sitk.GetImageFromArray(data)
                for key, value in {
                    "0008|0060": "MR",
                    "0008|103e": name,
                    "0010|0010": "Secret^Name",
                    "0020|000d": f"1.2.{len(patient)}",
                    "0020|000e": f"1.2.{len(patient)}.{number}.{ord(patient[0])}",
                    "0020|0011": str(number),
                    "0020|0013": str(index),
                    "0020|0032": f"0\\0\\{index * 2}",
                    "0020|0037": "1\\0\\0\\0\\1\\0",
                }.items():
                    image.SetMetaData(key, value)
                writer = sitk.ImageFileWriter()
                writer.KeepOriginalImageUIDOn()
                writer.SetFileName(str(folder / f"{number}_{index}.dcm"))
                writer.Execute(image)
    return tmp_path / "patients"


def test_series_are_chosen_and_patients_are_not_named(
    semiseg, empty_project, patients
) -> None:
    folder = empty_project.folder
    none = semiseg("add", folder, patients, "--json").json
    assert none["added"] == []
    for reason in none["skipped"].values():
        assert "3 'T1' (" in reason
        assert "--series" in reason
    assert "found 2" in semiseg("add", folder, patients / "anna").refusal
    wanted = ("--series", "flair", "--json")
    assert semiseg("add", folder, patients, *wanted).json["added"] == ["anna", "bert"]
    more = semiseg("add", folder, patients, "--series", "3", "--json").json
    assert more["added"] == ["anna_3", "bert_3"]
    wildcard = semiseg("add", folder, *sorted((patients / "anna").iterdir()), "--json")
    assert wildcard.json["added"] == []
    written = b"".join(snapshot(folder).values()).decode(errors="replace")
    assert "Secret" not in written
    first, second = (empty_project.case(name).record for name in ("anna", "anna_3"))
    assert first.sha256 != second.sha256
    assert empty_project.check_images() == {}


def test_all_series_of_a_folder_become_cases_by_their_number(
    semiseg, empty_project, patients
) -> None:
    words = ("add", empty_project.folder, patients / "bert", "--series", "all")
    assert semiseg(*words, "--json").json["added"] == ["bert_3", "bert_7"]


def test_a_moved_series_is_found_again(empty_project, patients, tmp_path) -> None:
    empty_project.add(patients, series=["T1"])
    patients.rename(tmp_path / "elsewhere")
    assert empty_project.relocate(tmp_path / "elsewhere").added == ["anna", "bert"]
    assert empty_project.case("bert").read_image().data.shape == (5, 8, 9)


def test_dry_runs_print_the_pairs(semiseg, empty_project, tmp_path) -> None:
    root, folder = tmp_path / "set", empty_project.folder
    save_nifti(root / "imagesTr" / "a_0000.nii.gz", ball(0).astype(np.float32))
    save_nifti(root / "labelsTr" / "a.nii.gz", ball(0))
    before = snapshot(folder)
    shown = semiseg("add", folder, root, "--dry-run", "--json").json
    mask = str(root / "labelsTr" / "a.nii.gz")
    assert shown == {
        "added": ["a"],
        "skipped": {},
        "notes": {},
        "paths": {"a": str(root / "imagesTr" / "a_0000.nii.gz")},
        "masks": {"a": mask},
        "dry_run": True,
    }
    assert snapshot(folder) == before
    assert "semiseg label" in semiseg("add", folder, root).out
    before = snapshot(folder)
    shown = semiseg("label", folder, "--masks", root, "--dry-run", "--json").json
    assert shown == {"labelled": ["a"], "paths": {"a": mask}, "dry_run": True}
    assert (
        "Would label 1 case"
        in semiseg("label", folder, "--masks", root, "--dry-run").out
    )
    assert snapshot(folder) == before


def test_channels_are_added_by_the_ends_of_names(
    semiseg, empty_project, tmp_path
) -> None:
    scans, folder = tmp_path / "scans", empty_project.folder
    for case in "ab":
        for name in ("t1", "flair"):
            save_nifti(scans / f"{case}_{name}.nii.gz", ball(0).astype(np.float32))
    (scans / "b_flair.nii.gz").unlink()
    words = ("add", folder, scans, "--channel", "T1=_t1", "--channel", "FLAIR=_flair")
    shown = semiseg(*words, "--dry-run", "--json").json
    assert shown["added"] == ["a"]
    assert shown["channels"] == {
        "a": {
            "T1": str(scans / "a_t1.nii.gz"),
            "FLAIR": str(scans / "a_flair.nii.gz"),
        }
    }
    assert "found no FLAIR" in next(iter(shown["skipped"].values()))
    assert "T1: a_t1.nii.gz; FLAIR: a_flair.nii.gz" in semiseg(*words, "--dry-run").out
    assert semiseg(*words, "--json").json["added"] == ["a"]
    assert semiseg("status", folder, "--json").json["channels"] == ["T1", "FLAIR"]
    assert "2 images per case: T1, FLAIR" in semiseg("status", folder).out
    assert (
        "as the other cases have"
        in semiseg("add", folder, scans / "b_t1.nii.gz").refusal
    )


def test_codes_that_disagree_are_told(semiseg, empty_project, tmp_path) -> None:
    path = save_nifti(tmp_path / "x.nii.gz", ball(0))
    image = nibabel.load(path)
    moved = image.affine.copy()
    moved[0, 3] += 5
    image.set_sform(moved, code=1)
    image.set_qform(np.diag([-1.0, 1, 2, 1]), code=1)
    nibabel.save(image, path)
    words = ("add", empty_project.folder, path, "--dry-run")
    assert "qform and sform disagree" in semiseg(*words).out
    assert "disagree" in semiseg(*words, "--json").json["notes"]["x"][0]


def test_options_that_cannot_be_read_are_refused(semiseg, empty_project) -> None:
    words = ("label", empty_project.folder, "--masks", empty_project.folder)
    assert "NAME=VALUE" in semiseg(*words, "--structure", "liver").refusal
    assert "NAME=VALUE" in semiseg(*words, "--structure", "liver=²").refusal


def test_surfaces_are_exported_with_areas_and_hashes(
    semiseg, ball_project, tmp_path
) -> None:
    out = tmp_path / "out"
    answer = semiseg(
        "export", ball_project.folder, out, "--what", "labels", "--format", "stl"
    )
    assert "Wrote 4 files" in answer.out
    assert (out / "case_0_1_left_atrium.stl").stat().st_size > 1000
    with (out / "volumes.csv").open() as stream:
        row = next(csv.DictReader(stream))
    # A ball of radius 6 voxels of 1 x 1 x 2 mm.
    assert float(row["surface_mm2"]) == pytest.approx(774, rel=0.15)
    manifest = json.loads((out / "manifest.json").read_text())
    assert len(manifest["files"][0]["sha256"]) == 64
    assert manifest["files"][0]["human_edits"] == 1


def test_a_case_that_a_format_cannot_hold_is_left_out_with_a_reason(
    semiseg, ball_project, tmp_path
) -> None:
    partial = ball(1).copy()
    partial[:3] = 255
    path = save_nifti(tmp_path / "part" / "case_1.nii.gz", partial)
    semiseg("label", ball_project.folder, "--masks", path)
    out = tmp_path / "out"
    words = ("export", ball_project.folder, out, "--what", "labels")
    said = semiseg(*words, "--format", "ply").out
    assert "Left out case_1: expected a mask annotated everywhere" in said
    manifest = json.loads((out / "manifest.json").read_text())
    assert "case_1" in manifest["skipped"]
    assert sorted(path.name for path in out.iterdir()) == [
        "case_0_1_left_atrium.ply",
        "manifest.json",
        "volumes.csv",
    ]
    none = semiseg(*words, "--format", "dicom-seg").refusal
    assert "expected a DICOM image" in none
    assert nibabel.load(path).shape == (24, 24, 24)


def test_an_export_to_nnunet_says_that_headers_are_copied(
    semiseg, ball_project, tmp_path
) -> None:
    words = ("export", ball_project.folder, tmp_path / "out", "--what", "labels")
    assert "headers" not in semiseg(*words, "--json").json["notes"]
    assert "headers whole" in semiseg(*words, "--format", "nnunet").out


def test_what_is_left_out_is_named_once(semiseg, empty_project, spheres) -> None:
    bad = spheres.images / "case_3.nii.gz"
    bad.write_bytes(bad.read_bytes()[:100])
    said = semiseg("add", empty_project.folder, spheres.images).out
    assert "Added 4 cases" in said
    [line] = [line for line in said.splitlines() if line.startswith("Skipped")]
    assert line.count(str(bad)) == 1


def command(line: str) -> str:
    """A program that copies the mask beside the image, or does ``line`` to case_3."""
    body = (
        "import os, shutil, signal, sys, time; image, mask = sys.argv[1:]\n"
        f"if 'case_3' in image: {line}\n"
        "else: shutil.copy(image.replace('images', 'masks'), mask)"
    )
    return shlex.join([sys.executable, "-c", body, "{image}", "{mask}"])


def test_propose_says_what_it_has_and_why_not(semiseg, ball_project) -> None:
    folder = ball_project.folder
    answer = semiseg("propose", folder, "--command", command("sys.exit(4)"), "--json")
    assert answer.code == 0
    (run,) = ball_project.runs()
    assert answer.json["run"] == run.id
    assert answer.json["proposed"] == ["case_2", "case_4"]
    assert "found exit code 4; see" in answer.json["skipped"]["case_3"]
    rows = semiseg("status", folder, "--json").json
    assert [row["method"] for row in rows["runs"]] == [run.method]
    assert "problems" not in rows
    states = [row["state"] for row in rows["cases"]]
    assert states == ["labelled", "labelled", "proposed", "unlabelled", "proposed"]
    refused = semiseg("resume", folder, run.id)
    assert "expected a training" in refused.refusal


def test_propose_fails_without_any_mask_and_stops_at_ctrl_c(
    semiseg, ball_project
) -> None:
    folder, one = ball_project.folder, ("--case", "case_3", "--json")
    failed = semiseg("propose", folder, "--command", command("sys.exit(4)"), *one)
    assert (failed.code, failed.json["proposed"]) == (1, [])
    kill = command("os.kill(os.getppid(), signal.SIGINT); time.sleep(600)")
    stopped = semiseg("propose", folder, "--command", kill, *one)
    assert (stopped.code, stopped.json["skipped"]) == (130, {})
