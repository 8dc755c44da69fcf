"""A cohort of balls with masks, and simulations on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_semiseg.experiments.simulation.annotator import References
from napari_semiseg.experiments.simulation.results import (
    SimulationResults,
)
from napari_semiseg.experiments.simulation.runner import SimulationRunner
from napari_semiseg.experiments.simulation.spec import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def simulator(
    ball_project, spheres, tmp_path, workers
) -> Callable[..., SimulationRunner]:
    """Make a simulation on three cases, scored on another one."""

    def make(strategies: str = "uncertainty", **changes: Any) -> SimulationRunner:
        values: dict[str, Any] = {
            "project": ball_project.folder,
            "masks": spheres.masks,
            "cases": ("case_0", "case_1", "case_2"),
            "test": ("case_4",),
            "strategies": tuple(strategies.split(",")),
            "rounds": 2,
            "slices_per_round": "3",
            "steps": 3,
        }
        simulation = Simulation(**values | changes)
        references = References.check(ball_project, simulation)
        return SimulationRunner(
            tmp_path / "out", workers, ball_project, simulation, references
        )

    return make


@pytest.fixture
def go():
    """Run a simulation to its end, or until it is stopped."""

    def run(runner: SimulationRunner, stop=lambda: False):
        results = SimulationResults.open(runner.out, runner.simulation)
        for event in runner.run(results, stop):
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
