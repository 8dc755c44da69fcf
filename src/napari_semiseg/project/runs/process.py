"""Tell the process that works on a run from others of its number."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Self

from napari_semiseg.io.atomic import machine

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = ("napari-semiseg", "numpy", "scipy", "torch", "nibabel", "SimpleITK")

SLACK_S = 2.0
"""Precision of the time at which a process began, s."""

QUIET_S = 600.0
"""A run on another computer that has logged nothing for so long is over, s."""


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
    """

    pid: int
    started: float | None = None
    host: str = ""

    @classmethod
    def of(cls, pid: int) -> Self:
        """Describe a process of this computer."""
        return cls(pid, _started(pid), machine())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `text` back; raises ``ValueError`` on anything else."""
        pid, started, host, *_ = (*text.split(), "", "", "")
        known = started not in ("", "-")
        return cls(int(pid), float(started) if known else None, host)

    @property
    def text(self) -> str:
        """One line."""
        started = "-" if self.started is None else f"{self.started:.2f}"
        return f"{self.pid} {started} {self.host}\n"

    def holds(self, log: Path) -> bool:
        """Whether the process still works; ``log`` grows where it cannot be seen."""
        if self.host not in ("", machine()):
            try:
                return time.time() - log.stat().st_mtime < QUIET_S
            except OSError:
                return False
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


def environment() -> dict[str, Any]:
    """Versions of what a run depends on, and the machine."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except (metadata.PackageNotFoundError, KeyError, TypeError, OSError):
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "packages": versions,
    }
