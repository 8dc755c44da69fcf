"""Several processes that predict for one run, on one machine or on many.

A run has one log and one claim, of the process that trains. Each worker has its own
beside them, since a file that several machines append to is not safe on a share.
"""

from __future__ import annotations

import os
import re
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_semiseg.core.cancellation import CancellationToken
from napari_semiseg.io.atomic import write_text
from napari_semiseg.project.runs.process import Claim, heartbeat, modified

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_semiseg.core.events import Event
    from napari_semiseg.project.layout import RunFolder

BATCH = ("SEMISEG_BATCH", "SLURM_ARRAY_JOB_ID")
"""Variables that name the array of jobs which a worker belongs to, the first counts."""
ALONE, ARRAY, ENDED = "alone", "array", "ended"
"""A worker without an array, one of an array, and one that has done its part of it."""
_SHARD = re.compile(r"shard-([0-9]+)-of-([0-9]+)")


@dataclass(frozen=True, slots=True)
class _Sign:
    """What a worker has written of itself.

    Attributes
    ----------
    path : Path
        Its file, whose time is renewed while it works.
    claim : Claim
        Its process.
    batch : str
        The array that it belongs to.
    state : str
        `ALONE`, `ARRAY` or `ENDED`.
    """

    path: Path
    claim: Claim
    batch: str
    state: str


class Worker:
    """A process that predicts for a run beside others.

    A request to stop counts for it when it came since this worker began, or when it
    names this worker's batch: so it reaches the jobs of an array that start late.
    Workers never take it back.

    Parameters
    ----------
    folder : RunFolder
        Of the run.
    name : str
        Part of a file's name; unlike that of workers beside it.
    environment : mapping
        Names the batch; without it a worker is a batch of its own.
    """

    def __init__(
        self, folder: RunFolder, name: str, environment: Mapping[str, str] = os.environ
    ) -> None:
        known = (environment.get(variable) for variable in BATCH)
        named = next((text for text in known if text), None)
        self.batch = named or uuid.uuid4().hex
        self._state = ALONE if named is None else ARRAY
        self._folder = folder
        self._claim = folder.workers / f"{name}.pid"
        self._log = folder.workers / f"{name}.jsonl"
        self._before = _request(folder.stop)
        self._asked = False

    @property
    def stop_requested(self) -> bool:
        """Whether it was asked to end, by itself or with its run."""
        if self._asked:
            return True
        request = _request(self._folder.stop)
        if request is None:
            return False
        return request != self._before or self.batch in request[0].split("\n")

    def request_stop(self) -> None:
        """Ask this worker alone to end."""
        self._asked = True

    @property
    def cancellation(self) -> CancellationToken:
        """Token that is cancelled once it was asked to end."""
        return CancellationToken(lambda: self.stop_requested)

    def append(self, event: Event) -> None:
        """Write an event to its log."""
        append(self._log, event)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Show that it works, until the block ends; then that it has done its part."""
        self._claim.parent.mkdir(exist_ok=True)
        self._show(self._state)
        with heartbeat(self._claim):
            yield
        if self._state == ARRAY:
            self._show(ENDED)

    def _show(self, state: str) -> None:
        text = f"{Claim.of(os.getpid()).text}{self.batch}\n{state}\n"
        write_text(self._claim, text)


def append(log: Path, event: Event) -> None:
    """Write an event to a log, on a line of its own even behind a torn one."""
    with log.open("ab+") as file:
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(event.to_line().encode() + b"\n")


def worker_logs(folder: RunFolder) -> list[Path]:
    """Logs of all workers that a run has had, by name."""
    return sorted(folder.workers.glob("*.jsonl"))


def working_batches(folder: RunFolder) -> list[str]:
    """Batches of the workers of a run that are at work."""
    return [sign.batch for sign in _signs(folder) if sign.claim.holds(sign.path)]


def awaited_batches(folder: RunFolder) -> list[str]:
    """Arrays of which some parts have begun and others have not done theirs.

    Of arrays of equal length the newest counts: its parts overwrite those before.
    """
    newest: dict[int, list[_Sign]] = {}
    for sign in _signs(folder):
        found = _SHARD.fullmatch(sign.path.stem)
        if found is not None:
            newest.setdefault(int(found[2]), []).append(sign)
    awaited = []
    for parts, signs in newest.items():
        last = max(signs, key=lambda sign: modified(sign.path))
        done = [one for one in signs if (one.batch, one.state) == (last.batch, ENDED)]
        if last.state != ALONE and len(done) < parts:
            awaited.append(last.batch)
    return awaited


def request_stop(folder: RunFolder) -> None:
    """Ask a run and all its workers to end, also those of an array yet to start."""
    batches = sorted({sign.batch for sign in _signs(folder)})
    write_text(folder.stop, "\n".join([uuid.uuid4().hex, *batches]))


def _request(stop: Path) -> tuple[str, int] | None:
    """Content and time of a request to stop, by which it differs from others."""
    try:
        return stop.read_text(encoding="utf-8"), stop.stat().st_mtime_ns
    except (OSError, ValueError):
        return None


def _signs(folder: RunFolder) -> Iterator[_Sign]:
    for path in sorted(folder.workers.glob("*.pid")):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            first, batch, state = lines if len(lines) != 2 else [*lines, ALONE]
            if state in (ALONE, ARRAY, ENDED):
                yield _Sign(path, Claim.parse(first), batch, state)
        except (OSError, ValueError):
            continue
