"""Run the trials of an experiment, in turn or at once, and resume it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from napari_semiseg.core.events import Warned

if TYPE_CHECKING:
    from napari_semiseg.core.events import Event, Staged
    from napari_semiseg.execution.executor import Executor
    from napari_semiseg.experiments.results_file import ExperimentResults


class Trial(Protocol):
    """A training, with what comes before and after it."""

    @property
    def text(self) -> str:
        """Describe it to people."""


TrialT = TypeVar("TrialT", bound=Trial)
ResultsT = TypeVar("ResultsT", bound="ExperimentResults[Any]")


@dataclass(frozen=True, slots=True)
class Remaining:
    """Time that is left of an experiment when a trial begins.

    ``minutes`` is the budget of its training, None for a budget in steps. What comes
    after that takes ``seconds_after``, plus ``steps_after`` of unknown speed.
    """

    minutes: float | None
    seconds_after: float
    steps_after: int


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial begins: ``number`` of ``total``, those done before included.

    So many are ``done`` by then; all before it by default.
    """

    text: str
    number: int
    total: int
    remaining: Remaining | None = None
    done: int | None = None


@dataclass(frozen=True, slots=True)
class TrialFinished(Generic[ResultsT]):
    """A trial has its scores or its error; ``results`` holds all so far."""

    text: str
    results: ResultsT


@dataclass(frozen=True, eq=False)
class Experiment(ABC, Generic[TrialT, ResultsT]):
    """Many trainings that an executor starts, with results and projects in ``out``."""

    out: Path
    executor: Executor

    def project_folder(self, name: str) -> Path:
        """Folder of a project that trials work in."""
        return self.out / "projects" / name

    @abstractmethod
    def trials(self) -> Sequence[TrialT]:
        """List all trials in their order."""

    @abstractmethod
    def is_done(self, trial: TrialT, results: ResultsT) -> bool:
        """Whether nothing is left to do for a trial."""

    def is_due(self, trial: TrialT, results: ResultsT) -> bool:
        """Whether a trial can begin; by default where it is not done."""
        return not self.is_done(trial, results)

    @abstractmethod
    def prepare(self, results: ResultsT) -> Iterator[Staged]:
        """Make the projects that the trials work in."""

    @abstractmethod
    def perform(
        self,
        trial: TrialT,
        results: ResultsT,
        stop: Callable[[], bool],
        keep: Callable[[ResultsT], object],
    ) -> Generator[Event, None, ResultsT | None]:
        """Do a trial; returns the results with its own, or None when stopped.

        ``keep`` writes results with a part of its own at once.
        """

    @abstractmethod
    def merged(self, results: ResultsT, found: ResultsT, trial: TrialT) -> ResultsT:
        """Take a trial's part of what `perform` has returned into other results."""

    @abstractmethod
    def outcome(self, trial: TrialT, results: ResultsT) -> str:
        """Say in words what came out of a trial."""

    @abstractmethod
    def publish(self, results: ResultsT) -> Any:
        """Write tables and figures of the results so far; returns their rows."""

    def remaining(
        self, trial: TrialT, later: Sequence[TrialT], results: ResultsT
    ) -> Remaining | None:
        """Estimate the time that is left; None where it is not known."""
        return None

    def run(
        self, results: ResultsT, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[TrialStarted | TrialFinished[ResultsT] | Event]:
        """Do what is not done yet.

        Parameters
        ----------
        results : ExperimentResults
            Of the trials before, from `ExperimentResults.open`.
        stop : callable
            Asked often; the current training then writes a checkpoint and this
            generator ends. The next call continues from there.

        Yields
        ------
        TrialStarted, TrialFinished, Event
            ``Staged`` while projects are made, then per trial ``TrialStarted``, the
            events of its run, and ``TrialFinished``, unless it was stopped.

        Raises
        ------
        SemisegError
            The projects cannot be made; later errors are recorded in the results.
        """
        results.write(self.out)
        for event in self.prepare(results):
            yield event
            if stop():
                return
        trials = self.trials()
        if self.executor.parallel > 1:
            yield from self._run_together(trials, results, stop)
            return
        for index, trial in enumerate(trials):
            if not self.is_due(trial, results):
                continue
            if stop():
                return
            later = [
                other
                for other in trials[index + 1 :]
                if not self.is_done(other, results)
            ]
            yield TrialStarted(
                trial.text,
                len(trials) - len(later),
                len(trials),
                self.remaining(trial, later, results),
            )
            found = yield from self.perform(
                trial, results, stop, lambda part: part.write(self.out)
            )
            if found is None:
                return
            results = found
            results.write(self.out)
            yield TrialFinished(
                f"{trial.text}: {self.outcome(trial, results)}", results
            )

    def _run_together(
        self, trials: Sequence[TrialT], results: ResultsT, stop: Callable[[], bool]
    ) -> Iterator[TrialStarted | TrialFinished[ResultsT] | Event]:
        """Do trials at once, as many as the executor runs.

        A trial that another one makes due begins after it. Of the events of their runs
        only the warnings are given, which name the trial.
        """
        warned: SimpleQueue[Event] = SimpleQueue()
        writing = Lock()

        def keep(trial: TrialT, found: ResultsT) -> ResultsT:
            nonlocal results
            with writing:
                results = self.merged(results, found, trial)
                results.write(self.out)
                return results

        waiting = [trial for trial in trials if not self.is_done(trial, results)]
        jobs: dict[Future[ResultsT | None], TrialT] = {}
        with ThreadPoolExecutor(self.executor.parallel, "trials") as threads:
            while True:
                due = [one for one in waiting if self.is_due(one, results)]
                for trial in () if stop() else due:
                    waiting.remove(trial)
                    kept = partial(keep, trial)
                    job = threads.submit(
                        self._perform, trial, results, stop, kept, warned
                    )
                    jobs[job] = trial
                    number = len(trials) - len(waiting)
                    done = number - len(jobs)
                    yield TrialStarted(trial.text, number, len(trials), done=done)
                if not jobs:
                    return
                ended, _ = wait(jobs, timeout=1.0, return_when=FIRST_COMPLETED)
                while not warned.empty():
                    yield warned.get()
                for job in ended:
                    trial, found = jobs.pop(job), job.result()
                    if found is None:
                        continue
                    now = keep(trial, found)
                    text = f"{trial.text}: {self.outcome(trial, now)}"
                    yield TrialFinished(text, now)

    def _perform(
        self,
        trial: TrialT,
        results: ResultsT,
        stop: Callable[[], bool],
        keep: Callable[[ResultsT], object],
        warned: SimpleQueue[Event],
    ) -> ResultsT | None:
        """Do a trial to its end, beside others; its warnings go into ``warned``."""
        if stop():
            return None
        performed = self.perform(trial, results, stop, keep)
        while True:
            try:
                event = next(performed)
            except StopIteration as end:
                found: ResultsT | None = end.value
                return found
            if isinstance(event, Warned):
                warned.put(Warned(message=f"{trial.text}: {event.message}"))
