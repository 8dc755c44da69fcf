"""Run a simulation: a copy of the project per strategy and seed, a run per round."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_semiseg.core.events import Staged
from napari_semiseg.core.text import count
from napari_semiseg.experiments.experiment import Experiment
from napari_semiseg.experiments.simulation import annotator, curves, selection
from napari_semiseg.experiments.simulation.annotator import Cost
from napari_semiseg.experiments.simulation.results import Round, SimulationResults
from napari_semiseg.experiments.training import ScoredTraining
from napari_semiseg.experiments.worker import read_facts
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from napari_semiseg.core.events import Event
    from napari_semiseg.experiments.simulation.annotator import References
    from napari_semiseg.experiments.simulation.curves import Point
    from napari_semiseg.experiments.simulation.results import (
        AnnotatedSlice,
        StrategyResult,
    )
    from napari_semiseg.experiments.simulation.spec import SeededStrategy, Simulation


@dataclass(frozen=True, slots=True)
class RoundTrial:
    """A round of a strategy with a seed."""

    strategy: SeededStrategy
    number: int

    @property
    def text(self) -> str:
        """Describe it to people."""
        label, seed = self.strategy.variant.label, self.strategy.seed
        return f"{label}, seed {seed}, round {self.number}"


@dataclass(frozen=True, eq=False)
class SimulationRunner(Experiment[RoundTrial, SimulationResults]):
    """A simulation with the project that is copied and its reference masks."""

    source: Project
    simulation: Simulation
    references: References

    def trials(self) -> list[RoundTrial]:
        """List all rounds of a strategy, then those of the next."""
        numbers = range(1, self.simulation.rounds + 1)
        return [
            RoundTrial(strategy, number)
            for strategy in self.simulation.seeded_strategies()
            for number in numbers
        ]

    def is_done(self, trial: RoundTrial, results: SimulationResults) -> bool:
        """Whether a round has its scores, or nothing was left to annotate."""
        found = results.of(trial.strategy)
        return found.exhausted or found.scored >= trial.number

    def is_due(self, trial: RoundTrial, results: SimulationResults) -> bool:
        """Whether the round before has its scores, and this one has not."""
        found = results.of(trial.strategy)
        return not found.exhausted and found.scored == trial.number - 1

    def prepare(self, results: SimulationResults) -> Iterator[Staged]:
        """Copy the project for every strategy and seed, or complete the copies."""
        strategies = self.simulation.seeded_strategies()
        for done, strategy in enumerate(strategies, start=1):
            last = RoundTrial(strategy, self.simulation.rounds)
            if not self.is_done(last, results):
                folder = self.project_folder(strategy.name)
                annotator.copy_project(
                    self.source, folder, self.simulation.cases, self.simulation.test
                )
            yield Staged(stage="Copying the project", done=done, total=len(strategies))

    def perform(
        self,
        trial: RoundTrial,
        results: SimulationResults,
        stop: Callable[[], bool],
        keep: Callable[[SimulationResults], object],
    ) -> Generator[Event, None, SimulationResults | None]:
        """Annotate, train and score; returns the results with those of the round."""
        project = Project.open(self.project_folder(trial.strategy.name))
        results, this = self._annotate(project, trial, results, keep)
        if this is None:
            return results
        record = results.of(trial.strategy)
        run = Run(project.layout.run(this.run))
        training = ScoredTraining(
            project,
            run,
            self.simulation.config(
                trial.strategy.seed, feature_maps=trial.strategy.variant.refines
            ),
            tests={name: project.case(name) for name in self.simulation.test},
            reference=lambda _, case: self.references.read(case),
            # The next round needs their predictions.
            predicted=selection.incomplete(project, self.simulation),
        )
        outcome = yield from training.perform(self.executor, stop)
        if outcome is None:
            return None
        if outcome.error is not None:
            record = record.model_copy(update={"error": outcome.error})
            return results.with_result(record)
        scored = this.scored(
            outcome.scores,
            annotated_fraction=self._annotated_fraction(project),
            steps=read_facts(run).steps,
            seconds=round(run.seconds, 1),
        )
        return results.with_result(record.with_round(scored))

    def merged(
        self, results: SimulationResults, found: SimulationResults, trial: RoundTrial
    ) -> SimulationResults:
        """Add what is known of the trial's strategy."""
        return results.with_result(found.of(trial.strategy))

    def outcome(self, trial: RoundTrial, results: SimulationResults) -> str:
        """Say how many slices led to which Dice, or what went wrong."""
        found = results.of(trial.strategy)
        if found.error is not None:
            return f"failed: {found.error}"
        if found.exhausted:
            return "everything is annotated"
        last = found.rounds[-1]
        return f"{count(last.slices, 'slice')}, Dice {last.dice:.3f}"

    def publish(self, results: SimulationResults) -> list[Point]:
        """Draw the cost curves; returns their points."""
        points = curves.summarise(results)
        if points:
            curves.draw(self.out, points)
        return points

    def _annotate(
        self,
        project: Project,
        trial: RoundTrial,
        results: SimulationResults,
        keep: Callable[[SimulationResults], object],
    ) -> tuple[SimulationResults, Round | None]:
        """Choose the slices of a round once, write that down, and annotate them.

        What is chosen and what it costs is on disk before any label is changed, so
        that an interruption changes neither.
        """
        record = results.of(trial.strategy)
        this = next((i for i in record.rounds if i.round == trial.number), None)
        if this is None:
            this = self._choose(project, trial, record)
            record = (
                record.model_copy(update={"exhausted": True})
                if this is None
                else record.with_round(this)
            )
            results = results.with_result(record)
            keep(results)
        for name, slices in _by_case(this.asked if this else ()).items():
            annotator.annotate(project, project.case(name), slices, self.references)
        return results, this

    def _choose(
        self, project: Project, trial: RoundTrial, record: StrategyResult
    ) -> Round | None:
        simulation, strategy = self.simulation, trial.strategy
        total = annotator.count_slices(project, simulation.cases, simulation.axis)
        number = simulation.slices(strategy.variant, total)
        asked, topped_up = selection.choose(
            project, simulation, strategy, trial.number, number
        )
        if not asked:
            return None
        before = record.rounds[-1] if record.rounds else None
        spent = Cost(before.strokes, before.voxels_changed) if before else Cost()
        for name, slices in _by_case(asked).items():
            spent += annotator.cost(
                project,
                project.case(name),
                slices,
                self.references,
                refines=strategy.variant.refines,
            )
        return Round(
            round=trial.number,
            asked=tuple(asked),
            topped_up=topped_up,
            slices=len(asked) + (before.slices if before else 0),
            strokes=spent.strokes,
            voxels_changed=spent.voxels,
            annotated_fraction=0.0,
            run=f"round-{trial.number:02d}",
        )

    def _annotated_fraction(self, project: Project) -> float:
        cases = [project.case(name) for name in self.simulation.cases]
        sizes = [math.prod(case.geometry.shape_zyx) for case in cases]
        done = (c.annotated_fraction * n for c, n in zip(cases, sizes, strict=True))
        return sum(done) / sum(sizes)


def _by_case(slices: Sequence[AnnotatedSlice]) -> dict[str, list[AnnotatedSlice]]:
    found: dict[str, list[AnnotatedSlice]] = defaultdict(list)
    for item in slices:
        found[item.case].append(item)
    return found
