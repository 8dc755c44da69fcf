"""Verbs that wait on another computer: found and stopped before they begin."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import distributed
import pytest

from execution.conftest import until
from fake_workers import NOBODY
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.execution.executor import submit_for
from napari_semiseg.execution.place import executor_at
from napari_semiseg.execution.stop import stop
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

SMALL = [
    *("--method", "supervised", "--device", "cpu", "--no-predict", "--steps", "100000"),
    *("--set", "patch_zyx=[16,16,16]", "--set", "width=4", "--set", "precision=fp32"),
]
WAITS = 'slurm = ["--hold"]\n'
"""A job that begins once it is released, as behind others."""


def start(*words: object) -> subprocess.Popen[str]:
    """A client in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "napari_semiseg", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(*words: object) -> subprocess.CompletedProcess[str]:
    """A verb that has ended."""
    return subprocess.run(
        [sys.executable, "-m", "napari_semiseg", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def told(project: Project) -> dict[str, object]:
    """The newest run, as ``status`` tells of it."""
    answer = done("status", project.folder, "--json")
    return json.loads(answer.stdout)["runs"][-1]


def jobs() -> list[str]:
    """Numbers of the jobs that wait or run."""
    words = ["squeue", "--noheader", "--format=%A"]
    return subprocess.run(
        words, capture_output=True, text=True, check=True
    ).stdout.split()


def release() -> None:
    for job in jobs():
        subprocess.run(["scontrol", "release", job], check=True)


@pytest.fixture
def queue(slurm, ball_project: Project) -> Iterator[Project]:
    """A project whose jobs wait in a queue until they are released."""
    path = ball_project.layout.project_file
    path.write_text(WAITS + path.read_text())
    yield Project.open(ball_project.folder)
    for job in jobs():
        subprocess.run(["scancel", job], check=True)
    until(lambda: not jobs())


@pytest.fixture
def run(ball_project: Project) -> Run:
    """A run that was stopped while it prepared."""
    config = TrainingConfig.build(
        method="supervised",
        steps=1_000_000,
        width=4,
        patch_zyx=(16, 16, 16),
        precision="fp32",
        device="cpu",
    )
    made = Run.create(ball_project, config)
    made.append(Started(run=made.id, method="supervised", pid=NOBODY))
    made.append(Finished(run=made.id, reason="cancelled", step=0, seconds=1.0))
    made.folder.pid.unlink()
    return made


def test_a_stop_before_a_resume_has_begun_by_ssh_reaches_it(
    cellar, ball_project, run
) -> None:
    client = start(
        *("resume", ball_project.folder, run.id, "--no-predict"),
        *("--on", f"ssh:{cellar}"),
    )
    until(run.folder.submitted.exists)
    client.send_signal(signal.SIGINT)
    _, errors = client.communicate(timeout=90)
    assert client.returncode == 130, errors
    assert run.status == "cancelled"
    assert run.steps_done == 0
    assert not run.folder.exit_codes()
    assert not run.folder.submitted.exists()
    assert not run.stop_requested


def test_a_job_that_waits_is_found_and_taken_back_when_its_client_is_gone(
    queue, run
) -> None:
    client = start("resume", queue.folder, run.id, "--on", "slurm")
    until(run.folder.submitted.exists)
    client.kill()
    client.wait()
    row = told(queue)
    assert row["status"] == "queued"
    assert row["waiting"]["verb"] == "resume"
    assert [row["waiting"]["job"]] == jobs()
    text = f"{run.id}: resume waits on slurm, job {jobs()[0]}"
    assert text in done("status", queue.folder).stdout
    answer = done("stop", queue.folder)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"Took {run.id} back: resume had not begun on slurm.\n"
    until(lambda: not jobs())
    assert told(queue)["status"] == "cancelled"
    assert not run.stop_requested
    assert "nothing to stop" in done("stop", queue.folder, run.id).stderr


def test_a_client_ends_with_the_job_that_is_taken_back(queue, run) -> None:
    client = start("resume", queue.folder, run.id, "--on", "slurm")
    until(run.folder.submitted.exists)
    assert done("stop", queue.folder, run.id).returncode == 0
    output, errors = client.communicate(timeout=60)
    assert client.returncode == 130, (output, errors)
    assert not jobs()
    again = start("train", queue.folder, *SMALL, "--on", "slurm")
    until(lambda: bool(jobs()))
    until(lambda: told(queue)["status"] == "queued")
    again.send_signal(signal.SIGINT)
    output, errors = again.communicate(timeout=60)
    assert again.returncode == 130, (output, errors)
    assert not jobs()
    assert [one.id for one in queue.runs()] == [run.id]


def test_a_job_that_nobody_can_take_back_ends_when_it_begins(queue, run) -> None:
    client = start("resume", queue.folder, run.id, "--no-predict", "--on", "slurm")
    until(run.folder.submitted.exists)
    client.kill()
    client.wait()
    run.request_stop()  # as from a computer that has no such queue
    release()
    until(lambda: not jobs())
    assert run.status == "cancelled"
    assert run.steps_done == 0
    assert not run.stop_requested  # it was heard
    left = [path.name for path in run.folder.exit_codes()]
    assert len(left) == 1  # nobody has read it
    run.claim()
    assert not run.folder.exit_codes()
    assert not run.folder.submitted.exists()


def test_a_training_goes_on_when_the_terminal_is_closed(cellar, ball_project) -> None:
    client = start("train", ball_project.folder, *SMALL, "--on", f"ssh:{cellar}")
    until(lambda: ball_project.latest_run() is not None)
    run = ball_project.latest_run()
    until(lambda: run.status == "running")
    client.send_signal(signal.SIGHUP)
    client.communicate(timeout=30)
    assert client.returncode == 129
    assert run.status == "running"
    assert not run.stop_requested
    run.request_stop()
    until(lambda: run.status == "cancelled")


@pytest.mark.usefixtures("slurm")
def test_a_node_without_the_program_says_so_in_one_line(
    ball_project, run, home
) -> None:
    run.folder.log.write_text("one line\n" * 4)
    program = home / "bin" / "semiseg"
    program.rename(home / "aside")
    try:
        answer = done("resume", ball_project.folder, run.id, "--on", "slurm")
    finally:
        (home / "aside").rename(program)
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "expected semiseg on the PATH of a login shell of slurm" in answer.stderr
    assert "one line" not in answer.stderr
    assert run.folder.path.is_dir()


def test_what_waits_or_runs_on_dask_can_be_taken_back_and_ended(
    ball_project, run
) -> None:
    other = Run.create(ball_project, run.config)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        place = cluster.scheduler_address
        executor = executor_at(place, ball_project)
        first = submit_for(executor, "resume", ball_project, run, run.id)
        until(lambda: run.waiting is None)
        second = submit_for(
            *(executor, "train", ball_project, other),
            *("--run-id", other.id, "--no-predict"),
        )
        assert other.status == "queued"
        assert stop(ball_project, other)
        until(lambda: second.poll() is not None)
        assert second.poll() == 130
        assert other.status != "queued"
        assert first.poll() is None
        first.terminate()
        until(lambda: first.poll() is not None)
        assert run.status != "running"
        assert not run.folder.exit_codes()
        assert not run.folder.submitted.exists()
        executor.client.close()


def test_a_stop_reaches_ranks_that_are_being_started(ball_project, run) -> None:
    client = start("resume", ball_project.folder, run.id, "--devices", 2)
    until(lambda: run.is_working)
    answer = done("stop", ball_project.folder)
    assert answer.returncode == 0, answer.stderr
    _, errors = client.communicate(timeout=120)
    assert client.returncode == 130, errors
    assert run.status == "cancelled"
    assert run.steps_done == 0
