from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from functools import partial

import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started, Stepped
from napari_semiseg.errors import ProjectError
from napari_semiseg.execution.follow import follow_process, wait_for
from napari_semiseg.execution.local import LocalHandle
from napari_semiseg.project.runs.process import SESSION
from napari_semiseg.project.runs.run import Run

CHILD = """
import os, sys, time
from pathlib import Path
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.project.layout import RunFolder
from napari_semiseg.project.runs.run import Run
run = Run(RunFolder(Path(sys.argv[1])))
mark = os.environ["SEMISEG_SESSION"]
run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid(), session=mark))
while not run.stop_requested:
    time.sleep(0.01)
run.append(Finished(run=run.id, reason="cancelled", step=3, seconds=1.0))
"""


@pytest.fixture
def run(ball_project) -> Run:
    return Run.create(ball_project, TrainingConfig())


def child(run: Run, code: str) -> LocalHandle:
    """A process of the test's own in the place of ``semiseg``."""
    session = uuid.uuid4().hex
    with run.folder.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(run.folder.path)],
            stdout=log,
            stderr=log,
            env=os.environ | {SESSION: session},
        )
    return LocalHandle(process, session=session)


def stepped(step: int) -> Stepped:
    return Stepped(
        step=step, steps=9, losses={}, learning_rate=0, seconds=1, seconds_left=1
    )


def test_events_come_as_they_happen_and_end_with_the_session(run) -> None:
    handle = child(run, CHILD)
    seen = []
    for event in follow_process(run, handle, poll_s=0.02):
        seen.append(type(event))
        if isinstance(event, Started):
            assert run.status == "running"
            run.request_stop()
    assert seen == [Started, Finished]
    assert handle.process.wait(5) == 0
    assert handle.poll() == 0


def test_a_process_that_dies_ends_with_its_last_words(run) -> None:
    handle = child(run, "import sys; print('loading'); sys.exit('out of memory')")
    handle.process.wait()
    run.append(Started(run=run.id, method="ug_mcl", pid=handle.pid))
    run.append(stepped(2))
    handle = child(run, "import os; print('boom', flush=True); os._exit(3)")
    *_, last = follow_process(run, handle, poll_s=0.02)
    assert isinstance(last, Finished)
    assert last.reason == "failed"
    assert last.step == 2
    assert "boom" in (last.error or "")
    assert not any(isinstance(event, Finished) for event in run.events())


def test_a_verb_is_waited_for_and_its_refusal_is_raised(run) -> None:
    log, said = run.folder.log, []
    talks = "import time; print('1 of 2', flush=True); time.sleep(0.3)"
    wait_for(log, child(run, talks), poll_s=0.02, say=said.append)
    assert said == ["1 of 2"]
    handle = child(run, "import sys; print('semiseg: no model'); sys.exit(1)")
    with pytest.raises(ProjectError, match=r"^no model$"):
        wait_for(log, handle, poll_s=0.02)


@pytest.mark.parametrize("log", [b"", b"\0" * 200, None])
def test_a_refused_resume_leaves_a_run_without_its_log_alone(run, log) -> None:
    run.folder.checkpoints.mkdir()
    run.folder.last.write_bytes(b"weights")
    if log is not None:
        run.folder.events.write_bytes(log)
    before = run.folder.config.read_bytes()
    handle = child(run, "import sys; print('semiseg: no labels'); sys.exit(1)")
    *_, last = follow_process(run, handle, poll_s=0.02)
    assert isinstance(last, Finished)
    assert last.error == "semiseg: no labels"
    assert run.folder.last.read_bytes() == b"weights"
    assert run.folder.config.read_bytes() == before


def test_a_new_run_that_was_refused_is_gone(run) -> None:
    handle = child(run, "import sys; print('semiseg: no labels'); sys.exit(1)")
    list(follow_process(run, handle, poll_s=0.02))
    assert not run.folder.path.exists()


def test_an_interrupted_run_ends_without_a_handle(run) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    run.claim(gone.pid)
    run.append(Started(run=run.id, method="ug_mcl", pid=gone.pid))
    first, last = follow_process(run, poll_s=0.02)
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
    seen: list[str] = []
    stop = partial(seen.__contains__, "finished")  # its process, this one, goes on
    for event in follow_process(run, poll_s=0.01, stop=stop):
        seen.append(event.type)
    writer.join()
    assert seen == ["started", "stepped", "finished"]


def test_an_earlier_end_does_not_end_a_resumed_run(run) -> None:
    run.append(Started(run=run.id, method="ug_mcl", pid=1, at=1.0))
    run.append(Finished(run=run.id, reason="cancelled", step=1, seconds=1, at=2.0))
    handle = child(run, CHILD)
    seen = []
    for event in follow_process(run, handle, poll_s=0.02):
        seen.append(event.type)
        if len(seen) == 3:
            run.request_stop()
    assert seen == ["started", "finished", "started", "finished"]
    handle.process.wait()


def test_following_can_be_stopped(run) -> None:
    run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
    seen: list[object] = []
    for event in follow_process(run, poll_s=0.01, stop=lambda: bool(seen)):
        seen.append(event)
    assert len(seen) == 1
