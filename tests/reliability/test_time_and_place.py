"""Several processes on one project, clocks that are set, folders that were moved."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from faulty import semiseg
from filelock import FileLock

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.errors import ImageError, ProjectError
from napari_semiseg.execution.follow import follow_process
from napari_semiseg.execution.local import LocalHandle
from napari_semiseg.io import atomic
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs import process
from napari_semiseg.project.runs.process import Claim
from napari_semiseg.project.runs.run import Run
from synthetic import SIZE

WRITER = """
import sys, time
import numpy as np
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.project.runs.run import Run
from napari_semiseg.project.project import Project
project = Project.open(sys.argv[1])
while not sys.argv[3] or time.time() < float(sys.argv[3]):
    time.sleep(0.001)
for number in range(8):
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[number] = 1
    project.set_label("case_0", labels, by=f"{sys.argv[2]}{number}")
    project.save_draft("case_2", labels)
    Run.create(project, TrainingConfig())
project.add(sys.argv[4])
"""


def test_two_programs_on_one_project_lose_nothing(ball_project, tmp_path) -> None:
    more = tmp_path / "more" / "new.nii.gz"
    more.parent.mkdir()
    shutil.copy(ball_project.case("case_4").image, more)
    start = str(time.time() + 4)
    words = (str(ball_project.folder), start, str(more))
    children = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, words[0], name, *words[1:]],
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    errors = [child.communicate(timeout=120)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], errors
    project = Project.open(ball_project.folder)
    record = project.case("case_0").record
    by = [entry.by for entry in record.history if entry.action == "label"][1:]
    wanted = {f"{name}{number}" for name in "ab" for number in range(8)}
    assert sorted(by) == sorted(wanted)
    label = project.case("case_0").read_label()
    assert label.any(axis=(1, 2)).argmax() == 7
    assert len(project.runs()) == 16
    assert "new" in [case.id for case in project.cases()]
    assert not list(project.folder.rglob(".tmp-*"))


def test_a_case_that_another_program_holds_is_waited_for(ball_project) -> None:
    patience = atomic.PATIENCE_S.set(0.1)
    folder = ball_project.layout.case("case_0").path
    before = ball_project.layout.case("case_0").label.read_bytes()
    with (
        FileLock(folder / atomic.LOCK),  # not the one that this process takes twice
        pytest.raises(ProjectError, match="another program"),
    ):
        ball_project.set_label("case_0", np.zeros((SIZE,) * 3, np.uint8))
    atomic.PATIENCE_S.reset(patience)
    assert ball_project.layout.case("case_0").label.read_bytes() == before
    ball_project.set_label("case_0", np.zeros((SIZE,) * 3, np.uint8))


def test_another_programs_unfinished_file_is_left_alone(ball_project) -> None:
    folder = ball_project.layout.case("case_0").path
    ours = folder / f"{atomic.temporary_name()}.nii.gz"
    elsewhere = folder / ".tmp-0123abcd-77-ff.nii.gz"
    for path in (ours, elsewhere):
        path.write_bytes(b"half")
    ball_project.set_label("case_0", np.zeros((SIZE,) * 3, np.uint8))
    assert ours.exists()
    assert elsewhere.exists()
    yesterday = time.time() - 2 * 86400
    os.utime(elsewhere, (yesterday, yesterday))
    ball_project.set_label("case_0", np.ones((SIZE,) * 3, np.uint8))
    assert ours.exists()
    assert not elsewhere.exists()


class Backwards(datetime):
    """A clock that loses an hour each time somebody looks."""

    hour = 0

    @classmethod
    def now(cls, tz=None):
        cls.hour += 1
        return datetime(2030, 1, 9, tzinfo=UTC) - timedelta(hours=cls.hour)


def test_a_clock_that_goes_back_keeps_the_newest_labels(
    ball_project, monkeypatch
) -> None:
    monkeypatch.setattr("napari_semiseg.project.cases.versions.datetime", Backwards)
    for number in range(8):
        labels = np.zeros((SIZE,) * 3, np.uint8)
        labels[number] = 1
        ball_project.set_label("case_2", labels)
    case = ball_project.case("case_2")
    kept = sorted(case.folder.previous.glob("[0-9]*.nii.gz"))
    slices = [
        int(read_labels(path, case.geometry).any((1, 2)).argmax()) for path in kept
    ]
    assert slices == [2, 3, 4, 5, 6]


def test_a_clock_that_goes_back_keeps_runs_in_order(ball_project, monkeypatch) -> None:
    now = time.time()
    made = []
    for hours in range(3):
        monkeypatch.setattr(time, "time", lambda hours=hours: now - 3600 * hours)
        made.append(Run.create(ball_project, TrainingConfig()))
    monkeypatch.undo()
    assert Project.open(ball_project.folder).runs() == made


def test_copied_runs_without_their_environment_stay_in_order(ball_project) -> None:
    made = [Run.create(ball_project, TrainingConfig()) for _ in range(3)]
    for number, run in enumerate(made):
        run.append(Started(run=run.id, method="ug_mcl", pid=1))
        run.folder.environment.unlink()
        os.utime(run.folder.path, (1e9 - number, 1e9 - number))
    assert Project.open(ball_project.folder).runs() == made
    made[0].folder.events.unlink()  # the day in its id is left
    assert Project.open(ball_project.folder).runs() == made


def test_a_clock_that_is_set_does_not_end_a_run(ball_project) -> None:
    run = Run.create(ball_project, TrainingConfig())
    day = 86400.0
    for at in (time.time() - day, time.time() + day):
        run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid(), at=at))
        assert run.status == "running"
        os.utime(run.folder.pid, (at, at))
        assert run.is_working


def test_a_computer_whose_clock_is_an_hour_off_is_followed_to_its_end(
    ball_project, monkeypatch
) -> None:
    run = Run.create(ball_project, TrainingConfig())
    now = time.time()
    elsewhere = replace(Claim.of(os.getpid()), host="0123abcd")
    mark = {"run": run.id, "method": "ug_mcl", "pid": elsewhere.pid}
    run.append(Started(at=now - 3600, session="a", **mark))
    run.append(Finished(run=run.id, reason="failed", step=1, seconds=1, at=now + 7200))
    handle = SimpleNamespace(pid=None, session="b", started=now, poll=lambda: None)
    run.append(Started(at=now - 3600, session="b", **mark))
    run.folder.pid.write_text(elsewhere.text)
    for off in (-3600, 3600):
        monkeypatch.setattr(time, "time", lambda off=off: now + off)
        assert run.status == "running"
    events = follow_process(run, handle, poll_s=0.01)
    assert [next(events).type for _ in range(3)] == ["started", "finished", "started"]
    run.append(Finished(run=run.id, reason="completed", step=2, seconds=1, at=0.0))
    handle.poll = lambda: 0
    assert [event.reason for event in events] == ["completed"]


def test_a_clock_that_goes_back_does_not_make_an_end_a_failure(ball_project) -> None:
    run = Run.create(ball_project, TrainingConfig())
    sleeper = subprocess.Popen([sys.executable, "-c", ""])
    sleeper.wait()
    handle = LocalHandle(sleeper, started=time.time())
    hour_ago = time.time() - 3600
    mark = {"pid": handle.pid, "session": handle.session}
    run.append(Started(run=run.id, method="ug_mcl", at=hour_ago, **mark))
    run.append(Finished(run=run.id, reason="completed", step=3, seconds=1, at=hour_ago))
    ends = [event for event in follow_process(run, handle) if event.type == "finished"]
    assert [event.reason for event in ends] == ["completed"]


def test_a_run_of_another_computer_lives_as_long_as_its_log_grows(
    ball_project,
) -> None:
    run = Run.create(ball_project, TrainingConfig())
    here = Claim.of(os.getpid())
    run.append(Started(run=run.id, method="ug_mcl", pid=here.pid))
    run.folder.pid.write_text(replace(here, host="0123abcd").text)
    assert run.status == "running"
    old = time.time() - 2 * process.QUIET_S
    os.utime(run.folder.events, (old, old))
    assert run.status == "running"  # its process shows that it lives
    os.utime(run.folder.pid, (old, old))
    assert run.status == "interrupted"


@pytest.mark.parametrize("text", ["", "-5", "0", f"{10**30}", "x", "7 nan", "\0"])
def test_a_claim_that_makes_no_sense_is_no_process(ball_project, text) -> None:
    run = Run.create(ball_project, TrainingConfig())
    run.folder.pid.write_text(text)
    assert run.status == "interrupted"
    run.append(Started(run=run.id, method="ug_mcl", pid=-(10**20), at=1e300))
    assert run.status == "interrupted"
    assert not run.is_working


def test_a_project_copied_without_its_images_says_how_to_mend(
    ball_project, predicted_run, spheres, tmp_path
) -> None:
    far = tmp_path / "another" / "machine" / "at" / "another" / "path"
    shutil.copytree(ball_project.folder, far / "atrium")
    project = Project.open(far / "atrium")
    assert len(project.cases()) == 5
    label = project.case("case_0").read_label()
    assert np.array_equal(label, ball_project.case("case_0").read_label())
    with pytest.raises(ImageError, match="point the project to its new folder"):
        project.case("case_0").read_image()
    shown = semiseg("status", project.folder, "--json")
    assert len(json.loads(shown.stdout)["cases"]) == 5
    told = semiseg("doctor", project.folder)
    assert told.returncode == 1
    assert "--images FOLDER" in told.stdout
    done = semiseg(
        "doctor", project.folder, "--mend", "--images", spheres.images, "--json"
    )
    assert json.loads(done.stdout)["open"] == 0
    project = Project.open(project.folder)
    assert project.case("case_0").read_image().data.shape == (SIZE,) * 3
    holder = project.prediction_run("case_3")
    assert holder is not None
    assert holder.read_prediction("case_3", project.case("case_3").geometry)


def test_export_without_the_images_leaves_cases_out_with_a_reason(
    ball_project, spheres, tmp_path
) -> None:
    (spheres.images / "case_0.nii.gz").unlink()
    for fmt in ("nifti", "nnunet", "nrrd"):
        out = tmp_path / fmt
        ids = ["case_0", "case_1"]
        report = ball_project.export(out, what="labels", fmt=fmt, cases=ids)
        assert list(report.skipped) == ["case_0"]
        assert "is missing" in report.skipped["case_0"]
        assert not list(out.rglob("*case_0*"))
        assert json.loads((out / "manifest.json").read_text())["skipped"] == (
            report.skipped
        )
