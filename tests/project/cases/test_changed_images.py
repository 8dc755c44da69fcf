"""Images and classes that change behind a project's back are used by nothing."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from dicom_slices import SHAPE, pixels, save, slice_of
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.errors import ImageError, ProjectError
from napari_semiseg.project.cases import references
from napari_semiseg.project.exporting.export import export
from napari_semiseg.project.project import Project
from napari_semiseg.project.review.accept import accept
from napari_semiseg.project.runs.run import Run
from napari_semiseg.project.settings import read_settings, write_settings
from synthetic import ball, save_nifti

CHANGED = "has changed since it was added; put the original back, or take it"


@pytest.fixture
def image(spheres):
    """Image of a case without a label."""
    return spheres.images / "case_3.nii.gz"


@pytest.fixture
def predicted(ball_project, predict_ball):
    run = Run.create(ball_project, TrainingConfig())
    for case in ball_project.cases():
        run.write_prediction(predict_ball(run, case), case.image)
    return ball_project


def change(image) -> None:
    """Exchange the voxels, but neither size nor grid."""
    save_nifti(image, (100 * ball(1)).astype(np.int16))


def reclass(project, *labels) -> Project:
    """Give the classes of a project other numbers, as an editor does."""
    path = project.layout.project_file
    scheme = LabelScheme.parse(labels)
    changed = {"labels": scheme.classes}
    write_settings(path, read_settings(path).model_copy(update=changed))
    return Project.open(project.folder)


def test_a_changed_image_is_refused_on_every_read(ball_project, image) -> None:
    case = ball_project.case("case_3")
    assert case.image_problem == ""
    change(image)
    with pytest.raises(ImageError, match=CHANGED):
        case.read_image()
    image.unlink()
    with pytest.raises(ImageError, match="missing"):
        case.check_images()


def test_it_is_neither_accepted_nor_exported(predicted, image, tmp_path) -> None:
    change(image)
    report = accept(predicted, ["case_2", "case_3"])
    assert report.accepted == ["case_2"]
    assert CHANGED in report.skipped["case_3"]
    assert not predicted.case("case_3").has_label
    assert CHANGED in export(predicted, tmp_path / "out").skipped["case_3"]


def test_files_are_only_hashed_where_their_size_or_time_differ(
    ball_project, image, monkeypatch
) -> None:
    hashed = []
    before = references.content_sha256
    monkeypatch.setattr(
        references, "content_sha256", lambda path: hashed.append(path) or before(path)
    )
    ball_project.case("case_3").check_images()
    assert hashed == []
    os.utime(image, ns=(1, 1))
    for _ in range(3):
        ball_project.case("case_3").check_images()
    assert hashed == [image]  # once a process


def test_all_slices_of_a_series_count_and_strays_do_not(
    empty_project, tmp_path, monkeypatch
) -> None:
    for k in range(SHAPE[0]):
        save(slice_of(k, pixels()[k]), tmp_path / "scan" / f"{k}.dcm")
    empty_project.add(tmp_path / "scan")
    (tmp_path / "scan" / ".DS_Store").write_bytes(bytes(300))
    case = empty_project.case("scan")
    monkeypatch.setattr(references, "content_sha256", None)  # nothing is read
    assert case.image_problem == ""
    monkeypatch.undo()
    save(slice_of(4, pixels()[4] + 1), tmp_path / "scan" / "4.dcm")
    assert CHANGED in case.image_problem


def test_a_changed_image_is_taken_where_it_is_named_itself(
    ball_project, spheres, image
) -> None:
    ball_project.set_label("case_3", spheres.masks / "case_3.nii.gz")
    change(image)
    assert ball_project.add(spheres.images).added == []  # a folder is not meant
    assert ball_project.add(image, dry_run=True).added == ["case_3"]
    assert CHANGED in ball_project.case("case_3").image_problem
    report = ball_project.add(image)
    assert (report.added, report.skipped) == (["case_3"], {})
    assert "taken as it is now" in report.notes["case_3"][0]
    case = ball_project.case("case_3")
    assert case.image_problem == ""
    assert case.has_label
    assert case.read_image().data.max() == 100
    assert ball_project.add(image).added == []


def test_a_changed_image_on_another_grid_is_not_taken(ball_project, image) -> None:
    save_nifti(image, np.zeros((24, 24, 24), np.int16), shift=5.0)
    with pytest.raises(ImageError, match="expected the grid of the image that"):
        ball_project.add(image)
    assert CHANGED in ball_project.case("case_3").image_problem


@pytest.mark.parametrize("labels", [["2=left atrium"], ["7=left atrium", "8=wall"]])
def test_labels_of_a_class_that_is_gone_are_no_zero_volume(
    ball_project, tmp_path, labels
) -> None:
    project = reclass(ball_project, *labels)
    with pytest.raises(ImageError, match=r"label value\(s\) \[1\]"):
        project.case("case_0").read_label()
    for fmt in ("nifti", "nnunet", "stl"):
        with pytest.raises(ProjectError, match=r"label value\(s\) \[1\]"):
            export(project, tmp_path / "out", what="labels", fmt=fmt)
    assert not (tmp_path / "out" / "volumes.csv").exists()


def test_predictions_of_a_class_that_is_gone_are_neither_exported_nor_compared(
    predicted, spheres, tmp_path
) -> None:
    project = reclass(predicted, "2=left atrium")
    report = accept(project, ["case_2"])
    assert "label value(s) [1]" in report.skipped["case_2"]
    with pytest.raises(ProjectError, match=r"label value\(s\) \[1\]"):
        export(project, tmp_path / "out", what="predictions")
    mask = save_nifti(tmp_path / "case_4.nii.gz", 2 * ball(4))
    project.set_label("case_4", mask)
    assert project.case("case_4").record.history[-1].corrective_dice is None


def test_a_copied_project_is_checked_by_content(ball_project, spheres) -> None:
    shutil.copytree(spheres.images, spheres.images.with_name("copy"))
    shutil.rmtree(spheres.images)
    shutil.copytree(spheres.images.with_name("copy"), spheres.images)
    for file in spheres.images.iterdir():
        os.utime(file)
    assert ball_project.check_images() == {}
