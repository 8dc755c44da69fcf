"""Run verbs as child processes on this machine."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from napari_semiseg.errors import ProjectError
from napari_semiseg.project.runs.process import SESSION

NICENESS = 5
"""Added to this process's Unix niceness for a child of low priority: beside one busy
program it gets a quarter of a core, at 15 it would get a thirtieth."""

YIELDING = {"GOMP_SPINCOUNT": "300000"}
"""Of a child of low priority: its threads wait actively, as OpenMP's do by default.
Asleep they would get their turn before the window (`engine.lazy_torch.SPIN`)."""

TIED = "SEMISEG_TIED"
"""Variable of a child that ends when the pipe on its standard input is closed."""
ORPHANED = 9
"""Exit code of such a child."""


@dataclass(frozen=True, slots=True)
class LocalHandle:
    """A child process that outlives this one, unless it is tied to it.

    Attributes
    ----------
    process : Popen
        The child.
    started : float
        Unix time, s.
    session : str
        Mark of its events.
    log_start : int
        Length of its log at the start, bytes.
    """

    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.time)
    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    log_start: int = 0
    place: str = ""
    job: str = ""

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self.process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.process.poll()

    def terminate(self) -> None:
        """End the process now."""
        self.process.terminate()

    def withdraw(self) -> bool:
        """It has begun; see `Handle.withdraw`."""
        return self.poll() is not None


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """Start detached child processes.

    Attributes
    ----------
    low_priority : bool
        Whether they leave the processor to other programs, so that a window in which
        someone paints stays fluent.
    session : str
        Mark of the only child's events; a new one for each by default.
    tied : bool
        Whether they end with this process, however that ends; see `end_with_parent`.
    """

    low_priority: bool = True
    session: str = ""
    tied: bool = False

    @property
    def parallel(self) -> int:
        """How many verbs run at once: they share the machine."""
        return 1

    def submit(self, verb: str, arguments: Sequence[str], log: Path) -> LocalHandle:
        """Start ``semiseg verb arguments``; see `Executor.submit`."""
        started, session = time.time(), self.session or uuid.uuid4().hex
        known = {"PYTHONUNBUFFERED": "1", "COLUMNS": "100", SESSION: session}
        known[TIED] = "1" if self.tied else ""
        threads = YIELDING if self.low_priority else {}
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                log_start = output.tell()
                process = subprocess.Popen(
                    [sys.executable, "-m", "napari_semiseg", verb, *arguments],
                    stdin=subprocess.PIPE if self.tied else subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=threads | os.environ | known,
                    start_new_session=True,
                    creationflags=_creation_flags(self.low_priority),
                )
        except OSError as error:
            raise ProjectError(
                f"expected to start '{verb}' with its output in {log}, found "
                f"'{error.strerror or error}'; check the folder and the installation"
            ) from error
        if self.low_priority:
            _lower_priority(process.pid)
        return LocalHandle(process, started, session, log_start)


def end_with_parent() -> None:
    """End this process when the one that started it is gone, where that is `TIED`.

    The system closes the parent's end of the pipe, also when it was killed. Ranks that
    this process starts read the same pipe and end too. Files on disk stay complete.
    """
    if os.environ.get(TIED) and stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_wait_for_parent, name="parent", daemon=True).start()


def _wait_for_parent() -> None:
    with suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(ORPHANED)


def _lower_priority(pid: int) -> None:
    """Raise the niceness of a process and, on Linux, of its session."""
    if hasattr(os, "setpriority"):
        with suppress(OSError):  # it has ended already
            nice = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
            os.setpriority(os.PRIO_PROCESS, pid, nice)
    # Desktops of Linux share the processor between sessions first.
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS), encoding="ascii")


def _creation_flags(low_priority: bool) -> int:
    """Return Windows' flags for no window and a lower priority, elsewhere 0."""
    no_window: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    lower: int = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
    return no_window | lower if low_priority else no_window
