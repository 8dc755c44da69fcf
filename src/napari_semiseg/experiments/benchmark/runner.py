"""All trials, one after the other, each in a process of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from napari_semiseg.core.events import Finished, Planned, Staged, Warned
from napari_semiseg.errors import SemisegError
from napari_semiseg.experiments.benchmark import trial as child
from napari_semiseg.experiments.benchmark.projects import make_project
from napari_semiseg.experiments.benchmark.results import FILE, TrialResult
from napari_semiseg.experiments.benchmark.worker import read_facts
from napari_semiseg.experiments.stored import write
from napari_semiseg.io.atomic import read_json
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_semiseg.core.events import Event
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.execution.executor import Executor
    from napari_semiseg.experiments.benchmark.dataset import Dataset
    from napari_semiseg.experiments.benchmark.results import Results
    from napari_semiseg.experiments.benchmark.spec import Benchmark, Trial
    from napari_semiseg.imaging.metrics import Metrics
    from napari_semiseg.project.cases.case import Case

PROJECTS = "projects"

Scores = dict[str, dict[str, "Metrics"]]


@dataclass(frozen=True, slots=True)
class Began:
    """A trial begins.

    Attributes
    ----------
    number, total : int
        Of all trials, those that were done before included.
    seconds_after : float
        What comes after its training: its own prediction and scores, and the trials
        behind it, as far as is known.
    steps_after : int
        Steps of the trials behind it that nobody has timed yet.
    """

    trial: Trial
    number: int
    total: int
    seconds_after: float
    steps_after: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A trial has its scores or its error; ``results`` holds all so far."""

    trial: Trial
    result: TrialResult
    results: Results


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A benchmark on its data, with the folder that it works in."""

    benchmark: Benchmark
    dataset: Dataset
    scheme: LabelScheme
    out: Path
    executor: Executor

    def run(
        self, results: Results, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[Began | Ended | Event]:
        """Do what is not done yet.

        Parameters
        ----------
        results : Results
            From `napari_semiseg.experiments.benchmark.results.begin`.
        stop : callable
            Asked often; the run that is going on then writes a checkpoint and this
            generator ends. The next call goes on from there.

        Yields
        ------
        Began, Ended, Event
            ``Staged`` while projects are made, then per trial ``Began``, the events of
            its run, and ``Ended``, unless it was stopped.

        Raises
        ------
        SemisegError
            The projects cannot be made; what fails later is recorded instead.
        """
        write(self.out / FILE, results)
        for event in self._check_images():
            yield event
            if stop():
                return
        for labelled in self.benchmark.labelled:
            for event in make_project(
                self._folder(labelled),
                self.benchmark,
                labelled,
                self.dataset,
                self.scheme,
            ):
                yield event
                if stop():
                    return
        trials = self.benchmark.trials()
        waiting = [trial for trial in trials if not results.is_done(trial)]
        for position, trial in enumerate(waiting):
            if stop():
                return
            number = len(trials) - len(waiting) + position + 1
            after = time_after(waiting[position + 1 :], results)
            yield Began(trial, number, len(trials), *after)
            project = Project.open(self._folder(trial.labelled))
            result = yield from self._try(project, trial, stop)
            if result is None:
                return
            environment = project.layout.run(trial.run_id).environment
            results = results.with_run(
                result, read_json(environment) if environment.exists() else {}
            )
            write(self.out / FILE, results)
            yield Ended(trial, result, results)

    def _folder(self, labelled: str) -> Path:
        return self.out / PROJECTS / labelled

    def _check_images(self) -> Iterator[Staged]:
        """Read all images once, since a broken one would end a trial hours later.

        That is done where a list has no project yet.
        """
        lists = self.benchmark.labelled
        if all(self._folder(labelled).exists() for labelled in lists):
            return
        names = dict.fromkeys(
            [*chain(*lists.values()), *self.benchmark.unlabelled, *self.benchmark.test]
        )
        for done, name in enumerate(names, start=1):
            self.dataset.check_image(name)
            yield Staged(stage="Reading images", done=done, total=len(names))

    def _try(
        self, project: Project, trial: Trial, stop: Callable[[], bool]
    ) -> Generator[Event, None, TrialResult | None]:
        """One trial; returns its result, or None when it was stopped."""
        run = Run(project.layout.run(trial.run_id))
        try:
            wanted = self._test_cases()
            config = self.benchmark.config(trial)
            error = yield from child.train(
                project, run, config, wanted, stop, self.executor
            )
            if error is not None:
                return self._result(run, trial, {}, error)
            if not child.is_complete(run, wanted):
                return None
            tests = {
                name: project.case(self.dataset.case(name))
                for name in self.benchmark.test
            }
            begun = time.perf_counter()
            scores = yield from child.score(run, tests, self._reference, self.scheme)
        except SemisegError as refusal:
            return self._result(run, trial, {}, str(refusal))
        seconds = time.perf_counter() - begun
        return self._result(run, trial, scores, None, seconds)

    def _test_cases(self) -> list[str]:
        return [self.dataset.case(name) for name in self.benchmark.test]

    def _reference(self, name: str, case: Case) -> NDArray[np.uint8]:
        return self.dataset.read_mask(name, case.geometry)

    def _result(
        self,
        run: Run,
        trial: Trial,
        scores: Scores,
        error: str | None,
        score_seconds: float = 0.0,
    ) -> TrialResult:
        facts = read_facts(run)
        plans = [event for event in run.events() if isinstance(event, Planned)]
        return TrialResult(
            labelled=trial.labelled,
            labels=len(self.benchmark.labelled[trial.labelled]),
            method=trial.entry.label,
            budget=trial.budget.text,
            minutes=trial.budget.minutes,
            seed=trial.seed,
            run=trial.run_id,
            status="completed" if error is None else "failed",
            error=error,
            device=plans[-1].device if plans else None,
            steps=facts.steps or run.steps_done,
            seconds=round(run.seconds, 1),
            predict_seconds=round(facts.predict_seconds, 1),
            score_seconds=round(score_seconds, 1),
            peak_memory_mb=round(facts.peak_memory_mb) or None,
            peak_gpu_mb=round(facts.peak_gpu_mb) or None,
            parameters=plans[-1].parameters if plans else None,
            notes=_notes(run.events()),
            cases=scores,
        )


def time_after(trials: Sequence[Trial], results: Results) -> tuple[float, int]:
    """Estimate what comes after the training that goes on now.

    Minutes take what they say; steps as long as those of the same method did, or of
    any. Every trial, the one that goes on included, is then predicted and scored, which
    takes as long as it has taken so far.

    Parameters
    ----------
    trials : sequence of Trial
        Those behind it.
    results : Results
        Of those before it.

    Returns
    -------
    seconds : float
        As far as is known.
    steps : int
        Steps of trials with such a budget that has not been timed yet.
    """
    done = results.completed()
    closing = _mean([run.predict_seconds + run.score_seconds for run in done]) or 0.0
    seconds, steps = closing, 0
    for trial in trials:
        alike = [run for run in done if run.budget == trial.budget.text]
        same = [run for run in alike if run.method == trial.entry.label]
        training = _mean([run.seconds for run in same or alike])
        if trial.budget.minutes is not None:
            training = 60 * trial.budget.minutes
        if training is None:
            steps += trial.budget.steps or 0
        seconds += (training or 0.0) + closing
    return seconds, steps


def _notes(events: Sequence[Event]) -> tuple[str, ...]:
    """What a training warned of, each once; of a prediction that is an error."""
    found: dict[str, None] = {}
    latest: dict[str, None] = {}
    for event in events:
        if isinstance(event, Warned):
            latest[event.message] = None
        elif isinstance(event, Finished):
            found, latest = found | latest, {}
    return tuple(found)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
