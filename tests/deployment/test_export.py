"""Trained models leave, and segment as they did here."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest

import napari_semiseg as ss
from napari_semiseg.errors import ConfigError, ProjectError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

CONFIGS = {
    "one network": {"method": "auto", "spacing_mm": (2.0, 1.0, 1.5)},
    "two networks": {"method": "cps"},
    "two decoders": {"method": "mc_net_plus"},
}


def trained(project: Project, **config: object) -> Run:
    values = {"steps": 40, "width": 4, "precision": "fp32", "patch_zyx": (16, 16, 16)}
    list(ss.train(project, ss.TrainingConfig(**values | config)))
    run = project.latest_run()
    assert run is not None
    return run


@pytest.mark.engine
@pytest.mark.parametrize("kind", CONFIGS)
def test_masks_are_the_same_voxel_for_voxel(
    ball_project: Project, tmp_path: Path, kind: str
) -> None:
    run = trained(ball_project, **CONFIGS[kind])
    report = ss.export_model(ball_project, tmp_path / "model", run=run)
    assert {path.name for path in report.written} == {
        "model.onnx",
        "pipeline.json",
        "model-card.md",
    }
    assert report.difference < 1e-5
    cases = ball_project.cases()
    images = [case.image for case in cases]
    ss.run_model(tmp_path / "model", images, tmp_path / "masks")
    seen = 0
    for case in cases:
        ours = ss.predict(run, case).labels
        stored = nib.load(tmp_path / "masks" / f"{case.id}.nii.gz")
        theirs = case.geometry.to_canonical(np.asarray(stored.dataobj))
        assert np.array_equal(theirs, ours)
        seen += np.count_nonzero(ours)
    assert seen > 0


@pytest.mark.engine
def test_a_bundle_runs_in_monai(ball_project: Project, tmp_path: Path) -> None:
    bundle = pytest.importorskip("monai.bundle")
    run = trained(ball_project, method="supervised")
    folder = tmp_path / "bundle"
    ss.export_model(ball_project, folder, run=run, layout="monai", licence="CC BY 4.0")
    about = json.loads((folder / "configs" / "metadata.json").read_text())
    assert about["network_data_format"]["outputs"]["pred"]["channel_def"] == {
        "0": "background",
        "1": "left atrium",
    }
    assert (folder / "LICENSE").read_text() == "CC BY 4.0\n"
    case = ball_project.cases()[0]
    images = tmp_path / "images"
    images.mkdir()
    (images / case.image.name).write_bytes(case.image.read_bytes())
    bundle.run(
        config_file=str(folder / "configs" / "inference.json"),
        meta_file=str(folder / "configs" / "metadata.json"),
        bundle_root=str(folder),
        dataset_dir=str(images),
    )
    stored = nib.load(folder / "eval" / f"{case.id}.nii.gz")
    theirs = case.geometry.to_canonical(np.asarray(stored.dataobj))
    assert np.array_equal(theirs, ss.predict(run, case).labels)


@pytest.mark.engine
def test_the_card_says_what_the_model_is_from(
    ball_project: Project, tmp_path: Path
) -> None:
    for name, split in (("case_1", "test"), ("case_4", "validation")):
        ball_project.set_split(name, split)
    run = trained(ball_project, method="supervised")
    run.write_prediction(
        ss.predict(run, ball_project.case("case_1")), ball_project.case("case_1").image
    )
    ss.export_model(ball_project, tmp_path)
    card = (tmp_path / "model-card.md").read_text()
    assert "1 labelled scan (1 of them whole) and 2 scans without a label" in card
    assert "| left atrium, 1 test scan | 0." in card
    assert "not stated" in card
    assert "## Who labelled and corrected" in card
    assert "Not a medical device" in card


@pytest.mark.engine
def test_there_must_be_a_model(ball_project: Project, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="expected a trained run"):
        ss.export_model(ball_project, tmp_path / "model")
    with pytest.raises(ConfigError, match="expected a layout of plain, monai"):
        ss.export_model(ball_project, tmp_path / "model", layout="zip")
    assert not (tmp_path / "model").exists()


@pytest.mark.engine
def test_a_full_disk_is_no_fault_of_the_network(
    ball_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = trained(ball_project, steps=1)
    monkeypatch.setattr(torch.onnx, "export", full)
    with pytest.raises(ProjectError, match="to write this file, found 'No space left"):
        ss.export_model(ball_project, tmp_path / "model", run=run)
