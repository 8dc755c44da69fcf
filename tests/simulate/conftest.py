"""A cohort of balls with masks, and a worker without PyTorch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_semiseg.bench.worker import FACTS, Facts
from napari_semiseg.core.events import Finished, Started, Stepped
from napari_semiseg.io.atomic import write_json
from napari_semiseg.project.store import Project
from napari_semiseg.simulate import results as store
from napari_semiseg.simulate.annotator import References
from napari_semiseg.simulate.runner import Simulator
from napari_semiseg.simulate.spec import Amount, Entry, Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = 2**30
"""A number that no process has."""


@dataclass
class FakeWorkers:
    """Stands in for child processes: predicts the reference, or nothing at all.

    Attributes
    ----------
    started : list of str
        Folder and run of each.
    wanted : list of list of str
        Ids that each was to predict.
    broken : set of str
        Runs that end with an error.
    empty : bool
        Predict nothing.
    """

    predict: Callable[..., Any]
    started: list[str] = field(default_factory=list)
    wanted: list[list[str]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    empty: bool = False
    during: Callable[[Any], None] = lambda run: None

    def start(self, words: list[str], log: Path) -> FakeJob:
        _verb, folder, run_id, _option, listed = words
        project = Project.open(folder)
        run = project.run(run_id)
        self.started.append(f"{Path(folder).name}/{run_id}")
        self.wanted.append(Path(listed).read_text().split())
        job = FakeJob(started=time.time())
        if run_id in self.broken:
            log.write_text("semiseg: no memory left\n")
            job.code = 1
            return job
        run.clear_stop()
        run.append(Started(run=run_id, method="supervised", pid=NOBODY))
        run.append(
            Stepped(
                step=3,
                steps=3,
                losses={},
                learning_rate=0.1,
                seconds=30.0,
                seconds_left=0.0,
            )
        )
        self.during(run)
        reason = "cancelled" if run.stop_requested else "completed"
        run.append(Finished(run=run_id, reason=reason, step=3, seconds=30.0))
        if reason == "completed":
            run.folder.checkpoints.mkdir(exist_ok=True)
            run.folder.last.touch()
            for name in self.wanted[-1]:
                case = project.case(name)
                made = self.predict(run, case, empty=self.empty)
                run.write_prediction(made, case.image)
            write_json(run.folder.path / FACTS, Facts(steps=3).model_dump())
        return job


@dataclass
class FakeJob:
    """A process that is over."""

    started: float
    code: int = 0
    pid: int = NOBODY

    def poll(self) -> int:
        return self.code


@pytest.fixture
def workers(
    monkeypatch: pytest.MonkeyPatch, predict_ball: Callable[..., Any]
) -> FakeWorkers:
    fake = FakeWorkers(predict_ball)
    monkeypatch.setattr("napari_semiseg.jobs.start", fake.start)
    return fake


@pytest.fixture
def simulator(ball_project, spheres, tmp_path) -> Callable[..., Simulator]:
    """Make a simulation on three cases, scored on another one."""

    def make(strategies: str = "uncertainty", **changes: Any) -> Simulator:
        values: dict[str, Any] = {
            "project": ball_project.folder,
            "masks": spheres.masks,
            "cases": ("case_0", "case_1", "case_2"),
            "test": ("case_4",),
            "entries": tuple(map(Entry.parse, strategies.split(","))),
            "rounds": 2,
            "amount": Amount.parse("3"),
            "steps": 3,
        }
        simulation = Simulation(**values | changes)
        references = References.check(ball_project, simulation)
        return Simulator(ball_project, simulation, references, tmp_path / "out")

    return make


@pytest.fixture
def go():
    """Run a simulation to its end, or until it is stopped."""

    def run(ours: Simulator, stop=lambda: False):
        results = store.begin(ours.out, ours.simulation)
        for event in ours.run(results, stop):
            results = getattr(event, "results", results)
        return results

    return run


@pytest.fixture
def foreground(spheres, ball_project) -> Callable[[Any], int]:
    """Foreground voxels of the reference in places."""
    from napari_semiseg.io.masks import read_labels

    def count(places: Any) -> int:
        total = 0
        for name in {place.case for place in places}:
            path = spheres.masks / f"{name}.nii.gz"
            labels = read_labels(path, ball_project.case(name).geometry)
            seen = np.zeros(labels.shape, bool)
            for place in places:
                if place.case == name:
                    np.moveaxis(seen, place.axis, 0)[place.index] = True
            total += np.count_nonzero(labels[seen])
        return total

    return count
