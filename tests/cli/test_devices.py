"""`--devices`: torchrun's processes as a user of the command line meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from napari_semiseg.core.events import Stepped

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

PATIENCE = float(os.environ.get("SEMISEG_PATIENCE", "1"))
SEMISEG = [sys.executable, "-m", "napari_semiseg"]
SMALL = [
    *("--method", "supervised", "--device", "cpu", "--no-predict", "--json"),
    *("--set", "patch_zyx=[16,16,16]", "--set", "width=4", "--set", "precision=fp32"),
    *("--set", "checkpoint_seconds=0.5"),
]


def start(*words):
    return subprocess.Popen(
        [*SEMISEG, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_steps(project, beyond=0):
    """The newest run, once a checkpoint of it is there and steps were taken."""
    end = time.monotonic() + 120 * PATIENCE
    while time.monotonic() < end:
        run = project.latest_run()
        if run is not None and run.has_model and run.steps_done > beyond:
            return run
        time.sleep(0.1)
    raise AssertionError("no step was taken")


def rank_of(launcher, rank):
    """The process of a rank, by its environment."""
    return next(
        child
        for child in psutil.Process(launcher.pid).children(recursive=True)
        if child.environ().get("RANK") == str(rank)
    )


def test_ranks_stop_together_and_end_when_one_is_killed(ball_project):
    from napari_semiseg.engine.training.checkpoint import Checkpoint

    folder = ball_project.folder
    first = start("train", folder, *SMALL, "--steps", 100_000, "--devices", 2)
    run = wait_for_steps(ball_project)
    started = next(event for event in run.events() if event.type == "started")
    assert started.pid == rank_of(first, 0).pid
    asked = time.monotonic()
    run.request_stop()
    while run.status == "running":
        time.sleep(0.05)
    assert time.monotonic() - asked < 5 * PATIENCE
    output, errors = first.communicate(timeout=60 * PATIENCE)
    assert (first.returncode, errors) == (130, "")
    assert json.loads(output)["reason"] == "cancelled"
    done = Checkpoint.load(run.folder.last).step
    assert done == run.steps_done

    again = start("resume", folder, run.id, "--no-predict", "--devices", 2)
    wait_for_steps(ball_project, beyond=done)
    victim = rank_of(again, 1)
    killed = time.monotonic()
    victim.send_signal(signal.SIGKILL)
    _, errors = again.communicate(timeout=60 * PATIENCE)
    assert time.monotonic() - killed < 60 * PATIENCE
    assert again.returncode == 1
    lines = [line for line in errors.splitlines() if line.startswith("semiseg:")]
    assert "number 1 was killed by signal 9" in lines[-1]
    assert "Traceback" not in errors
    assert ball_project.run(run.id).status == "failed"
    assert Checkpoint.load(run.folder.last).step > done
    assert [event for event in run.events() if isinstance(event, Stepped)]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--devices", "some"], "a number or all"),
        (["--devices", "0"], "a number or all"),
        (["--device", "cuda:9"], "cuda:9"),
        (["--device", "tpu"], "device"),
        (["--devices", "3", "--set", "labelled_batch=4"], "labelled_batch=4"),
    ],
)
def test_devices_that_are_not_there_are_refused(ball_project, semiseg, words, named):
    refused = semiseg("train", ball_project.folder, "--steps", 2, *words)
    assert refused.code == 1
    assert named in refused.err
    assert not ball_project.runs()
