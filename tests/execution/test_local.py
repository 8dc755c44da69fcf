from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started, Stepped
from napari_semiseg.errors import ProjectError
from napari_semiseg.execution import local
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from pathlib import Path

SESSION = """
import os, sys, time
from pathlib import Path
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.project.layout import RunFolder
from napari_semiseg.project.runs.run import Run
run = Run(RunFolder(Path(sys.argv[1])))
run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
while not run.stop_requested:
    time.sleep(0.01)
run.append(Finished(run=run.id, reason="cancelled", step=3, seconds=1.0))
"""


@pytest.fixture
def run(ball_project) -> Run:
    return Run.create(ball_project, TrainingConfig())


def child(run: Run, code: str) -> local.Job:
    """A process of the test's own in the place of ``semiseg``."""
    with run.folder.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(run.folder.path)], stdout=log, stderr=log
        )
    return local.Job(process)


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="Unix")
@pytest.mark.parametrize(("gives_way", "nicer"), [(True, local.NICER), (False, 0)])
def test_a_job_leaves_the_processor_to_who_paints(
    tmp_path: Path, gives_way: bool, nicer: int
) -> None:
    wait = ["train", str(tmp_path)]  # long enough to import, then no project is found
    job = local.start(wait, tmp_path / "log.txt", gives_way=gives_way)
    found = os.getpriority(os.PRIO_PROCESS, job.pid)
    assert found == min(os.getpriority(os.PRIO_PROCESS, 0) + nicer, 19)
    job.process.wait(60)


def stepped(step: int) -> Stepped:
    return Stepped(
        step=step, steps=9, losses={}, learning_rate=0, seconds=1, seconds_left=1
    )


def test_events_come_as_they_happen_and_end_with_the_session(run) -> None:
    job = child(run, SESSION)
    seen = []
    for event in local.follow(run, job=job, poll_s=0.02):
        seen.append(type(event))
        if isinstance(event, Started):
            assert run.status == "running"
            run.request_stop()
    assert seen == [Started, Finished]
    assert job.process.wait(5) == 0
    assert job.poll() == 0


def test_a_process_that_dies_ends_with_its_last_words(run) -> None:
    job = child(run, "import sys; print('loading'); sys.exit('out of memory')")
    job.process.wait()
    run.append(Started(run=run.id, method="ug_mcl", pid=job.pid))
    run.append(stepped(2))
    job = child(run, "import os; print('boom', flush=True); os._exit(3)")
    *_, last = local.follow(run, job=job, poll_s=0.02)
    assert isinstance(last, Finished)
    assert last.reason == "failed"
    assert last.step == 2
    assert "boom" in (last.error or "")
    assert not any(isinstance(event, Finished) for event in run.events())


def test_an_interrupted_run_is_told_without_a_job(run) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    run.append(Started(run=run.id, method="ug_mcl", pid=gone.pid))
    first, last = local.follow(run, poll_s=0.02)
    assert isinstance(first, Started)
    assert isinstance(last, Finished)
    assert run.status == "interrupted"


def test_half_a_line_waits_for_its_other_half(run) -> None:
    run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
    line = (stepped(4).to_line() + "\n").encode()

    def write() -> None:
        with run.folder.events.open("ab", buffering=0) as log:
            log.write(line[:20])
            time.sleep(0.15)
            log.write(line[20:])
        run.append(Finished(run=run.id, reason="completed", step=4, seconds=1))

    writer = threading.Thread(target=write)
    writer.start()
    seen = [event.type for event in local.follow(run, poll_s=0.01)]
    writer.join()
    assert seen == ["started", "stepped", "finished"]


def test_an_earlier_end_does_not_end_a_resumed_run(run) -> None:
    run.append(Started(run=run.id, method="ug_mcl", pid=1, at=1.0))
    run.append(Finished(run=run.id, reason="cancelled", step=1, seconds=1, at=2.0))
    job = child(run, SESSION)
    seen = []
    for event in local.follow(run, job=job, poll_s=0.02):
        seen.append(event.type)
        if len(seen) == 3:
            run.request_stop()
    assert seen == ["started", "finished", "started", "finished"]
    job.process.wait()


def test_following_can_be_stopped(run) -> None:
    run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
    seen: list[object] = []
    for event in local.follow(run, poll_s=0.01, stop=lambda: bool(seen)):
        seen.append(event)
    assert len(seen) == 1


def test_a_verb_runs_detached_with_its_output_in_the_log(tmp_path) -> None:
    job = local.start(
        ["status", str(tmp_path / "none"), "--json"], tmp_path / "log.txt"
    )
    assert job.process.wait(60) == 1
    text = (tmp_path / "log.txt").read_text()
    assert text.startswith("semiseg: ")
    assert "semiseg init" in text
    if os.name == "posix":
        assert os.getsid(0) != job.pid


def test_a_log_that_cannot_be_written_is_said(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProjectError, match="log"):
        local.start(["status", "x"], tmp_path / "file" / "log.txt")


def test_a_training_that_refuses_leaves_no_run_behind(empty_project) -> None:
    run, job = local.start_training(empty_project, TrainingConfig(steps=2))
    assert run.pid == job.pid
    assert run.status == "preparing"
    (last,) = local.follow(run, job=job, poll_s=0.05)
    assert isinstance(last, Finished)
    assert last.reason == "failed"
    assert "\n" not in (last.error or "\n")
    assert job.poll() == 1
    assert empty_project.runs() == []


def test_a_job_can_be_terminated(run) -> None:
    job = child(run, "import time; time.sleep(60)")
    assert job.poll() is None
    job.terminate()
    assert job.process.wait(10) != 0
