"""A project or checkpoint from a stranger runs no code and reaches nothing outside."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from faulty import refused, semiseg

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ImageError, ProjectError, SemisegError
from napari_semiseg.io.images import content_sha256, read_image
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run
from synthetic import SIZE, snapshot

POSIX = pytest.mark.skipif(os.name != "posix", reason="links and devices of POSIX")


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is none of the project's business."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text("mine")
    (folder / ".tmp-old").write_text("also mine")
    return folder


def everything(project: Project, out: Path) -> None:
    """All that a user would do with a project that was sent."""
    opened = Project.open(project.folder)
    for case in opened.cases():
        case.read_label()
        case.read_draft()
        opened.save_draft(case.id, np.zeros((SIZE,) * 3, np.uint8))
        opened.set_label(case.id, np.zeros((SIZE,) * 3, np.uint8))
        opened.set_label(case.id, np.ones((SIZE,) * 3, np.uint8))
    for run in opened.runs():
        for name in run.predicted():
            run.read_prediction(name, opened.case(name).geometry)
        run.request_stop()
        run.claim()
    opened.export(out)


@POSIX
@pytest.mark.parametrize(
    "place",
    [
        "project.toml",
        "cases",
        "runs",
        "cases/case_0",
        "cases/case_0/case.json",
        "cases/case_0/label.nii.gz",
        "cases/case_0/draft.nii.gz",
        "cases/case_0/previous",
        "runs/RUN",
        "runs/RUN/events.jsonl",
        "runs/RUN/log.txt",
        "runs/RUN/checkpoints",
        "runs/RUN/predictions",
        "runs/RUN/predictions/case_3",
        "runs/RUN/predictions/case_3/labels.nii.gz",
    ],
)
def test_no_link_is_followed_out_of_a_project(
    ball_project, predicted_run, outside, tmp_path, place
) -> None:
    path = ball_project.folder / place.replace("RUN", predicted_run.id)
    target = outside / path.name
    if path.exists():
        shutil.move(path, target)
    else:
        target.mkdir() if "." not in path.name else target.write_bytes(b"")
    path.symlink_to(target)
    before = snapshot(outside)
    with pytest.raises(ProjectError, match="a link that leads out") as caught:
        everything(ball_project, tmp_path / "out")
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert snapshot(outside) == before


@POSIX
def test_a_link_that_stays_in_the_project_is_taken(ball_project, predicted_run) -> None:
    real = ball_project.folder / "big-disk"
    shutil.move(predicted_run.folder.path, real)
    predicted_run.folder.path.symlink_to(real)
    assert Project.open(ball_project.folder).runs()[0].predicted() == ("case_3",)


@POSIX
def test_devices_and_pipes_never_hang(ball_project, tmp_path) -> None:
    endless = tmp_path / "endless.nii.gz"
    endless.symlink_to("/dev/zero")
    pipe = tmp_path / "pipe.nii.gz"
    os.mkfifo(pipe)
    for path in (endless, pipe):
        for read in (read_image, content_sha256):
            with pytest.raises(ImageError):
                read(path)
    record = ball_project.layout.case("case_1").json
    values = json.loads(record.read_text())
    values["channels"][0]["image"] = str(endless)
    record.write_text(json.dumps({**values, "history": []}))
    assert "case_1" in Project.open(ball_project.folder).check_images()
    record.unlink()
    os.mkfifo(record)
    with pytest.raises(ProjectError, match="neither file nor folder"):
        Project.open(ball_project.folder).cases()


def test_a_lock_that_is_a_link_empties_no_file(ball_project) -> None:
    folder = ball_project.layout.case("case_0")
    before = folder.label.read_bytes()
    (folder.path / ".lock").unlink()
    (folder.path / ".lock").symlink_to(folder.label)
    ball_project.set_split("case_0", "test")
    assert folder.label.read_bytes() == before
    assert ball_project.case("case_0").split == "test"


@pytest.mark.parametrize(
    "name", ["../../outside/case", "/outside", "..", ".", "", "a/b", "case_1", "x\0y"]
)
def test_an_id_cannot_name_another_folder(
    ball_project, outside, tmp_path, name
) -> None:
    record = ball_project.layout.case("case_0").json
    values = json.loads(record.read_text())
    record.write_text(json.dumps({**values, "id": name}))
    before = snapshot(outside)
    kept = snapshot(ball_project.layout.case("case_1").path)
    with pytest.raises(ProjectError, match=r"as its folder is named|expected"):
        everything(ball_project, tmp_path / "out")
    assert snapshot(outside) == before
    assert snapshot(ball_project.layout.case("case_1").path) == kept
    for act in (ball_project.case, ball_project.run, ball_project.discard_draft):
        if name != "case_1":
            with pytest.raises(SemisegError):
                act(name)


@pytest.mark.parametrize("name", ["../../../outside/run", "/tmp/run", "..", ""])
def test_a_run_cannot_be_made_elsewhere(ball_project, outside, name) -> None:
    before = snapshot(outside.parent)
    if name:
        with pytest.raises(ProjectError):
            Run.create(ball_project, TrainingConfig(), run_id=name)
        assert snapshot(outside.parent) == before
    said = refused(semiseg("stop", ball_project.folder, name or "../x"))
    assert "run" in said


def test_names_of_classes_are_no_paths(tmp_path, spheres) -> None:
    name = '../../../outside/\\evil:*?"<>| name'
    project = Project.create(tmp_path / "deep" / "er" / "p", {name: 1})
    project.add(spheres.images / "case_0.nii.gz")
    project.set_label("case_0", spheres.masks / "case_0.nii.gz")
    for fmt in ("stl", "nnunet", "nifti"):
        out = tmp_path / "deep" / fmt
        before = set(tmp_path.rglob("*")) - set(out.rglob("*"))
        report = project.export(out, fmt=fmt)
        assert report.written
        assert all(out.resolve() in path.resolve().parents for path in report.written)
        assert set(tmp_path.rglob("*")) - {out, *out.rglob("*")} == before


def test_settings_hold_no_objects_and_no_paths(ball_project, tmp_path) -> None:
    path = ball_project.layout.project_file
    text = path.read_text()
    for line in ('folder = "/etc"', '"__class__" = "os.system"', "[labels_]\nx = 1"):
        path.write_text(f"{line}\n{text}")
        with pytest.raises(ProjectError, match="correct the file"):
            Project.open(ball_project.folder)


def test_a_foreign_method_is_not_imported(ball_project, tmp_path, monkeypatch) -> None:
    trace = tmp_path / "trace"
    evil = ball_project.folder / "evil_method.py"
    evil.write_text(f"open({str(trace)!r}, 'w').close()")
    monkeypatch.chdir(ball_project.folder)
    run = Run.create(ball_project, TrainingConfig())
    run.folder.config.write_text('method = "evil_method"\nsteps = 1\n')
    done = semiseg("resume", ball_project.folder, run.id)
    assert done.returncode == 1
    assert not trace.exists()
    assert "evil_method" not in sys.modules


def pickled(bomb: Bomb) -> bytes:
    return pickle.dumps({"version": 2, "students": bomb})


def zipped(bomb: Bomb) -> bytes:
    """As torch writes it, with a foreign object in the pickle."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("archive/data.pkl", pickled(bomb))
        file.writestr("archive/version", "3\n")
        file.writestr("archive/byteorder", "little")
    return content.getvalue()


@pytest.mark.engine
@pytest.mark.parametrize("make", [pickled, zipped])
def test_a_checkpoint_runs_no_code(ball_project, tmp_path, make) -> None:
    from napari_semiseg.engine.training.checkpoint import Checkpoint

    trace = tmp_path / "trace"
    path = tmp_path / "run" / "checkpoints" / "last.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(make(Bomb(trace)))
    with pytest.raises(ProjectError, match="damaged or foreign") as caught:
        Checkpoint.load(path)
    assert not trace.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.engine
@pytest.mark.parametrize(
    "state",
    [
        [1, 2],
        {"version": 2},
        {"version": 2, "students": 3, "teachers": [], "step": "x"},
        {"version": 99},
    ],
)
def test_a_checkpoint_of_other_things_is_one_line(
    ball_project, predicted_run, tmp_path, state
) -> None:
    import torch

    from napari_semiseg.engine.training.checkpoint import Checkpoint

    path = tmp_path / "run" / "checkpoints" / "last.pt"
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    with pytest.raises(ProjectError):
        Checkpoint.load(path)


def test_arrays_in_the_cache_are_never_unpickled() -> None:
    root = Path(__file__).parents[2] / "src"
    for path in root.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in text, path
        assert "pickle.load" not in text, path
        if "torch.load(" in text:
            assert text.count("torch.load(") == text.count("weights_only=True"), path
        if "np.load(" in text:
            assert text.count("np.load(") == text.count("allow_pickle=False"), path
