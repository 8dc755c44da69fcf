"""Run a benchmark: one project per list of labelled cases, one run per trial."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING

from napari_semiseg.core.events import Event, Finished, Planned, Staged, Warned
from napari_semiseg.core.text import duration
from napari_semiseg.experiments.benchmark import figures
from napari_semiseg.experiments.benchmark.projects import make_project
from napari_semiseg.experiments.benchmark.results import BenchmarkResults, MethodResult
from napari_semiseg.experiments.benchmark.spec import Benchmark, MethodTrial
from napari_semiseg.experiments.benchmark.statistics import ResultRow, summarise
from napari_semiseg.experiments.benchmark.table import markdown
from napari_semiseg.experiments.experiment import Experiment, Remaining
from napari_semiseg.experiments.training import ScoredTraining, TrainingOutcome
from napari_semiseg.experiments.worker import read_facts
from napari_semiseg.io.atomic import write_text
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.process import Environment
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.experiments.benchmark.dataset import RawDataset

PAGE = "results.md"


@dataclass(frozen=True, eq=False)
class BenchmarkRunner(Experiment[MethodTrial, BenchmarkResults]):
    """A benchmark on its data."""

    benchmark: Benchmark
    dataset: RawDataset
    scheme: LabelScheme

    def trials(self) -> list[MethodTrial]:
        """List all trainings."""
        return self.benchmark.trials()

    def is_done(self, trial: MethodTrial, results: BenchmarkResults) -> bool:
        """Whether a trial has its scores."""
        return any(run.is_of(trial) for run in results.completed())

    def prepare(self, results: BenchmarkResults) -> Iterator[Staged]:
        """Read all images, and make a project per list, or complete those there."""
        lists = self.benchmark.labelled
        if not all(self.project_folder(labelled).exists() for labelled in lists):
            yield from self._check_images()
        for labelled in lists:
            yield from make_project(
                self.project_folder(labelled),
                self.benchmark,
                labelled,
                self.dataset,
                self.scheme,
            )

    def perform(
        self,
        trial: MethodTrial,
        results: BenchmarkResults,
        stop: Callable[[], bool],
        keep: Callable[[BenchmarkResults], object],
    ) -> Generator[Event, None, BenchmarkResults | None]:
        """Train, predict and score; returns the results with those of the trial."""
        project = Project.open(self.project_folder(trial.labelled))
        run = Run(project.layout.run(trial.run_id))
        training = ScoredTraining(
            project,
            run,
            self.benchmark.config(trial),
            tests={
                name: project.case(self.dataset.case(name))
                for name in self.benchmark.test
            },
            reference=lambda name, case: self.dataset.read_mask(name, case.geometry),
        )
        outcome = yield from training.perform(self.executor, stop)
        if outcome is None:
            return None
        environment = Environment.read(run.folder.environment)
        return results.with_run(self._result(run, trial, outcome), environment)

    def merged(
        self, results: BenchmarkResults, found: BenchmarkResults, trial: MethodTrial
    ) -> BenchmarkResults:
        """Add the trial's run, and the machine where none is known yet."""
        results = results.with_run(next(run for run in found.runs if run.is_of(trial)))
        if results.machine.processor:
            return results
        known = {"machine": found.machine, "versions": found.versions}
        return results.model_copy(update=known)

    def outcome(self, trial: MethodTrial, results: BenchmarkResults) -> str:
        """Say which Dice was reached, or what went wrong."""
        result = next(run for run in results.runs if run.is_of(trial))
        if result.error is not None:
            return f"failed: {result.error}"
        classes = chain.from_iterable(case.values() for case in result.cases.values())
        dice = fmean(metrics.dice for metrics in classes)
        return f"Dice {dice:.3f}, {duration(result.seconds)}"

    def publish(self, results: BenchmarkResults) -> list[ResultRow]:
        """Write ``results.md`` and the figures; returns the rows of the tables."""
        rows = summarise(results)
        drawn = figures.draw(self.out, self.dataset, results, rows, self.project_folder)
        write_text(self.out / PAGE, markdown(results, rows, drawn))
        return rows

    def remaining(
        self,
        trial: MethodTrial,
        later: Sequence[MethodTrial],
        results: BenchmarkResults,
    ) -> Remaining:
        """Estimate the time that is left from the trials that are done.

        A budget in minutes takes these; one in steps as long as the trainings with
        that budget took, those of the same method where there are any. Prediction and
        scores take as long as they did on average.
        """
        done = results.completed()
        closing = _mean([run.predict_seconds + run.score_seconds for run in done])
        seconds, steps = closing or 0.0, 0
        for other in later:
            alike = [run for run in done if run.budget == other.budget.text]
            same = [run for run in alike if run.method == other.variant.label]
            training = _mean([run.seconds for run in same or alike])
            if other.budget.minutes is not None:
                training = 60 * other.budget.minutes
            if training is None:
                steps += other.budget.steps or 0
            seconds += (training or 0.0) + (closing or 0.0)
        return Remaining(trial.budget.minutes, seconds, steps)

    def _check_images(self) -> Iterator[Staged]:
        """Read all images once, since a broken one would end a trial hours later."""
        lists = self.benchmark.labelled.values()
        names = dict.fromkeys(
            [*chain(*lists), *self.benchmark.unlabelled, *self.benchmark.test]
        )
        for done, name in enumerate(names, start=1):
            self.dataset.check_image(name)
            yield Staged(stage="Reading images", done=done, total=len(names))

    def _result(
        self, run: Run, trial: MethodTrial, outcome: TrainingOutcome
    ) -> MethodResult:
        facts = read_facts(run)
        plan, notes = _plan_and_warnings(run.events())
        return MethodResult(
            labelled=trial.labelled,
            labels=len(self.benchmark.labelled[trial.labelled]),
            method=trial.variant.label,
            budget=trial.budget.text,
            minutes=trial.budget.minutes,
            seed=trial.seed,
            run=trial.run_id,
            status="completed" if outcome.error is None else "failed",
            error=outcome.error,
            device=plan.device if plan else None,
            steps=facts.steps or run.steps_done,
            seconds=round(run.seconds, 1),
            predict_seconds=round(facts.predict_seconds, 1),
            score_seconds=round(outcome.score_seconds, 1),
            peak_memory_mb=round(facts.peak_memory_mb) or None,
            peak_gpu_mb=round(facts.peak_gpu_mb) or None,
            parameters=plan.parameters if plan else None,
            gradient_ratio=run.gradient_ratio,
            notes=notes,
            cases=outcome.scores,
        )


def _plan_and_warnings(
    events: Iterable[Event],
) -> tuple[Planned | None, tuple[str, ...]]:
    """Newest plan, and warnings of training, each once.

    Warnings of prediction, after it, are errors.
    """
    plan: Planned | None = None
    kept: dict[str, None] = {}
    latest: dict[str, None] = {}
    for event in events:
        if isinstance(event, Planned):
            plan = event
        elif isinstance(event, Warned):
            latest[event.message] = None
        elif isinstance(event, Finished):
            kept, latest = kept | latest, {}
    return plan, tuple(kept)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
