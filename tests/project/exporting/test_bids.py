"""Masks as BIDS derivatives, and back again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from napari_semiseg.io.label_tables import read_label_table
from napari_semiseg.project.importing.match_masks import attach
from napari_semiseg.project.project import Project
from synthetic import ball, save_nifti

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = ("sub-01_ses-a_T1w", "sub-01_ses-a_T2w", "sub-02_T1w")


def test_masks_are_named_by_their_images_and_come_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "dataset_description.json").write_text("{}")
    for number, name in enumerate(IMAGES):
        save_nifti(data / name.split("_")[0] / f"{name}.nii.gz", 100 * ball(number))
    project = Project.create(tmp_path / "heart", {"left atrium": 3})
    project.add(data)
    for number, case in enumerate(project.cases()):
        truth = case.geometry.to_canonical(ball(number))
        project.set_label(case, (3 * truth).astype(np.uint8))
    out = tmp_path / "derivatives"
    report = project.export(out, fmt="bids")
    names = {path.relative_to(out).as_posix() for path in report.written}
    assert names >= {
        "sub-01/ses-a/anat/sub-01_ses-a_space-T1w_desc-semiseg_dseg.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_space-T2w_desc-semiseg_dseg.nii.gz",
        "sub-02/anat/sub-02_space-T1w_desc-semiseg_dseg.nii.gz",
        "dseg.tsv",
        "dataset_description.json",
    }
    about = json.loads((out / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"
    mask = out / "sub-02" / "anat" / "sub-02_space-T1w_desc-semiseg_dseg.nii.gz"
    facts = json.loads(
        mask.with_name(mask.name.replace(".nii.gz", ".json")).read_text()
    )
    assert facts["Sources"] == ["sub-02_T1w.nii.gz"]
    source = nib.load(data / "sub-02" / "sub-02_T1w.nii.gz")
    assert np.array_equal(nib.load(mask).affine, source.affine)
    again = Project.create(tmp_path / "again", read_label_table(out / "dseg.tsv"))
    again.add(data)
    assert attach(again, out).added == sorted(IMAGES)
    for name in IMAGES:
        labels = [one.case(name).read_label() for one in (project, again)]
        assert np.array_equal(*labels)


def test_cases_whose_names_hold_the_same_letters_stay_apart(tmp_path: Path) -> None:
    names = ("case_1", "Case-1", "\u672f\u524d", "\u672f\u540e")
    for number, name in enumerate(names):
        save_nifti(tmp_path / "data" / f"{name}.nii.gz", 100 * ball(number))
    project = Project.create(tmp_path / "heart", {"left atrium": 1})
    project.add(tmp_path / "data")
    for number, name in enumerate(names):
        case = project.case(name)
        project.set_label(case, case.geometry.to_canonical(ball(number)))
    report = project.export(tmp_path / "out", fmt="bids")
    masks = [path for path in report.written if path.name.endswith(".nii.gz")]
    assert len({path.parent for path in masks}) == len(names)
    volumes = [nib.load(path).get_fdata() for path in masks]
    for number in range(len(names)):
        assert sum(np.array_equal(one, ball(number)) for one in volumes) == 1


def test_other_cases_become_subjects(ball_project: Project, tmp_path: Path) -> None:
    report = ball_project.export(tmp_path / "out", fmt="bids", what="labels")
    masks = [path for path in report.written if path.name.endswith(".nii.gz")]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in masks] == [
        f"sub-case{number}/anat/sub-case{number}_desc-semiseg_dseg.nii.gz"
        for number in (0, 1)
    ]
