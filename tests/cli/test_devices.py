"""`--devices`: torchrun's processes as a user of the command line meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from napari_semiseg import engine
from napari_semiseg.cli.training import run_session
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Planned, Stepped
from napari_semiseg.errors import ConfigError
from napari_semiseg.project.runs.run import Run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

PATIENCE = float(os.environ.get("SEMISEG_PATIENCE", "1"))
SILENCE_S = 15
"""How long ranks wait for a frozen one: more than a busy machine makes them wait."""
SEMISEG = [sys.executable, "-m", "napari_semiseg"]
SMALL = [
    *("--method", "supervised", "--device", "cpu", "--no-predict", "--json"),
    *("--set", "patch_zyx=[16,16,16]", "--set", "width=4", "--set", "precision=fp32"),
    *("--set", "checkpoint_seconds=0.5"),
]


def start(*words, **variables):
    return subprocess.Popen(
        [*SEMISEG, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | variables,
    )


def refusal(launcher):
    """The one line that says why a training has failed, which is the last one."""
    _, errors = launcher.communicate(timeout=60 * PATIENCE)
    assert launcher.returncode == 1
    *before, line = errors.splitlines()
    assert line.startswith("semiseg: ")
    assert "semiseg:" not in "".join(before)
    assert "Traceback" not in errors
    assert "the last checkpoint is good: go on with semiseg resume" in line
    return line


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
    assert "number 1 was killed by signal 9" in refusal(again)
    assert time.monotonic() - killed < 60 * PATIENCE
    assert ball_project.run(run.id).status == "failed"
    assert Checkpoint.load(run.folder.last).step > done
    assert [event for event in run.events() if isinstance(event, Stepped)]


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Unix")
def test_ranks_end_when_one_is_frozen_and_when_the_first_is_killed(ball_project):
    from napari_semiseg.engine.training.checkpoint import Checkpoint

    folder = ball_project.folder
    words = (*SMALL, "--steps", 100_000, "--devices", 2)
    first = start("train", folder, *words, SEMISEG_RANK_TIMEOUT=str(SILENCE_S))
    run = wait_for_steps(ball_project)
    frozen, waiting = rank_of(first, 1), rank_of(first, 0)
    frozen.send_signal(signal.SIGSTOP)
    run.request_stop()
    waiting.wait(60 * PATIENCE)
    frozen.send_signal(signal.SIGCONT)  # else torchrun waits for it for half a minute
    assert f"has not answered for {SILENCE_S} s" in refusal(first)
    (error,) = (event.error for event in run.events() if event.type == "finished")
    assert f"has not answered for {SILENCE_S} s" in error
    assert run.status == "failed"
    done = Checkpoint.load(run.folder.last).step

    again = start("resume", folder, run.id, "--no-predict", "--devices", 2)
    wait_for_steps(ball_project, beyond=run.steps_done)
    rank_of(again, 0).send_signal(signal.SIGKILL)
    assert "number 0 was killed by signal 9" in refusal(again)
    assert ball_project.run(run.id).status == "interrupted"
    assert Checkpoint.load(run.folder.last).step >= done


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({0: 75, 1: -9}, 1),  # killed; the others have lost it
        ({0: 76, 1: -9}, 0),  # frozen, so killed by torchrun at last
        ({0: -9, 1: 75}, 0),
        ({0: 75, 1: 1, 2: -15}, 1),
        ({0: 1, 1: 75}, 0),
        ({0: 75, 1: 75}, 0),
    ],
)
def test_the_rank_that_ended_the_others_is_named(codes, expected):
    from napari_semiseg.engine.torchrun import _cause

    assert _cause(codes) == (expected, codes[expected])


def test_only_the_first_of_the_ranks_shows_a_training(
    ball_project, capsys, monkeypatch
):
    """As under a torchrun or srun that shows what all of them print."""
    from napari_semiseg.engine.distributed import Ranks

    run = Run.create(ball_project, TrainingConfig(steps=2))
    planned = Planned(device="cpu", steps=40, seconds_per_step=1.0, parameters=10)
    ended = Finished(run=run.id, reason="cancelled", step=2, seconds=1.0)
    shown = {"predict": False, "quiet": False}
    for rank, lines in ((0, 1), (1, 0)):
        ranks = Ranks(rank, 2)
        monkeypatch.setattr(engine, "join", lambda ranks=ranks: ranks)
        with suppress(SystemExit):
            run_session(ball_project, run, iter((planned, ended)), **shown)
        assert capsys.readouterr().err.count("40 steps on cpu") == lines


def test_a_rank_timeout_that_is_none_is_refused():
    from napari_semiseg.engine.distributed import step_seconds

    assert step_seconds({}) == 600.0
    for text in ("soon", "-1", "nan", "1e9"):
        with pytest.raises(ConfigError, match="SEMISEG_RANK_TIMEOUT"):
            step_seconds({"SEMISEG_RANK_TIMEOUT": text})


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
