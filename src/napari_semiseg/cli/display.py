"""Show progress on a terminal, and turn Ctrl-C into a request to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from napari_semiseg.cli import render
from napari_semiseg.core.events import (
    Decided,
    Event,
    Finished,
    Learned,
    Planned,
    Predicted,
    Staged,
    Started,
    Stepped,
    Validated,
    Warned,
)
from napari_semiseg.core.text import duration, printable
from napari_semiseg.experiments.experiment import Remaining, TrialFinished, TrialStarted

TRAINING = "Training"
PREDICTING = "Predicting"


class Stoppable(Protocol):
    """What can be asked to stop, as a run can."""

    def request_stop(self) -> None:
        """Ask; returns at once."""


@dataclass(slots=True)
class StopFlag:
    """Remembers that the user has asked to stop."""

    requested: bool = False

    def request_stop(self) -> None:
        """Remember it."""
        self.requested = True


HANGUP = getattr(signal, "SIGHUP", None)
"""Signal that comes when the terminal is closed; Windows has none."""


@contextmanager
def stoppable(
    target: Stoppable, *, goes_on_elsewhere: bool = False
) -> Iterator[list[int]]:
    """Turn Ctrl-C and SIGTERM into a request to stop; a second one ends it at once.

    So is SIGHUP, which comes when the terminal is closed, unless ``nohup`` has the
    process ignore it.

    Parameters
    ----------
    goes_on_elsewhere : bool
        Whether the work is that of another computer: SIGHUP is then received, but
        asks nothing to stop.

    Yields
    ------
    list of int
        Signals that have been received, oldest first.
    """
    received: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if number == HANGUP:
            _detach()
            if goes_on_elsewhere:
                return
        elif len(received) > 1:
            raise KeyboardInterrupt
        target.request_stop()

    kinds = [signal.SIGINT, signal.SIGTERM]
    if HANGUP is not None and signal.getsignal(HANGUP) is not signal.SIG_IGN:
        kinds.append(HANGUP)
    before = {kind: signal.signal(kind, ask) for kind in kinds}
    try:
        yield received
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _detach() -> None:
    """Let what is printed go nowhere: the terminal is gone, and writing would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


class _Bars:
    """Bars with a note each, and lines above them, on stderr.

    Nothing is drawn before the first bar or line: an error stays the only line.
    """

    def __init__(self, *columns: ProgressColumn, quiet: bool) -> None:
        self._shown = False
        self._progress = Progress(
            TextColumn(
                "{task.description}", markup=False, table_column=Column(no_wrap=True)
            ),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=6)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            *columns,
            TextColumn(
                "{task.fields[note]}",
                markup=False,
                table_column=Column(ratio=2, no_wrap=True, overflow="ellipsis"),
            ),
            console=render.console(stderr=True),
            disable=quiet,
            expand=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._progress.stop()

    def _show(self) -> None:
        if not self._shown:
            self._progress.start()
            self._shown = True

    def _line(self, text: str) -> None:
        self._show()
        if not self._progress.disable:
            self._progress.console.print(text, markup=False)


@contextmanager
def progress_bar(name: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar; yields the function that sets what is done, of how much.

    Of 0 where nobody knows how much there is.
    """
    console = render.console(stderr=True)
    progress = Progress(
        console=console, disable=quiet or not console.is_terminal, transient=True
    )
    task = progress.add_task(name, total=None)

    def update(done: int, total: int) -> None:
        progress.start()  # not before: an error stays the only line
        progress.update(task, completed=done, total=total or None)

    try:
        yield update
    finally:
        if progress.live.is_started:
            progress.stop()


@dataclass(slots=True)
class RunSummary:
    """What the events of a run have reported by its end."""

    device: str | None = None
    validation: dict[str, float] = field(default_factory=dict)
    predicted: list[str] = field(default_factory=list)
    finished: Finished | None = None
    stopped: bool = False


class RunDisplay(_Bars):
    """A bar per stage of a run, and lines for single events.

    Parameters
    ----------
    quiet : bool
        Show nothing, only keep the summary.
    """

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            quiet=quiet,
        )
        self.summary = RunSummary()
        self._bars: dict[str, TaskID] = {}

    def take(self, event: Event) -> None:
        """Show an event and add it to the summary."""
        match event:
            case Started():
                self._line(_opening(event))
            case Staged():
                self._bar(event.stage, event.done, event.total)
            case Planned():
                self.summary.device = event.device
                millions = event.parameters / 1e6
                self._line(
                    f"{event.steps} steps on {event.device}, {millions:.1f} M "
                    "parameters"
                )
            case Stepped():
                losses = event.losses.items()
                note = "  ".join(f"{name} {value:.3f}" for name, value in losses)
                self._bar(TRAINING, event.step, event.steps, note)
            case Validated():
                self.summary.validation = event.dice
                dice = (f"{name} {value:.3f}" for name, value in event.dice.items())
                self._line(f"step {event.step}: Dice {', '.join(dice)}")
            case Learned() | Decided():
                self._line(event.sentence)
            case Predicted():
                self._predicted(event)
            case Warned():
                self._line(f"Note: {event.message}")
            case Finished():
                self.summary.finished = event
            case _:
                pass

    def _predicted(self, event: Predicted) -> None:
        if event.training_step is not None:
            self._line(event.sentence)
            return
        self.summary.predicted.append(event.case)
        note = f"{event.case} (uncertainty {event.uncertainty:.2f})"
        self._bar(PREDICTING, event.done, event.total, note)

    def _bar(self, name: str, done: int, total: int, note: str = "") -> None:
        self._show()
        bar = self._bars.get(name)
        if bar is None:
            self._complete_stages()
            bar = self._bars[name] = self._progress.add_task(name, note="")
        self._progress.update(bar, completed=done, total=total, note=printable(note))

    def _complete_stages(self) -> None:
        """Fill the bars of earlier stages, though not all count to the end."""
        for name, bar in self._bars.items():
            if name != TRAINING:
                task = self._progress.tasks[bar]
                self._progress.update(bar, completed=task.total)


def _opening(event: Started) -> str:
    if event.step:
        return f"{event.run} continues from step {event.step}"
    source = "" if event.source is None else f", begins with {event.source}"
    return f"{event.run} ({event.method}){source}"


class ExperimentDisplay(_Bars):
    """A bar for all trials, one for the current stage, and a line per result."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._name = name
        self._all: TaskID | None = None
        self._stage: TaskID | None = None
        self._remaining: Remaining | None = None

    def take(self, event: TrialStarted | TrialFinished[Any] | Event) -> None:
        """Show an event."""
        match event:
            case TrialStarted():
                self._trial(event)
            case TrialFinished():
                self._line(event.text)
                if self._all is not None:
                    self._progress.advance(self._all)
            case Staged():
                self._bar(event.stage, event.done, event.total)
            case Stepped():
                left = duration(event.seconds_left)
                self._bar(TRAINING, event.step, event.steps, f"{left} left")
                total_seconds = event.seconds + event.seconds_left
                self._show_remaining(event.seconds_left, total_seconds / event.steps)
            case Predicted(training_step=None):
                self._bar(PREDICTING, event.done, event.total)
            case Warned():
                self._line(f"Note: {event.message}")
            case _:
                pass

    def _trial(self, event: TrialStarted) -> None:
        self._show()
        if self._all is None:
            self._all = self._progress.add_task(self._name, note="", total=event.total)
            if self._stage is not None:
                self._progress.remove_task(self._stage)
                self._stage = None
        done = event.number - 1 if event.done is None else event.done
        self._progress.update(self._all, completed=done)
        self._line(f"{event.number} of {event.total}: {event.text}")
        self._remaining = event.remaining
        if event.remaining is not None and event.remaining.minutes is not None:
            self._show_remaining(60 * event.remaining.minutes)

    def _show_remaining(self, training_s: float, seconds_per_step: float = 0.0) -> None:
        """Show the time left of all trials, from that of the current training."""
        if self._all is not None and self._remaining is not None:
            later = seconds_per_step * self._remaining.steps_after
            seconds = training_s + self._remaining.seconds_after + later
            note = f"about {duration(seconds)} left"
            self._progress.update(self._all, note=note)

    def _bar(self, name: str, done: int, total: int, note: str = "") -> None:
        self._show()
        if self._stage is None:
            self._stage = self._progress.add_task(name, note="")
        self._progress.update(
            self._stage,
            description=printable(name),
            completed=done,
            total=total,
            note=printable(note),
        )
