"""A cohort of balls with masks, and simulations on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_semiseg.experiments.simulation import results as store
from napari_semiseg.experiments.simulation.annotator import References
from napari_semiseg.experiments.simulation.runner import Simulator
from napari_semiseg.experiments.simulation.spec import Amount, Entry, Simulation

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def simulator(ball_project, spheres, tmp_path, workers) -> Callable[..., Simulator]:
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
        return Simulator(
            ball_project, simulation, references, tmp_path / "out", workers
        )

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
