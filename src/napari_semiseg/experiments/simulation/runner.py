"""All trials, round by round; what was interrupted goes on."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_semiseg.core.case import CaseState
from napari_semiseg.errors import SemisegError
from napari_semiseg.experiments.benchmark import trial as child
from napari_semiseg.experiments.benchmark.worker import read_facts
from napari_semiseg.experiments.simulation import annotator, selection
from napari_semiseg.experiments.simulation.results import FILE, Round
from napari_semiseg.experiments.stored import write
from napari_semiseg.imaging.rendering import PLANES
from napari_semiseg.io.atomic import write_text
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from napari_semiseg.core.events import Event
    from napari_semiseg.execution.executor import Executor
    from napari_semiseg.experiments.simulation.annotator import References
    from napari_semiseg.experiments.simulation.results import (
        Place,
        Results,
        TrialRecord,
    )
    from napari_semiseg.experiments.simulation.spec import Simulation, Trial
    from napari_semiseg.project.project import Project

PROJECTS = "projects"


@dataclass(frozen=True, slots=True)
class RoundBegan:
    """A round begins; ``number`` of ``total`` over all trials."""

    trial: Trial
    round: int
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """A round has its scores, or its trial an error; ``results`` holds all so far."""

    trial: Trial
    record: TrialRecord
    results: Results


@dataclass(frozen=True, slots=True, eq=False)
class Simulator:
    """A simulation with its masks and the folder that it works in."""

    source: Project
    simulation: Simulation
    references: References
    out: Path
    executor: Executor

    def run(
        self, results: Results, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[RoundBegan | RoundEnded | Event]:
        """Do what is not done yet.

        Parameters
        ----------
        results : Results
            From `napari_semiseg.experiments.simulation.results.begin`.
        stop : callable
            Asked often; a training that is going on then writes a checkpoint and this
            generator ends. The next call goes on from there.

        Raises
        ------
        SemisegError
            The copy of the project cannot be made; what fails later is recorded
            instead, and the other trials go on.
        """
        write(self.out / FILE, results)
        rounds = self.simulation.rounds
        trials = self.simulation.trials()
        for position, trial in enumerate(trials):
            folder = self.out / PROJECTS / trial.name
            record = results.of(trial)
            if _is_done(record, rounds):
                continue
            project = annotator.copy_project(self.source, folder, self.simulation)
            for number in range(1, rounds + 1):
                if _is_scored(record, number):
                    continue
                if stop():
                    return
                place = position * rounds + number
                yield RoundBegan(trial, number, place, len(trials) * rounds)
                record, results = self._annotated(project, trial, number, results)
                if record.exhausted:
                    yield RoundEnded(trial, record, results)
                    break
                found = yield from self._try(project, trial, record, number, stop)
                if found is None:
                    return
                record, results = found, results.with_trial(found)
                write(self.out / FILE, results)
                yield RoundEnded(trial, record, results)
                if record.error is not None:
                    break

    def _annotated(
        self, project: Project, trial: Trial, number: int, results: Results
    ) -> tuple[TrialRecord, Results]:
        """Choose the slices of a round once, write that down, and annotate them.

        What is chosen and what it costs is on disk before any label is changed, so
        that an interruption changes neither.
        """
        record = results.of(trial)
        known = next((item for item in record.rounds if item.round == number), None)
        if known is None:
            known = self._chosen(project, trial, number, record)
            if known is None:
                record = record.model_copy(update={"exhausted": True})
            else:
                record = record.with_round(known)
            results = results.with_trial(record)
            write(self.out / FILE, results)
        for name, places in _by_case(() if known is None else known.asked).items():
            case = project.case(name)
            annotator.annotate(project, case, places, self.references)
        return record, results

    def _chosen(
        self, project: Project, trial: Trial, number: int, record: TrialRecord
    ) -> Round | None:
        plane = self.simulation.plane
        axis = None if plane is None else PLANES.index(plane)
        total = annotator.count_slices(project, self.simulation.cases, axis)
        wanted = self.simulation.slices(trial.entry, total)
        asked, topped_up = selection.choose(
            project, self.simulation, trial, number, wanted
        )
        if not asked:
            return None
        changed = sum(
            annotator.cost(project, project.case(name), places, self.references)
            for name, places in _by_case(asked).items()
        )
        before = record.rounds[-1] if record.rounds else None
        return Round(
            round=number,
            asked=tuple(asked),
            topped_up=topped_up,
            slices=len(asked) + (before.slices if before else 0),
            voxels_changed=changed + (before.voxels_changed if before else 0),
            annotated_fraction=0.0,
            run=f"round-{number:02d}",
        )

    def _try(
        self,
        project: Project,
        trial: Trial,
        record: TrialRecord,
        number: int,
        stop: Callable[[], bool],
    ) -> Generator[Event, None, TrialRecord | None]:
        """Train on what is annotated and score it; None when it was stopped."""
        known = next(item for item in record.rounds if item.round == number)
        run = Run(project.layout.run(known.run))
        wanted = [*self.simulation.test, *self._open(project)]
        listed = project.folder / f"{known.run}.list"
        try:
            write_text(listed, "".join(f"{name}\n" for name in wanted))
            config = self.simulation.config(trial)
            error = yield from child.train(
                project, run, config, wanted, stop, self.executor, listed
            )
            if error is not None:
                return record.model_copy(update={"error": error})
            if not child.is_complete(run, wanted):
                return None
            tests = {name: project.case(name) for name in self.simulation.test}
            truth = self.references.read
            scores = yield from child.score(
                run, tests, lambda _, case: truth(case), project.labels
            )
        except SemisegError as refusal:
            return record.model_copy(update={"error": str(refusal)})
        facts = read_facts(run)
        return record.with_round(
            known.scored(
                scores,
                annotated_fraction=self._annotated_fraction(project),
                steps=facts.steps,
                seconds=round(run.seconds, 1),
            )
        )

    def _open(self, project: Project) -> list[str]:
        """Cases whose predictions the next round needs."""
        return [
            name
            for name in self.simulation.cases
            if project.case(name).state is not CaseState.LABELLED
        ]

    def _annotated_fraction(self, project: Project) -> float:
        cases = [project.case(name) for name in self.simulation.cases]
        sizes = [math.prod(case.geometry.shape_zyx) for case in cases]
        done = (c.annotated_fraction * n for c, n in zip(cases, sizes, strict=True))
        return sum(done) / sum(sizes)


def _is_scored(record: TrialRecord, number: int) -> bool:
    return any(item.round == number and item.dice is not None for item in record.rounds)


def _is_done(record: TrialRecord, rounds: int) -> bool:
    return record.exhausted or all(
        _is_scored(record, number) for number in range(1, rounds + 1)
    )


def _by_case(places: Sequence[Place]) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        found[place.case].append(place)
    return found
