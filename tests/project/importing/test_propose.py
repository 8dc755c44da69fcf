"""Another program as the one who proposes: good, bad, slow and stopped."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from napari_semiseg.core.cancellation import CancellationToken
from napari_semiseg.core.case import CaseState
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ConfigError, ProjectError, SemisegError
from napari_semiseg.project.cases.history import Proposed
from napari_semiseg.project.doctor import check_project
from napari_semiseg.project.importing.propose import propose
from napari_semiseg.project.project import Project
from napari_semiseg.project.review.accept import accept
from napari_semiseg.project.runs.run import Run
from synthetic import ball, snapshot

TOOL = """
import sys, os, time, subprocess
import numpy as np, nibabel as nib
image, mask = sys.argv[1:3]
scan = nib.load(image)
found = (np.asarray(scan.dataobj) > 50).astype(np.uint8)
def save(path, values, affine=scan.affine):
    nib.save(nib.Nifti1Image(values, affine), path)
"""
GOOD = "save(mask, found)"


@pytest.fixture
def tool(tmp_path):
    """Make a command of some lines of Python, that only case_3 may do otherwise."""

    def make(bad: str = GOOD, good: str = GOOD) -> list[str]:
        script = tmp_path / "a tool.py"
        body = f"if 'case_3' in image:\n    {bad}\nelse:\n    {good}\n"
        script.write_text(TOOL + body, encoding="utf-8")
        return [sys.executable, str(script), "{image}", "{mask}"]

    return make


def masks_of(project: Project, run: str) -> dict[str, np.ndarray]:
    found = project.run(run)
    return {
        name: found.read_mask(name, project.case(name).geometry)[1]
        for name in found.predicted()
    }


def test_masks_become_proposals_of_cases_without_a_label(ball_project, tool) -> None:
    labels = snapshot(ball_project.folder / "cases" / "case_0")
    report = propose(ball_project, tool())
    assert report.proposed == ["case_2", "case_3", "case_4"]
    assert report.skipped == {}
    assert snapshot(ball_project.folder / "cases" / "case_0") == labels
    for name in report.proposed:
        case = ball_project.case(name)
        assert case.state is CaseState.PROPOSED
        entry = case.record.history[-1]
        assert isinstance(entry, Proposed)
        assert "a tool.py" in entry.command
        assert entry.version == f"Python {sys.version.split()[0]}"
        mask = masks_of(ball_project, report.run)[name]
        truth = case.geometry.to_canonical(ball(int(name[-1])))
        np.testing.assert_array_equal(mask, truth)
    run = ball_project.run(report.run)
    prediction = run.read_prediction("case_2", ball_project.case("case_2").geometry)
    assert (prediction.sdm_mm[0] < 0).sum() == prediction.labels.sum()
    assert run.status == "completed"
    assert check_project(ball_project.folder).open == []
    assert accept(ball_project, ["case_2"]).unseen == ["case_2"]


def test_a_proposal_is_no_training(ball_project, tool) -> None:
    trained = Run.create(ball_project, TrainingConfig())
    report = propose(ball_project, tool(), ["case_2"])
    assert ball_project.latest_run() == trained
    assert ball_project.prediction_run("case_2") == ball_project.run(report.run)
    with pytest.raises(ProjectError, match="expected a training"):
        _ = ball_project.run(report.run).config


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("sys.exit('the licence is missing')", "the licence is missing"),
        ("raise MemoryError('none left')", "exit code 1 .MemoryError: none left"),
        ("pass", "found nothing"),
        ("save(mask, found[:-1])", "expected a mask on the image's grid"),
        ("save(mask, found, np.diag([9, 9, 9, 1.0]))", "image's grid"),
        ("save(mask, found * 7)", r"found label value\(s\) \[7\]"),
        ("save(mask, found * 255)", "found only 0 and 255"),
        ("open(mask, 'w').write('no image')", "mask.nii.gz"),
        ("os.mkdir(mask); save(mask + '/spleen.nii', found)", "found spleen.nii"),
    ],
)
def test_a_case_that_fails_is_one_line_and_the_others_go_on(
    ball_project, tool, bad, reason
) -> None:
    report = propose(ball_project, tool(bad))
    assert report.proposed == ["case_2", "case_4"]
    (line,) = report.skipped.values()
    assert "\n" not in line
    with pytest.raises(SemisegError, match=reason):
        raise SemisegError(line)
    assert ball_project.case("case_3").state is CaseState.UNLABELLED
    assert check_project(ball_project.folder).open == []


def test_a_program_that_hangs_is_ended_with_its_children(
    ball_project, tool, tmp_path
) -> None:
    sleeper = tmp_path / "pid"
    bad = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; "
        f"time.sleep(60)']); open({str(sleeper)!r}, 'w').write(str(child.pid)); "
        "time.sleep(60)"
    )
    report = propose(ball_project, tool(bad), ["case_3", "case_4"], minutes=0.15)
    assert report.proposed == ["case_4"]
    assert "within 9 s" in report.skipped["case_3"]
    child = int(sleeper.read_text())  # where nobody waits for it, it stays as a zombie
    running = psutil.pid_exists(child) and psutil.Process(child).status()
    assert running in (False, psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("how", ["token", "run"])
def test_stopping_ends_the_program_and_keeps_what_is_done(
    ball_project, tool, how
) -> None:
    done: list[float] = []

    def asked() -> bool:
        if not done or time.monotonic() < done[0] + 1:
            return False
        if how == "run":
            ball_project.runs()[-1].request_stop()
        return how == "token"

    report = propose(
        ball_project,
        tool("time.sleep(600)"),
        cancellation=CancellationToken(asked),
        progress=lambda *_: done.append(time.monotonic()),
    )
    assert report.stopped
    assert report.proposed == ["case_2"]
    run = ball_project.run(report.run)
    assert run.status == "cancelled"
    assert not run.stop_requested


def test_one_file_a_structure_and_values_of_the_tool(tmp_path, spheres, tool) -> None:
    classes = {"left atrium": 1, "wall": 2}
    project = Project.create(tmp_path / "two", classes)
    project.add(spheres.images)
    folder = (
        "os.mkdir(mask); save(mask + '/Left_Atrium.nii.gz', found); "
        "save(mask + '/wall.nii.gz', found * (np.indices(found.shape)[0] > 12)); "
        "save(mask + '/spleen.nii.gz', found)"
    )
    report = propose(project, tool(folder, "save(mask, found * 51)"), ["case_3"])
    mask = masks_of(project, report.run)["case_3"]
    assert set(np.unique(mask)) == {0, 1, 2}
    named = propose(project, tool(folder), ["case_3"], structures={"spleen": 2})
    assert set(np.unique(masks_of(project, named.run)["case_3"])) == {0, 2}
    many = tool("save(mask, found * 51)")
    report = propose(project, many, ["case_3"], structures={"51": 2, "7": 1})
    assert set(np.unique(masks_of(project, report.run)["case_3"])) == {0, 2}


def test_names_are_never_read_by_a_shell(tmp_path, spheres, tool) -> None:
    odd = tmp_path / "odd"
    odd.mkdir()
    name = "case_3 {mask} $(touch hacked); 'x"
    (odd / f"{name}.nii.gz").write_bytes(
        (spheres.images / "case_3.nii.gz").read_bytes()
    )
    project = Project.create(tmp_path / "shell", {"left atrium": 1})
    (case,) = project.add(odd).added
    command = " ".join(f'"{word}"' for word in tool())
    assert propose(project, command).proposed == [case]
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("tool {image}", "expected a command with {image} and {mask}"),
        ("no-such-program {image} {mask}", "'no-such-program' is none"),
        ("tool '{image} {mask}", "close what is quoted"),
        ("", "expected a command with"),
    ],
)
def test_a_command_that_cannot_be_run_starts_nothing(
    ball_project, command, message
) -> None:
    before = snapshot(ball_project.folder)
    with pytest.raises(SemisegError) as refusal:
        propose(ball_project, command)
    assert message in str(refusal.value)
    with pytest.raises(ConfigError, match="classes of the project"):
        propose(ball_project, [sys.executable, "{image}{mask}"], structures={"a": 9})
    assert snapshot(ball_project.folder) == before


def test_predictions_of_nnunet_become_proposals_by_the_names_of_its_classes(
    tmp_path, spheres
) -> None:
    """nnU-Net numbers classes from 1 on; the project has 5 for the atrium."""
    project = Project.create(tmp_path / "heart", {"aorta": 2, "left atrium": 5})
    project.add(spheres.images)
    shape = project.case("case_0").geometry.shape_zyx
    project.set_label("case_0", np.full(shape, 5, np.uint8))
    folder = tmp_path / "predictions"
    folder.mkdir()
    for name in ("case_0", "case_2", "case_3"):
        (folder / f"{name}.nii.gz").write_bytes(
            (spheres.masks / f"{name}.nii.gz").read_bytes()
        )
    (folder / "plans.json").write_text("{}")
    labels = {"background": 0, "Left_Atrium": 1, "aorta": 2, "ignore": 3}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    report = propose(project, masks=folder)
    assert report.proposed == ["case_2", "case_3"]
    run = project.run(report.run)
    assert run.method == "nnU-Net"
    for name, mask in masks_of(project, report.run).items():
        truth = project.case(name).geometry.to_canonical(ball(int(name[-1])))
        np.testing.assert_array_equal(mask, 5 * truth)
        entry = project.case(name).record.history[-1]
        assert isinstance(entry, Proposed)
        assert entry.command == str(folder)


def test_masks_of_others_must_fit_cases_and_classes(ball_project, spheres) -> None:
    before = snapshot(ball_project.folder)
    for given in ({}, {"command": "tool", "masks": spheres.masks}):
        with pytest.raises(ConfigError, match="give one of them"):
            propose(ball_project, **given)
    (spheres.masks / "case_4.nii.gz").unlink()
    with pytest.raises(ProjectError, match="expected masks of 1 cases"):
        propose(ball_project, None, ["case_4"], masks=spheres.masks)
    table = spheres.masks / "dataset.json"
    table.write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    with pytest.raises(ConfigError, match="found liver; say which is which"):
        propose(ball_project, masks=spheres.masks)
    assert snapshot(ball_project.folder) == before
    report = propose(ball_project, masks=spheres.masks, structures={"1": 1})
    assert report.proposed == ["case_2", "case_3"]
