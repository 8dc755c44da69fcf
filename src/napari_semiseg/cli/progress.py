"""How far a training is, on a terminal; and how it is asked to stop."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rich.progress import TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from napari_semiseg.cli.live import Live
from napari_semiseg.core.events import (
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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from rich.progress import TaskID

    from napari_semiseg.core.events import Event


TRAINING = "Training"


@dataclass(slots=True)
class Signals:
    """Signals that have come in, oldest first."""

    received: list[int] = field(default_factory=list)


class Stoppable(Protocol):
    """What can be asked to end, as a run can."""

    def request_stop(self) -> None:
        """Ask; returns at once."""


@contextmanager
def stoppable(run: Stoppable) -> Iterator[Signals]:
    """Turn Ctrl-C and SIGTERM into a request to stop; a second one ends it at once."""
    signals = Signals()

    def ask(number: int, _frame: FrameType | None) -> None:
        signals.received.append(number)
        if len(signals.received) > 1:
            raise KeyboardInterrupt
        run.request_stop()

    before = {
        kind: signal.signal(kind, ask) for kind in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield signals
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@dataclass(slots=True)
class Outcome:
    """What is left to say when the events have ended."""

    device: str | None = None
    validation: dict[str, float] = field(default_factory=dict)
    predicted: list[str] = field(default_factory=list)
    finished: Finished | None = None
    stopped: bool = False


class Display(Live):
    """A bar per stage of a run, and lines for what deserves one.

    Parameters
    ----------
    quiet : bool
        Show nothing, only keep the outcome.
    """

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            quiet=quiet,
        )
        self.outcome = Outcome()
        self._bars: dict[str, TaskID] = {}

    def take(self, event: Event) -> None:
        """Show an event and remember what counts at the end."""
        match event:
            case Started():
                self._line(_opening(event))
            case Staged():
                self._bar(event.stage, event.done, event.total)
            case Planned():
                self.outcome.device = event.device
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
                self.outcome.validation = event.dice
                self._line(f"step {event.step}: Dice {_dice(event.dice)}")
            case Learned():
                self._line(event.sentence)
            case Predicted():
                self._predicted(event)
            case Warned():
                self._line(f"Note: {event.message}")
            case Finished():
                self.outcome.finished = event
            case _:
                pass

    def _predicted(self, event: Predicted) -> None:
        if event.training_step is not None:
            self._line(event.sentence)
            return
        self.outcome.predicted.append(event.case)
        note = f"{event.case} (uncertainty {event.uncertainty:.2f})"
        self._bar("Predicting", event.done, event.total, note)

    def _bar(self, name: str, done: int, total: int, note: str = "") -> None:
        self._show()
        bar = self._bars.get(name)
        if bar is None:
            self._complete_stages()
            bar = self._bars[name] = self._progress.add_task(name, note="")
        self._progress.update(bar, completed=done, total=total, note=note)

    def _complete_stages(self) -> None:
        """Fill the bars of stages that are over, though not all count to the end."""
        for name, bar in self._bars.items():
            if name != TRAINING:
                task = self._progress.tasks[bar]
                self._progress.update(bar, completed=task.total)


def _opening(event: Started) -> str:
    if event.step:
        return f"{event.run} goes on from step {event.step}"
    source = "" if event.source is None else f", begins with {event.source}"
    return f"{event.run} ({event.method}){source}"


def _dice(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
