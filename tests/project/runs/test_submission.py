"""Verbs that another computer was asked to run, until they begin and end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fake_workers import NOBODY
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.project.runs import submission
from napari_semiseg.project.runs.process import SESSION
from napari_semiseg.project.runs.run import Run

MARK = "0" * 32
"""Mark of a session."""


@pytest.fixture
def idle(ball_project) -> Run:
    """A run that has trained, with nothing at work on it."""
    made = Run.create(ball_project, TrainingConfig())
    made.append(Started(run=made.id, method="supervised", pid=NOBODY))
    made.append(Finished(run=made.id, reason="cancelled", step=3, seconds=1.0))
    made.folder.pid.unlink()
    return made


def test_a_stop_is_taken_back_by_who_starts_by_hand_and_not_by_who_was_submitted(
    idle, monkeypatch
) -> None:
    idle.request_stop()
    monkeypatch.setenv(SESSION, MARK)
    with idle.claimed_alone():
        assert idle.stop_requested
    idle.folder.pid.unlink()
    monkeypatch.delenv(SESSION)
    with idle.claimed_alone():
        assert not idle.stop_requested


def test_a_run_is_queued_until_what_was_submitted_begins(idle, monkeypatch) -> None:
    idle.note_submission("resume", "slurm", "12", MARK)
    assert idle.status == "queued"
    assert idle.is_under_way
    assert idle.waiting is not None
    assert idle.waiting.text == "resume waits on slurm, job 12"
    monkeypatch.setenv(SESSION, MARK)
    with idle.starting():
        assert (idle.status, idle.waiting) == ("cancelled", None)
        idle.append(Started(run=idle.id, method="x", pid=os.getpid(), session=MARK))
        assert idle.status == "running"
    idle.append(Finished(run=idle.id, reason="cancelled", step=4, seconds=1.0))
    assert idle.waiting is None
    idle.folder.exit_code(MARK).write_text("0\n")
    assert idle.submission is None
    monkeypatch.delenv(SESSION)
    idle.folder.pid.write_text(f"{NOBODY} 1.00\n")
    idle.claim()
    assert not idle.folder.exit_codes()
    assert not idle.folder.submitted.exists()


def test_a_prediction_that_waits_leaves_the_training_as_it_is(idle) -> None:
    idle.note_submission("predict", "ssh:cellar", "12", MARK)
    assert (idle.status, idle.is_under_way) == ("cancelled", False)
    assert idle.waiting is not None


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"verb": "a", "place": "b", "job": "1; rm", "session": "x"}'],
)
def test_a_damaged_note_of_what_was_submitted_is_none(idle, text) -> None:
    idle.folder.submitted.write_text(text)
    assert idle.waiting is None
    assert idle.status == "cancelled"
    idle.claim()


def test_a_run_that_another_computer_was_asked_to_train_is_not_discarded(
    ball_project,
) -> None:
    run = Run.create(ball_project, TrainingConfig())
    run.note_submission("train", "slurm", "12", MARK)
    run.discard()
    assert run.folder.path.is_dir()
    submission.close(run.folder, MARK)
    run.discard()
    assert not run.folder.path.exists()


def test_who_is_about_to_work_on_a_run_can_be_stopped(idle) -> None:
    idle.folder.pid.write_text(before := f"{NOBODY} 1.00\n")
    with idle.starting():
        assert idle.is_working
        idle.request_stop()
        with idle.claimed_alone():
            assert idle.stop_requested
    assert idle.folder.pid.read_text() == before
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as other:
        idle.claim(other.pid)
        with idle.starting():
            assert idle.pid == other.pid
        other.communicate(b"\n")
