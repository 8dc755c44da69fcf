"""Iterate over the event log of a run until its process ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.core.events import Event, Finished, Started, Warned
from napari_semiseg.errors import STOPPED, ProjectError
from napari_semiseg.project.runs.event_log import LogReader

if TYPE_CHECKING:
    from napari_semiseg.execution.executor import Handle
    from napari_semiseg.project.runs.run import Run

REFUSED = 1
"""Exit code of a verb that refused with one line of output, or could not begin."""
UNSAID = "its process ended early"
QUOTED_LINES = 5
POLL_S = 0.2


def follow_process(
    run: Run,
    handle: Handle | None = None,
    *,
    trains: bool = True,
    poll_s: float = POLL_S,
    stop: Callable[[], bool] = lambda: False,
    caught_up: Callable[[], object] = lambda: None,
) -> Iterator[Event]:
    """Yield the events of a run as its log grows, from the log's beginning.

    Ends with the process, which predicts after the ``Finished`` of a training. When
    the process is gone without one, a ``Finished`` with the last lines of its output
    is yielded that the log does not hold. A new run of ``handle`` that refused to
    start leaves no folder behind.

    Parameters
    ----------
    handle : Handle, optional
        What works on it; by default the process that the log names.
    trains : bool
        False for a process that only predicts: it writes no ``Finished``, and its
        refusal is yielded as a ``Warned``.
    poll_s : float
        Time between two readings of the log, s.
    stop : callable
        Asked between readings whether to end; the run itself goes on.
    caught_up : callable
        Called between the last event that the log held already and the first new one.
    """
    tail = _Tail(run.folder.events)
    yield from tail.read()
    caught_up()
    if trains:
        yield from _follow_training(run, handle, tail, poll_s, stop)
    ended = False
    while not stop() and not ended:
        ended = not _goes_on(run, handle)
        yield from tail.read()
        if not ended:
            time.sleep(poll_s)
    if not trains and handle is not None and handle.poll() == REFUSED:
        output = last_output(run.folder.log, handle.log_start) or [UNSAID]
        yield Warned(message=output[-1])


def wait_for(
    log: Path,
    handle: Handle,
    poll_s: float = POLL_S,
    say: Callable[[str], object] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Wait for a verb that writes no log of events.

    Parameters
    ----------
    log : Path
        What it prints.
    say : callable, optional
        Is given its last line, as often as that changes.
    stop : callable
        Asked between two looks whether to wait no longer; the verb itself goes on.

    Raises
    ------
    ProjectError
        It has failed; with the last line that it printed.
    """
    before: list[str] = []
    start = handle.log_start
    while (code := handle.poll()) is None and not stop():
        time.sleep(poll_s)
        if say is not None and (lines := last_output(log, start)) not in ([], before):
            say(lines[-1])
            before = lines
    if code:
        output = last_output(log, start)[-1:] or [f"it ended with code {code}"]
        raise ProjectError(output[0].removeprefix("semiseg: "))


def last_output(log: Path, start: int = 0) -> list[str]:
    """Return the last lines that a process printed into its log, the newest last.

    Parameters
    ----------
    start : int
        Length of the log when the process was submitted, bytes: what stands before is
        of others.
    """
    try:
        printed = log.read_bytes()
    except OSError:
        return []
    own = printed[start if start <= len(printed) else 0 :]
    lines = own.decode("utf-8", errors="replace").split("\n")
    return [line.strip() for line in lines if line.strip()][-QUOTED_LINES:]


def _follow_training(
    run: Run,
    handle: Handle | None,
    tail: _Tail,
    poll_s: float,
    stop: Callable[[], bool],
) -> Iterator[Event]:
    while not stop():
        # Before reading, so that the last line is never missed.
        gone = not _trains(run, handle)
        yield from tail.read()
        if handle is None:
            is_its = not run.is_under_way
        else:
            is_its = tail.session == handle.session
        if isinstance(tail.last, Finished) and is_its:
            return
        if gone:
            yield _failure(run, handle)
            return
        time.sleep(poll_s)


class _Tail:
    """Read new events of a growing log, and remember the session's."""

    def __init__(self, path: Path) -> None:
        self._reader = LogReader(path)
        self.last: Started | Finished | None = None
        self.session = ""

    def read(self) -> Iterator[Event]:
        for event in self._reader.events():
            if isinstance(event, Started | Finished):
                self.last = event
            if isinstance(event, Started):
                self.session = event.session
            yield event


def _trains(run: Run, handle: Handle | None) -> bool:
    if handle is not None:
        return handle.poll() is None
    return run.is_under_way


def _goes_on(run: Run, handle: Handle | None) -> bool:
    if handle is not None:
        return handle.poll() is None
    return run.is_working or run.waiting is not None


def _failure(run: Run, handle: Handle | None) -> Finished:
    """Describe the end of a session that wrote no ``Finished``."""
    code, start = None, 0
    if handle is not None:
        code, start = handle.poll(), handle.log_start
    output = last_output(run.folder.log, start)
    if code == STOPPED:  # while it waited in a queue
        return Finished(
            run=run.id, reason="cancelled", step=run.steps_done, seconds=run.seconds
        )
    refused = code == REFUSED and output
    ended = f"the training process ended with code {code}" if handle is not None else ""
    error = output[-1] if refused else "\n".join(output) or ended
    finished = Finished(
        run=run.id,
        reason="failed",
        step=run.steps_done,
        seconds=run.seconds,
        error=error or "it was interrupted",
    )
    if refused:
        run.discard()
    return finished
