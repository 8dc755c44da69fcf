"""Verbs of the command line as child processes, followed from their logs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.core.events import Finished, Started, from_line
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.events import Event
    from napari_semiseg.project.project import Project

MENDABLE = 1
"""Exit code of a verb that refused in one line."""
QUOTED_LINES = 5
CLOCK_SLACK_S = 0.05
NICER = 15
"""Steps of Unix's "nice" by which a process that gives way is lower than this one."""


@dataclass(frozen=True, slots=True)
class Job:
    """A child process that outlives this one.

    Attributes
    ----------
    process : Popen
        The child.
    started : float
        Unix time, s.
    """

    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.time)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self.process.pid

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        return self.process.poll()

    def terminate(self) -> None:
        """End the process now; what is on disk stays whole."""
        self.process.terminate()


def start(arguments: list[str], log: Path, *, gives_way: bool = True) -> Job:
    """Run ``semiseg`` with arguments, detached from this process.

    Parameters
    ----------
    arguments : list of str
        Verb and its arguments.
    log : Path
        Gets the output, behind what it holds already.
    gives_way : bool
        Whether it leaves the processor to other programs when these want it, so that
        whoever paints meanwhile does not wait for it.

    Raises
    ------
    ProjectError
        The process cannot be started, or the log cannot be written.
    """
    started = time.time()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "napari_semiseg", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "100"},
                start_new_session=True,
                creationflags=_flags(gives_way),
            )
    except OSError as error:
        raise ProjectError(
            f"expected to start '{arguments[0]}' with its output in {log}, found "
            f"'{error.strerror or error}'; check the folder and the installation"
        ) from error
    if gives_way:
        _lower(process.pid)
    return Job(process, started)


def _lower(pid: int) -> None:
    """Put a process of a session of its own behind others on Unix."""
    if hasattr(os, "setpriority"):
        with suppress(OSError):  # it has ended already
            nice = os.getpriority(os.PRIO_PROCESS, 0) + NICER
            os.setpriority(os.PRIO_PROCESS, pid, nice)
    # Desktops of Linux share the processor between sessions first.
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(NICER), encoding="ascii")


def _flags(gives_way: bool) -> int:
    """For Windows: no window, and a lower priority; elsewhere 0."""
    quiet: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    lower: int = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
    return quiet | lower if gives_way else quiet


def start_training(project: Project, config: TrainingConfig) -> tuple[Run, Job]:
    """Create a run and train it in a child process.

    Raises
    ------
    SemisegError
        The run's folder cannot be written, or the process cannot be started.
    """
    run = Run.create(project, config)
    words = ["train", str(project.folder), "--run-id", run.id]
    try:
        job = start(words, run.folder.log)
    except ProjectError:
        run.discard()
        raise
    run.claim(job.pid)
    return run, job


def follow(
    run: Run,
    *,
    job: Job | None = None,
    poll_s: float = 0.2,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Yield the events of a run as its log grows, from the log's beginning.

    Ends after the ``Finished`` of the last session. When the process is gone without
    one, a ``Finished`` with the last lines of the output is made up; it is not
    written to the log. A run of ours that refused to start leaves no folder behind.

    Parameters
    ----------
    run : Run
        The run.
    job : Job, optional
        The child that works on it; by default whoever the log names.
    poll_s : float
        Time between two looks at the log, s.
    stop : callable
        Says when to stop looking; the run itself goes on.
    """
    since = job.started - CLOCK_SLACK_S if job is not None else 0.0
    tail = _Tail(run.folder.events)
    while not stop():
        gone = not _works(run, job)  # before reading: a last line is never missed
        yield from tail.read()
        last = tail.last
        # By the process too: the clock may have been set back meanwhile.
        ours = job is not None and tail.pid == job.pid
        if isinstance(last, Finished) and (ours or last.at >= since):
            return
        if gone:
            yield _made_up(run, job)
            return
        time.sleep(poll_s)


class _Tail:
    """Reads whole new lines of a growing log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.last: Started | Finished | None = None
        self.pid: int | None = None

    def read(self) -> Iterator[Event]:
        try:
            with self._path.open("rb") as log:
                log.seek(self._offset)
                content = log.read()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                event = from_line(line.decode())
            except ValueError:  # torn by a crash, a later session wrote on behind it
                continue
            if isinstance(event, Started | Finished):
                self.last = event
            if isinstance(event, Started):
                self.pid = event.pid
            yield event


def _works(run: Run, job: Job | None) -> bool:
    if job is not None:
        return job.poll() is None
    return run.status in ("preparing", "running")


def last_words(run: Run) -> list[str]:
    """Last lines that the process of a run has printed, the newest last."""
    try:
        lines = run.folder.log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []
    return [line.strip() for line in lines if line.strip()][-QUOTED_LINES:]


def _made_up(run: Run, job: Job | None) -> Finished:
    """The end of a session that could not write its own."""
    said = last_words(run)
    code = job.poll() if job is not None else None
    refused = code == MENDABLE and said
    ended = f"the training process ended with code {code}" if job is not None else ""
    error = said[-1] if refused else "\n".join(said) or ended or "it was interrupted"
    finished = Finished(
        run=run.id,
        reason="failed",
        step=run.steps_done,
        seconds=run.seconds,
        error=error,
    )
    if refused:
        run.discard()
    return finished
