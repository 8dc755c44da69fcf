"""Tell the process that works on a run from others of its number."""

from __future__ import annotations

import os
import platform
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_semiseg.core.config import describe
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import machine, read_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGES = ("napari-semiseg", "numpy", "scipy", "torch", "nibabel", "SimpleITK")

SESSION = "SEMISEG_SESSION"
"""Environment variable with the mark of a process, which its run's log has too."""

SLACK_S = 2.0
"""Precision of the time at which a process began, s."""

QUIET_S = 600.0
"""A run on another computer that has shown no sign of life for so long is over, s."""

BEAT_S = 30.0
"""Between two signs of life, s."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A process that works on a run.

    Attributes
    ----------
    pid : int
        Its number.
    started : float, optional
        Seconds after the computer was started: a clock that is set does not change it.
    host : str
        Mark of its computer, see `machine`; empty where it is not known.
    session : str
        Its mark, see `SESSION`; empty where nobody submitted it.
    """

    pid: int
    started: float | None = None
    host: str = ""
    session: str = ""

    @classmethod
    def of(cls, pid: int, session: str = "") -> Self:
        """Describe a process of this computer."""
        return cls(pid, _started(pid), machine(), session)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `text` back; raises ``ValueError`` on anything else."""
        pid, started, host, session, *_ = (*text.split(), "", "", "", "")
        known = started not in ("", "-")
        return cls(int(pid), float(started) if known else None, host, session)

    @property
    def text(self) -> str:
        """One line."""
        started = "-" if self.started is None else f"{self.started:.2f}"
        return f"{self.pid} {started} {self.host} {self.session}".rstrip() + "\n"

    def holds(self, *signs: Path) -> bool:
        """Whether the process still works.

        On another computer it writes to these ``signs`` of life. Their age
        is taken by the clock that stamps files, since that of the other may be wrong.
        """
        if self.host not in ("", machine()):
            newest = max(map(modified, signs), default=0.0)
            return file_clock(signs[0].parent) - newest < QUIET_S
        if not is_alive(self.pid):
            return False
        return self._began_at(_started(self.pid))

    def is_same(self, other: Claim) -> bool:
        """Whether both are of one process."""
        same = (self.pid, self.host) == (other.pid, other.host)
        return same and self._began_at(other.started)

    def _began_at(self, started: float | None) -> bool:
        if started is None or self.started is None:
            return True
        return abs(started - self.started) <= SLACK_S


def modified(path: Path) -> float:
    """Time at which a file was changed, Unix s; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def file_clock(folder: Path) -> float:
    """Unix time by the clock that stamps files: on a share, that of its server, s."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:  # read only
        return time.time()


@contextmanager
def heartbeat(path: Path) -> Iterator[None]:
    """Renew the time of a file while the block lasts, as a sign of life."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_S):
            with suppress(OSError):
                os.utime(path)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def is_alive(pid: int, *, before: float | None = None) -> bool:
    """Whether a process runs, and (``before``, Unix time) already ran at that time.

    The second guards against a number that the system has given to another process.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return before is None or process.create_time() <= before + SLACK_S
    except psutil.AccessDenied:
        return True
    except (psutil.Error, ValueError, OverflowError):
        return False


def _started(pid: int) -> float | None:
    import psutil

    try:
        return float(psutil.Process(pid).create_time() - psutil.boot_time())
    except (psutil.Error, ValueError, OverflowError, OSError):
        return None


class Environment(BaseModel):
    """``environment.json``: when a run was created, with which versions, and where."""

    model_config = ConfigDict(frozen=True)

    created: float | None = None
    python: str | None = None
    platform: str = ""
    processor: str | None = None
    cores: int | None = None
    packages: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def here(cls, created: float) -> Self:
        """Versions of what a run depends on, and this machine."""
        versions = {}
        for name in PACKAGES:
            try:
                versions[name] = metadata.version(name)
            except (metadata.PackageNotFoundError, KeyError, TypeError, OSError):
                continue
        return cls(
            created=created,
            python=platform.python_version(),
            platform=platform.platform(),
            processor=platform.processor() or platform.machine(),
            cores=os.cpu_count(),
            packages=versions,
        )

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read the file; None where there is none.

        Raises
        ------
        ProjectError
            It is damaged.
        """
        if not path.exists():
            return None
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            raise ProjectError(describe(error, str(path))) from error
