"""A study in one archive, and the same study unpacked elsewhere."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

import napari_semiseg as ss
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started, Stepped, Validated
from napari_semiseg.errors import ImageError, ProjectError
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from napari_semiseg.project.project import Project


@pytest.fixture
def study(ball_project: Project, predict_ball) -> Project:
    """Two versions of a label, a prediction, and a split."""
    first = ball_project.case("case_0").read_label()
    assert first is not None
    ball_project.set_label("case_0", np.zeros_like(first))
    ball_project.set_split("case_4", "test")
    run = Run.create(ball_project, TrainingConfig(method="supervised"))
    run.append(Started(run=run.id, method="supervised", pid=1))
    shared = {"learning_rate": 0.1, "seconds": 60.0, "seconds_left": 0.0}
    run.append(Stepped(step=1, steps=1, losses={"supervised": 0.5}, **shared))
    run.append(Validated(step=1, dice={"left atrium": 0.75}))
    run.append(Finished(run=run.id, reason="completed", step=1, seconds=1.0))
    case = ball_project.case("case_2")
    run.write_prediction(predict_ball(run, case), case.image)
    corrected = run.read_mask("case_2", case.geometry)[1]
    corrected[10] = 0
    ball_project.set_label("case_2", corrected, minutes=2.5)
    return ball_project


def test_the_study_goes_on_from_its_archive(
    study: Project, spheres, tmp_path: Path
) -> None:
    report = ss.bundle(study, tmp_path / "study.zip", images=True)
    assert report == ss.bundle(study, tmp_path / "again.zip", images=True)
    data = (tmp_path / "study.zip").read_bytes()
    assert report.sha256 == hashlib.sha256(data).hexdigest()
    before = {case.id: case.read_label() for case in study.cases()}
    elsewhere = tmp_path / "elsewhere"
    with zipfile.ZipFile(tmp_path / "study.zip") as archive:
        assert len(archive.namelist()) == report.files
        archive.extractall(elsewhere)
    manifest = json.loads((elsewhere / "manifest.json").read_text())
    for name, sha256 in manifest["files"].items():
        found = hashlib.sha256((elsewhere / name).read_bytes()).hexdigest()
        assert found == sha256
    shutil.rmtree(study.folder)
    shutil.rmtree(spheres.images)
    checked = ss.check_project(
        elsewhere / "project", mend=True, images=elsewhere / "images"
    )
    assert checked.open == []
    again = ss.Project.open(elsewhere / "project")
    for case in again.cases():
        assert case.image_problem == ""
        assert np.array_equal(case.read_label(), before[case.id])
    assert len(list((elsewhere / "project/cases/case_0/previous").iterdir())) == 1
    (run,) = again.runs()
    assert run.read_mask("case_2", again.case("case_2").geometry)[1].any()
    table = (elsewhere / "cases.csv").read_text().splitlines()
    assert table[0].startswith("case,split,state,annotated_fraction,accepted,minutes")
    assert table[5].startswith("case_4,test,unlabelled")
    figures = (elsewhere / "figures.html").read_text()
    assert run.id in figures
    assert figures.count('<svg class="curves"') == 3
    for words in ("2.5 min", "1 min", "1 steps", "left atrium"):
        assert words in figures


def test_images_go_along_only_when_asked_for(study: Project, tmp_path: Path) -> None:
    ss.bundle(study, tmp_path / "study.zip")
    with zipfile.ZipFile(tmp_path / "study.zip") as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read("manifest.json"))
    assert not [name for name in names if name.startswith("images/")]
    assert not [name for name in names if name.endswith(("sdm.nii.gz", "pid"))]
    case = study.case("case_3")
    assert {
        "case": "case_3",
        "channel": "image",
        "name": "case_3.nii.gz",
        "sha256": case.record.sha256,
    } in manifest["images"]
    case.image.write_bytes(b"another")
    with pytest.raises(ImageError, match=r"case_3\.nii\.gz"):
        ss.bundle(study, tmp_path / "images.zip", images=True)
    assert not (tmp_path / "images.zip").exists()
    with pytest.raises(ProjectError, match=r"ends in \.zip"):
        ss.bundle(study, tmp_path / "study.tar")
