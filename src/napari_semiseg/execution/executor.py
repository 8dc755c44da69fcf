"""Define what runs verbs of the command line, and start a training by it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from napari_semiseg.errors import ProjectError
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.project.project import Project


class Handle(Protocol):
    """A submitted verb, which goes on when this process ends."""

    @property
    def pid(self) -> int | None:
        """Process on this machine; None where there is none, as in a queue."""

    @property
    def started(self) -> float:
        """Unix time of the submission, s."""

    @property
    def session(self) -> str:
        """Mark by which its events in the log of a run are known, see `SESSION`."""

    @property
    def place(self) -> str:
        """Where it waits or runs, as in ``--on``; empty on this computer.

        Also empty where it ends with this process.
        """

    @property
    def job(self) -> str:
        """By what that place knows it."""

    @property
    def log_start(self) -> int:
        """Length of its log at the submission, bytes: what follows is its output."""

    def poll(self) -> int | None:
        """Return the exit code, or None before the end."""

    def terminate(self) -> None:
        """End it now; files on disk stay complete."""

    def withdraw(self) -> bool:
        """Take it out of the queue where it has not begun; whether it is gone."""


class Executor(Protocol):
    """Run verbs of ``semiseg`` outside of this process."""

    @property
    def parallel(self) -> int:
        """How many verbs it runs at once, when more than that are submitted."""

    def submit(self, verb: str, arguments: Sequence[str], log: Path) -> Handle:
        """Run ``semiseg verb arguments``; returns at once.

        Parameters
        ----------
        verb : str
            Verb of the command line.
        arguments : sequence of str
            What follows the verb.
        log : Path
            File to which standard output and errors are appended.

        Raises
        ------
        ProjectError
            The verb cannot be started, or the log cannot be written.
        """


def start_training(
    executor: Executor, project: Project, config: TrainingConfig
) -> tuple[Run, Handle]:
    """Create a run and train it.

    Raises
    ------
    SemisegError
        The run's folder cannot be written, or the training cannot be started.
    """
    run = Run.create(project, config)
    try:
        handle = submit_for(executor, "train", project, run, "--run-id", run.id)
    except ProjectError:
        run.discard()
        raise
    return run, handle


def submit_for(
    executor: Executor, verb: str, project: Project, run: Run, *arguments: str
) -> Handle:
    """Run a verb that works on a run, and note there its process, or where it waits.

    So a request to stop reaches the process while it still waits or prepares. One that
    was meant for an earlier process is taken back before, never by the new one.

    Raises
    ------
    ProjectError
        The verb cannot be started.
    """
    if not run.is_busy:
        run.clear_stop()
    handle = executor.submit(verb, [str(project.folder), *arguments], run.folder.log)
    if handle.place:
        run.note_submission(verb, handle.place, handle.job, handle.session)
    elif handle.pid is not None and (run.pid == os.getpid() or not run.is_working):
        run.claim(handle.pid, handle.session)
    return handle


def length(log: Path) -> int:
    """Return the length of a log, bytes; 0 where there is none."""
    try:
        return log.stat().st_size
    except OSError:
        return 0
