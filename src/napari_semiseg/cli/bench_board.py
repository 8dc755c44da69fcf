"""How far a benchmark is, on a terminal, and how long it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

from napari_semiseg.bench.runner import Began, Ended
from napari_semiseg.cli import render
from napari_semiseg.core.events import Staged, Stepped, Warned
from napari_semiseg.core.words import duration

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import TaskID

    from napari_semiseg.bench.results import TrialResult
    from napari_semiseg.core.events import Event


class Board:
    """A bar for all trials, one for what goes on now, and a line per result.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    name : str
        What is going on as a whole.
    """

    def __init__(self, *, quiet: bool, name: str = "Benchmark") -> None:
        self._name = name
        self._progress = Progress(
            TextColumn(
                "{task.description}", markup=False, table_column=Column(no_wrap=True)
            ),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=render.console(stderr=True),
            disable=quiet,
        )
        self._all: TaskID | None = None
        self._now: TaskID | None = None
        self._after: float | None = None
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            self._progress.stop()

    def take(self, event: Began | Ended | Event) -> None:
        """Show an event."""
        match event:
            case Began():
                self.begin(event.trial.text, event.number, event.total)
                self._after = event.seconds_after
                minutes = event.trial.budget.minutes
                if minutes is not None and self._after is not None:
                    self._left(60 * minutes + self._after)
            case Staged():
                self._move(event.stage, event.done, event.total)
            case Stepped():
                left = duration(event.seconds_left)
                self._move("Training", event.step, event.steps, f"{left} left")
                if self._after is not None:
                    self._left(event.seconds_left + self._after)
            case Warned():
                self._line(f"Note: {event.message}")
            case Ended():
                self.end(f"{event.trial.text}: {_outcome(event.result)}")
            case _:
                pass

    def begin(self, text: str, number: int, total: int) -> None:
        """Say what begins now, out of how many."""
        self._show()
        if self._all is None:
            self._all = self._progress.add_task(self._name, note="", total=total)
            if self._now is not None:
                self._progress.remove_task(self._now)
                self._now = None
        self._progress.update(self._all, completed=number - 1)
        self._line(f"{number} of {total}: {text}")

    def end(self, text: str) -> None:
        """Say what came out of it."""
        self._line(text)
        if self._all is not None:
            self._progress.advance(self._all)

    def _left(self, seconds: float) -> None:
        if self._all is not None:
            note = f"about {duration(seconds)} left"
            self._progress.update(self._all, note=note)

    def _move(self, name: str, done: int, total: int, note: str = "") -> None:
        self._show()
        if self._now is None:
            self._now = self._progress.add_task(name, note="")
        self._progress.update(
            self._now, description=name, completed=done, total=total, note=note
        )

    def _line(self, text: str) -> None:
        if not self._progress.disable:
            self._progress.console.print(text, markup=False)

    def _show(self) -> None:
        """Begin to draw with the first event: a refusal stays the only line."""
        if not self._shown:
            self._progress.start()
            self._shown = True


def _outcome(result: TrialResult) -> str:
    if result.error is not None:
        return f"failed: {result.error}"
    dice = [
        metrics.dice
        for classes in result.cases.values()
        for metrics in classes.values()
    ]
    return f"Dice {sum(dice) / len(dice):.3f}, {duration(result.seconds)}"
