"""Tell whether a process gets a processor to run on."""

from __future__ import annotations

import time
from pathlib import Path

STARVED = 0.5
"""Share of waiting from which a process is held up by other programs."""
SPAN_S = 4.0
"""Seconds over which waiting is looked at."""


class ProcessorWait:
    """How long the main thread of a process stood in the queue for a processor.

    Linux counts that; elsewhere, and once the process is gone, nothing is known.

    Parameters
    ----------
    pid : int, optional
        Process on this machine.
    """

    def __init__(self, pid: int | None) -> None:
        self._file = None if pid is None else Path(f"/proc/{pid}/schedstat")
        self._looks: list[tuple[float, float]] = []

    @property
    def starved(self) -> bool:
        """Whether it waited for more than half of the last seconds."""
        share = self.share()
        return share is not None and share > STARVED

    def share(self) -> float | None:
        """Share of the seconds since an earlier call that it waited, in [0, 1]."""
        waited = self._waited()
        if waited is None:
            return None
        now = time.monotonic()
        self._looks.append((now, waited))
        while len(self._looks) > 2 and now - self._looks[1][0] >= SPAN_S:
            self._looks.pop(0)
        then, before = self._looks[0]
        return (waited - before) / (now - then) if now > then else None

    def _waited(self) -> float | None:
        """Seconds that it has waited in its life (sched-stats of Linux, field 2)."""
        if self._file is None:
            return None
        try:
            return int(self._file.read_text(encoding="ascii").split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return None
