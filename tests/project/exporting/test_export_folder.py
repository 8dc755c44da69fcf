"""An export replaces nothing but what an export has written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from napari_semiseg import Project
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.exporting import export as exporting
from napari_semiseg.project.exporting.export import MANIFEST, UNFINISHED, export


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_images_are_never_replaced_by_masks(ball_project: Project) -> None:
    images = ball_project.case("case_0").image.parent
    before = contents(images)
    with pytest.raises(ProjectError, match="expected a new folder, or that of an"):
        export(ball_project, images, what="labels")
    export(ball_project, images, what="labels", fmt="nnunet")  # in folders of its own
    export(ball_project, images, what="labels", fmt="nrrd")
    with pytest.raises(ProjectError, match="as nifti, found case_"):
        export(ball_project, images, what="labels")
    kept = contents(images)
    assert before == {path: kept[path] for path in before}


def test_images_that_an_export_has_copied_are_images_of_the_next_project(
    ball_project: Project, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export(ball_project, out, what="labels", fmt="nnunet")
    other = Project.create(tmp_path / "other", {"ball": 1})
    other.add(out / "imagesTr")
    mask = out / "labelsTr" / "case_0.nii.gz"
    other.set_label(other.cases()[0], mask)
    before = contents(out)
    with pytest.raises(ProjectError, match="choose another"):
        export(other, out, what="labels", fmt="nnunet")
    assert contents(out) == before


def test_masks_of_others_are_not_replaced_but_those_of_an_export_are(
    ball_project: Project, tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    shutil.copy(ball_project.case("case_0").folder.label, masks / "case_9.nii.gz")
    with pytest.raises(ProjectError, match=r"found case_9\.nii\.gz"):
        export(ball_project, masks, what="labels")
    out = tmp_path / "out"
    first = export(ball_project, out, what="labels", cases=["case_0"])
    again = export(ball_project, out, what="labels", cases=["case_0"])
    assert first.written == again.written
    assert not (out / UNFINISHED).exists()


def test_an_export_that_did_not_end_is_done_again(
    ball_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(exporting, "_write_volumes", interrupt)
        with pytest.raises(KeyboardInterrupt):
            export(ball_project, out, what="labels")
    assert (out / UNFINISHED).exists()
    assert not (out / MANIFEST).exists()
    export(ball_project, out, what="labels")
    assert (out / MANIFEST).exists()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt
