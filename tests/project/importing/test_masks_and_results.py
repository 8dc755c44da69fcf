from __future__ import annotations

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ConfigError, ImageError, ProjectError
from napari_semiseg.project.exporting.export import export
from napari_semiseg.project.importing.match_masks import MaskFolder, attach
from napari_semiseg.project.project import Project
from napari_semiseg.project.review.evaluate import evaluate
from napari_semiseg.project.runs.run import Run
from synthetic import SIZE, ball, save_nifti, snapshot


@pytest.fixture
def run(ball_project, predict_ball) -> Run:
    """A run with right predictions of cases 2 and 3, and an empty one of case 4."""
    made = Run.create(ball_project, TrainingConfig())
    for name in ("case_2", "case_3", "case_4"):
        case = ball_project.case(name)
        prediction = predict_ball(made, case, empty=name == "case_4")
        made.write_prediction(prediction, case.image)
    return made


class TestAttach:
    def test_masks_are_paired_by_id(self, ball_project, spheres) -> None:
        report = attach(ball_project, spheres.masks, ["case_2", "case_4"])
        assert report.added == ["case_2", "case_4"]
        states = [str(case.state) for case in ball_project.cases()]
        assert states == ["labelled", "labelled", "labelled", "unlabelled", "labelled"]

    def test_a_mask_without_a_case_is_reported(self, ball_project, spheres) -> None:
        stray = save_nifti(spheres.masks / "stray.nii.gz", ball(0))
        report = attach(ball_project, spheres.masks)
        assert report.added == list(spheres.ids)
        assert list(report.skipped) == [str(stray)]

    def test_one_bad_mask_changes_nothing(self, ball_project, spheres) -> None:
        save_nifti(spheres.masks / "case_4.nii.gz", 9 * ball(4))
        before = snapshot(ball_project.folder)
        with pytest.raises(ImageError, match=r"case_4.*\[9\]"):
            attach(ball_project, spheres.masks)
        assert snapshot(ball_project.folder) == before

    def test_a_listed_case_needs_its_mask(self, ball_project, spheres) -> None:
        (spheres.masks / "case_3.nii.gz").unlink()
        before = snapshot(ball_project.folder)
        with pytest.raises(ProjectError, match="case_3"):
            attach(ball_project, spheres.masks, ["case_2", "case_3"])
        with pytest.raises(ProjectError, match="ghost"):
            attach(ball_project, spheres.masks, ["case_2", "ghost"])
        assert snapshot(ball_project.folder) == before

    def test_names_of_other_conventions_are_understood(self, tmp_path) -> None:
        save_nifti(tmp_path / "a" / "x.nii.gz", ball(0))
        save_nifti(tmp_path / "b" / "x.nii.gz", ball(0))
        save_nifti(tmp_path / "b" / "y.nii.gz", ball(0))
        masks = MaskFolder(tmp_path)
        assert masks.find("b_x") == tmp_path / "b" / "x.nii.gz"
        assert masks.find("y_0000") == tmp_path / "b" / "y.nii.gz"
        assert masks.find("z") is None
        with pytest.raises(ProjectError, match="one mask"):
            masks.find("x")


class TestEvaluate:
    def test_right_is_one_and_empty_is_the_worst(
        self, ball_project, run, spheres
    ) -> None:
        result = evaluate(ball_project, spheres.masks)
        assert sorted(result.cases) == ["case_2", "case_3", "case_4"]
        right, empty = (
            result.cases[name]["left atrium"] for name in ("case_2", "case_4")
        )
        assert (right.dice, right.hd95_mm) == (1.0, 0.0)
        assert right.volume_ml == pytest.approx(ball(2).sum() * 2 / 1000)
        assert empty.dice == 0.0
        assert empty.hd95_mm > 40
        mean = result.mean["left atrium"]
        assert mean["dice"] == pytest.approx(2 / 3)

    def test_a_folder_of_masks_can_be_scored(self, ball_project, spheres) -> None:
        result = evaluate(
            ball_project, spheres.masks, predictions=spheres.masks, cases=["case_1"]
        )
        assert list(result.cases) == ["case_1"]
        assert result.mean["left atrium"]["jaccard"] == 1.0

    def test_what_is_missing_is_named(self, ball_project, run, spheres) -> None:
        with pytest.raises(ProjectError, match="case_0"):
            evaluate(ball_project, spheres.masks, cases=["case_0", "case_2"])
        (spheres.masks / "case_2.nii.gz").unlink()
        with pytest.raises(ProjectError, match="case_2"):
            evaluate(ball_project, spheres.masks, cases=["case_2"])
        with pytest.raises(ConfigError, match="both"):
            evaluate(ball_project, spheres.masks, run=run, predictions=spheres.masks)

    def test_without_any_prediction_it_says_so(self, ball_project, spheres) -> None:
        with pytest.raises(ProjectError, match="predict"):
            evaluate(ball_project, spheres.masks)


class TestExport:
    def test_best_is_the_label_where_complete_else_the_prediction(
        self, ball_project, run, spheres, tmp_path
    ) -> None:
        partial = np.full((SIZE, SIZE, SIZE), 255, np.uint8)
        partial[0] = 0
        ball_project.set_label("case_3", partial)
        report = export(ball_project, tmp_path / "out")
        names = [path.name for path in report.written]
        assert names == [
            *(f"case_{number}.nii.gz" for number in range(5)),
            "volumes.csv",
            "manifest.json",
        ]
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        sources = {item["case"]: item["source"] for item in manifest["files"]}
        assert sources == {
            "case_0": "human",
            "case_1": "human",
            "case_2": "model",
            "case_3": "model",
            "case_4": "model",
        }
        assert manifest["files"][2]["run"] == run.id
        with (tmp_path / "out" / "volumes.csv").open() as file:
            rows = {row["case"]: row for row in csv.DictReader(file)}
        assert float(rows["case_0"]["volume_ml"]) == pytest.approx(
            ball(0).sum() * 0.002, abs=1e-4
        )
        assert rows["case_4"]["voxels"] == "0"

    def test_masks_lie_exactly_on_the_source(
        self, ball_project, run, spheres, tmp_path
    ) -> None:
        export(ball_project, tmp_path / "out")
        for name in ("case_0", "case_2"):
            written = nib.load(tmp_path / "out" / f"{name}.nii.gz")
            source = nib.load(spheres.images / f"{name}.nii.gz")
            assert written.shape == source.shape
            assert np.array_equal(written.affine, source.affine)
            for code in ("qform_code", "sform_code"):
                assert written.header[code] == source.header[code]
            mask = nib.load(spheres.masks / f"{name}.nii.gz")
            assert np.array_equal(written.get_fdata(), mask.get_fdata())

    @pytest.mark.parametrize("fmt", ["nrrd", "mha"])
    def test_other_formats_hold_the_same_voxels(
        self, ball_project, spheres, tmp_path, fmt
    ) -> None:
        import SimpleITK as sitk

        export(ball_project, tmp_path / "out", what="labels", fmt=fmt)
        written = sitk.ReadImage(str(tmp_path / "out" / f"case_1.{fmt}"))
        source = sitk.ReadImage(str(spheres.masks / "case_1.nii.gz"))
        assert np.allclose(written.GetOrigin(), source.GetOrigin())
        assert np.allclose(written.GetSpacing(), source.GetSpacing())
        assert np.allclose(written.GetDirection(), source.GetDirection())
        assert np.array_equal(
            sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(source)
        )

    def test_nnunet_gets_images_consecutive_labels_and_an_ignore_label(
        self, tmp_path, spheres
    ) -> None:
        from napari_semiseg.project.project import Project

        project = Project.create(tmp_path / "p", {"wall": 2, "clot": 7})
        project.add(spheres.images, cases=["case_0"])
        project.add(spheres.images, split="test", cases=["case_1"])
        labels = np.full((SIZE, SIZE, SIZE), 255, np.uint8)
        labels[:4], labels[4:6], labels[6:8] = 0, 2, 7
        project.set_label("case_0", labels)
        project.set_label("case_1", labels)
        export(project, tmp_path / "out", what="labels", fmt="nnunet")
        out = tmp_path / "out"
        stored = nib.load(out / "labelsTr" / "case_0.nii.gz").get_fdata()
        assert set(np.unique(stored)) == {0, 1, 2, 3}
        given = (spheres.images / "case_0.nii.gz").read_bytes()
        assert (out / "imagesTr" / "case_0_0000.nii.gz").read_bytes() == given
        assert (out / "labelsTs" / "case_1.nii.gz").exists()
        described = json.loads((out / "dataset.json").read_text())
        assert described["labels"] == {
            "background": 0,
            "wall": 1,
            "clot": 2,
            "ignore": 3,
        }
        assert described["numTraining"] == 1

    def test_a_test_case_does_not_stay_among_those_for_training(
        self, ball_project, tmp_path
    ) -> None:
        out = tmp_path / "out"
        export(ball_project, out, what="labels", fmt="nnunet")
        ball_project.set_split("case_1", "test")
        export(ball_project, out, what="labels", fmt="nnunet")
        assert {path.name for path in (out / "labelsTr").iterdir()} == {"case_0.nii.gz"}
        assert (out / "imagesTs" / "case_1_0000.nii.gz").exists()
        assert len(list((out / "imagesTr").iterdir())) == 1
        assert json.loads((out / "dataset.json").read_text())["numTraining"] == 1

    def test_refusals_write_nothing(self, ball_project, tmp_path) -> None:
        out = tmp_path / "out"
        with pytest.raises(ConfigError, match="nifti, mha, nrrd, dicom-seg"):
            export(ball_project, out, fmt="docx")
        with pytest.raises(ProjectError, match="no prediction"):
            export(ball_project, out, what="predictions")
        with pytest.raises(ProjectError, match="outside"):
            ball_project.export(ball_project.layout.cases / "case_0")
        with pytest.raises(ProjectError, match="ghost"):
            export(ball_project, out, cases=["ghost"])
        assert not out.exists()

    def test_excluded_cases_stay_out_and_lists_choose(
        self, ball_project, tmp_path
    ) -> None:
        ball_project.set_excluded("case_0", True)
        report = export(ball_project, tmp_path / "out", what="labels")
        assert report.written[0].name == "case_1.nii.gz"
        assert report.skipped["case_2"] == "no label"
        report = export(ball_project, tmp_path / "b", what="labels", cases=["case_0"])
        assert report.written[0].name == "case_0.nii.gz"


def test_an_export_looks_at_all_runs_once_and_not_for_each_case(
    ball_project, run, tmp_path, monkeypatch
) -> None:
    newer = Run.create(ball_project, TrainingConfig())
    shutil.copytree(run.folder.predictions, newer.folder.predictions)
    looked: list[str] = []
    predicted = Run.predicted
    monkeypatch.setattr(Project, "prediction_run", None)
    monkeypatch.setattr(
        Run, "predicted", lambda one, **_: looked.append(one.id) or predicted(one, **_)
    )
    report = export(ball_project, tmp_path / "out", what="predictions")
    assert {path.name for path in report.written} >= {"case_3.nii.gz"}
    assert len(looked) <= 2 * len(ball_project.runs())  # for the states, and for masks
