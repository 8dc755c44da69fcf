"""Read a run's growing event log line by line, each line once."""

from __future__ import annotations

import pickletools
import re
import struct
import zipfile
import zlib
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_semiseg.core.events import Finished, Learned, Started, from_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_semiseg.core.events import Event

CANDIDATES = 8
"""Newest lines with a number that are kept, since some may be damaged."""

NUMBERS = {
    name: re.compile(rb'"%s": ?[0-9]' % name.encode())
    for name in ("step", "seconds", "gradient_ratio")
}
"""Fields of which the value in the newest event that has them is kept."""

_DAMAGE = (
    *(OSError, EOFError, ValueError, LookupError, StopIteration, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""What reading a damaged checkpoint raises."""

_SESSION = re.compile(rb'"type": ?"(?:started|finished|learned)"')


class LogReader:
    """Read the complete lines of a log; a later call goes on behind them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that are new; one without its end waits for it."""
        try:
            log = self._path.open("rb")
        except FileNotFoundError:
            return
        with log:
            log.seek(self._offset)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield line

    def events(self) -> Iterator[Event]:
        """Yield the new events; torn and foreign lines are left out."""
        for line in self.lines():
            with suppress(ValueError):
                yield from_line(line.decode())


class LogSummary:
    """What the log of a run says so far, without keeping its events.

    Attributes
    ----------
    session : Started, Finished or None
        The newest event of these kinds.
    method : str or None
        Of the newest session.
    learned : list of Learned
        Labels that were taken in, oldest first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reset()

    def _reset(self) -> None:
        self._reader = LogReader(self._path)
        self._size = 0
        self._numbers = {name: deque[bytes](maxlen=CANDIDATES) for name in NUMBERS}
        self.session: Started | Finished | None = None
        self.method: str | None = None
        self.learned: list[Learned] = []

    def update(self) -> None:
        """Read what was appended since the last call."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size < self._size:  # replaced or cut off
            self._reset()
        if size == self._size:
            return
        self._size = size
        for line in self._reader.lines():
            for name, number in NUMBERS.items():
                if number.search(line):
                    self._numbers[name].append(line)
            if _SESSION.search(line):
                with suppress(ValueError):
                    self._take(from_line(line.decode()))

    def _take(self, event: Event) -> None:
        if isinstance(event, Started | Finished):
            self.session = event
        if isinstance(event, Started):
            self.method = event.method
        if isinstance(event, Learned):
            self.learned.append(event)

    def newest(self, field: str) -> float | None:
        """Value of one of `NUMBERS` in the newest event that has it."""
        for line in reversed(self._numbers[field]):
            with suppress(ValueError):
                value = getattr(from_line(line.decode()), field, None)
                if value is not None:
                    return float(value)
        return None


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """Steps and seconds of training that a checkpoint is of, where they are known."""

    step: int | None = None
    seconds: float | None = None


def checkpoint_facts(path: Path) -> CheckpointFacts:
    """Read the numbers that a checkpoint begins with; none where it is damaged.

    No code in the file is run, and PyTorch is not needed.
    """
    found: dict[str, float] = {}
    name = ""
    try:
        with zipfile.ZipFile(path) as file:
            entry = next(item for item in file.namelist() if item.endswith("/data.pkl"))
            for code, value, _ in pickletools.genops(file.read(entry)):
                if code.name == "BINUNICODE":
                    name = str(value)
                elif isinstance(value, int | float) and "PUT" not in code.name:
                    found[name] = value
                elif code.name == "GLOBAL":  # the first tensor
                    break
    except _DAMAGE:
        return CheckpointFacts()
    step = found.get("step")
    return CheckpointFacts(None if step is None else int(step), found.get("seconds"))
