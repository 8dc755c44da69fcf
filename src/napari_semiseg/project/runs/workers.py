"""Several processes that predict for one run, on one machine or on many.

A run has one log and one claim, of the process that trains. Each worker has its own
beside them, since a file that several machines append to is not safe on a share.
"""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_semiseg.core.cancellation import CancellationToken
from napari_semiseg.io.atomic import write_text
from napari_semiseg.project.runs.process import Claim, heartbeat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_semiseg.core.events import Event
    from napari_semiseg.project.layout import RunFolder

BATCH = ("SEMISEG_BATCH", "SLURM_ARRAY_JOB_ID")
"""Variables that name the array of jobs which a worker belongs to, the first counts."""


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
        self.batch = next((text for text in known if text), uuid.uuid4().hex)
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
        """Show that it works, until the block ends."""
        self._claim.parent.mkdir(exist_ok=True)
        write_text(self._claim, f"{Claim.of(os.getpid()).text}{self.batch}\n")
        with heartbeat(self._claim):
            yield


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
    return [batch for claim, path, batch in _claims(folder) if claim.holds(path)]


def request_stop(folder: RunFolder) -> None:
    """Ask a run and all its workers to end, also those of an array yet to start."""
    batches = sorted({batch for _, _, batch in _claims(folder)})
    write_text(folder.stop, "\n".join([uuid.uuid4().hex, *batches]))


def _request(stop: Path) -> tuple[str, int] | None:
    """Content and time of a request to stop, by which it differs from others."""
    try:
        return stop.read_text(encoding="utf-8"), stop.stat().st_mtime_ns
    except (OSError, ValueError):
        return None


def _claims(folder: RunFolder) -> Iterator[tuple[Claim, Path, str]]:
    for path in sorted(folder.workers.glob("*.pid")):
        try:
            first, batch = path.read_text(encoding="utf-8").splitlines()
            yield Claim.parse(first), path, batch
        except (OSError, ValueError):
            continue
