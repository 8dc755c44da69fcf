"""How far a benchmark is, on a terminal, and how long it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.cli.live import Live
from napari_semiseg.core.events import Predicted, Staged, Stepped, Warned
from napari_semiseg.core.text import duration
from napari_semiseg.experiments.benchmark.runner import Began, Ended

if TYPE_CHECKING:
    from rich.progress import TaskID

    from napari_semiseg.core.events import Event
    from napari_semiseg.experiments.benchmark.results import TrialResult


class Board(Live):
    """A bar for all trials, one for what goes on now, and a line per result.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    name : str
        What is going on as a whole.
    """

    def __init__(self, *, quiet: bool, name: str = "Benchmark") -> None:
        super().__init__(quiet=quiet)
        self._name = name
        self._all: TaskID | None = None
        self._now: TaskID | None = None
        self._began: Began | None = None

    def take(self, event: Began | Ended | Event) -> None:
        """Show an event."""
        match event:
            case Began():
                self.begin(event.trial.text, event.number, event.total)
                self._began = event
                minutes = event.trial.budget.minutes
                if minutes is not None:
                    self._left(60 * minutes)
            case Staged():
                self._move(event.stage, event.done, event.total)
            case Stepped():
                left = duration(event.seconds_left)
                self._move("Training", event.step, event.steps, f"{left} left")
                pace = (event.seconds + event.seconds_left) / event.steps
                self._left(event.seconds_left, pace)
            case Predicted(training_step=None):
                self._move("Predicting", event.done, event.total)
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

    def _left(self, training: float, pace: float = 0.0) -> None:
        """Say how long all will take, from what is left of the training of now.

        ``pace`` is that of a step, for the trials behind it.
        """
        if self._all is not None and self._began is not None:
            began = self._began
            seconds = training + began.seconds_after + pace * began.steps_after
            note = f"about {duration(seconds)} left"
            self._progress.update(self._all, note=note)

    def _move(self, name: str, done: int, total: int, note: str = "") -> None:
        self._show()
        if self._now is None:
            self._now = self._progress.add_task(name, note="")
        self._progress.update(
            self._now, description=name, completed=done, total=total, note=note
        )


def _outcome(result: TrialResult) -> str:
    if result.error is not None:
        return f"failed: {result.error}"
    dice = [
        metrics.dice
        for classes in result.cases.values()
        for metrics in classes.values()
    ]
    return f"Dice {sum(dice) / len(dice):.3f}, {duration(result.seconds)}"
