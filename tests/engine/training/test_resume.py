"""Going on with a run: after its log was lost, twice at once, and when refused."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from engine.training.test_cancellation import gone
from engine.training.test_live_predictions import SETTINGS
from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.errors import SemisegError
from napari_semiseg.project.runs.run import Run

OPTIONS = ("method", "steps")


@pytest.fixture
def run(ball_project):
    list(engine.train(ball_project, TrainingConfig.build(**SETTINGS | {"steps": 3})))
    return ball_project.latest_run()


def contents(run):
    """Every file of a run but its lock, with its bytes."""
    return {
        path.relative_to(run.folder.path): path.read_bytes()
        for path in run.folder.path.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize("content", [b"", b"\0" * 300, None])
def test_the_state_of_a_run_comes_back_without_its_log(ball_project, run, content):
    seconds = Checkpoint.load(run.folder.last).seconds
    if content is None:
        run.folder.events.unlink()
    else:
        run.folder.events.write_bytes(content)
    run.claim(gone())
    lost = ball_project.run(run.id)
    assert (lost.status, lost.steps_done) == ("completed", 3)
    assert lost.seconds == pytest.approx(seconds)
    before = contents(run)
    with pytest.raises(SemisegError, match="complete"):
        list(engine.resume(ball_project, lost))
    assert contents(run) == before
    *_, last = engine.resume(ball_project, lost, minutes=0.01)
    assert (last.reason, last.step) == ("completed", lost.plan.steps)
    assert 3 < lost.plan.steps < 3 + 600  # by the speed that the checkpoint tells
    assert lost.status == "completed"


def test_a_damaged_checkpoint_tells_no_steps(run):
    whole = run.folder.last.read_bytes()
    run.folder.events.unlink()
    for damaged in (b"", whole[:200], whole[:-30], whole.replace(b"step", b"\0" * 4)):
        run.folder.last.write_bytes(damaged)
        assert Run(run.folder).steps_done == 0


def test_the_second_of_two_resumes_is_refused(ball_project, run):
    first = engine.resume(ball_project, run, steps=6)
    next(first)
    before = contents(run)
    with pytest.raises(SemisegError, match="still going"):
        next(engine.resume(ball_project, ball_project.run(run.id), steps=9))
    assert contents(run) == before
    *_, last = first
    assert (last.reason, last.step) == ("completed", 6)


@pytest.mark.parametrize("verb", ["train", "resume"])
def test_a_stop_while_a_training_prepares_is_not_lost(ball_project, verb):
    """Asked between the start of the process and its first event, as by the panel."""
    config = TrainingConfig.build(**SETTINGS | {"steps": 4})
    run = Run.create(ball_project, config)
    if verb == "resume":
        list(engine.train(ball_project, config, run=run))
        run.request_stop()  # an old one, which nobody heard
        run.claim(gone())
    run.claim(os.getpid())  # as the panel does for its child
    assert not run.stop_requested
    run.request_stop()
    if verb == "train":
        *_, last = engine.train(ball_project, config, run=run)
    else:
        *_, last = engine.resume(ball_project, run, steps=8)
    assert (last.reason, last.step) == ("cancelled", 0 if verb == "train" else 4)
    assert not run.stop_requested  # it was heard


def test_a_stop_before_the_predictions_that_follow_counts(ball_project, run):
    run.request_stop()
    assert list(engine.predict_cases(ball_project, run, ball_project.cases())) == []
    cases = ball_project.cases()[-1:]
    assert len(list(engine.predict_cases(ball_project, run, cases))) == 1


def test_a_prediction_beside_a_training_leaves_its_process_and_stop_alone(
    ball_project, run
):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run.claim(other.pid)
    run.request_stop()
    list(engine.predict_cases(ball_project, run, ball_project.cases()[-1:]))
    assert run.pid == other.pid
    other.communicate(b"\n")


def drain(terminal: int) -> None:
    """Read what is printed, so that printing does not wait."""
    with suppress(OSError):
        while os.read(terminal, 4096):
            pass


def heeds_hangup():
    """Undo what ``nohup`` before the tests would hand on."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminals that hang up")
def test_a_training_whose_terminal_is_closed_keeps_a_checkpoint(ball_project):
    primary, secondary = pty.openpty()
    asked = SETTINGS | {"checkpoint_seconds": 1e6, "patch_zyx": [16, 16, 16]}
    words = [f"--set={key}={asked[key]}" for key in asked if key not in OPTIONS]
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "napari_semiseg", "train", ball_project.folder),
            *("--method", "supervised", "--steps", "100000", "--device", "cpu"),
            *words,
        ],
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        start_new_session=True,
        preexec_fn=heeds_hangup,
    )
    os.close(secondary)
    shown = threading.Thread(target=drain, args=(primary,), daemon=True)
    shown.start()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        runs = ball_project.runs()
        if runs and runs[0].steps_done > 1:
            break
        time.sleep(0.1)
    assert runs[0].steps_done > 1, child.poll()
    os.close(primary)  # nothing can be printed any more
    child.send_signal(signal.SIGHUP)
    assert child.wait(60) == 130
    run = ball_project.latest_run()
    assert run.status == "cancelled"
    assert Checkpoint.load(run.folder.last).step == run.steps_done > 1
