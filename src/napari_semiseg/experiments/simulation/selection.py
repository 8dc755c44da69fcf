"""Which slices the simulated user annotates in a round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.active_learning.registry import find
from napari_semiseg.active_learning.suggest import suggest
from napari_semiseg.core.case import CaseState
from napari_semiseg.experiments.simulation.results import Place
from napari_semiseg.experiments.simulation.spec import WHOLE
from napari_semiseg.imaging.rendering import PLANES
from napari_semiseg.project.cases.labels import done_slices

if TYPE_CHECKING:
    from napari_semiseg.experiments.simulation.spec import Simulation, Trial
    from napari_semiseg.project.project import Project

COLD = "random"
"""What all strategies that need a model begin with, so that they begin alike."""
SPREAD = "spread"


def choose(
    project: Project,
    simulation: Simulation,
    trial: Trial,
    number: int,
    wanted: int,
) -> tuple[list[Place], int]:
    """Slices to annotate, and how many of the last of them the strategy did not name.

    Parameters
    ----------
    number : int
        Of the round, from 1.
    wanted : int
        How many slices.

    Returns
    -------
    list of Place, int
        Fewer slices than wanted when hardly any are left.
    """
    left = [
        name
        for name in simulation.cases
        if project.case(name).state is not CaseState.LABELLED
    ]
    if not left:
        return [], 0
    strategy = trial.entry.strategy
    if strategy == WHOLE:
        return _whole(project, simulation, left, wanted), 0
    if number == 1 and find(strategy).needs_predictions:
        strategy = COLD
    places = _suggested(project, simulation, trial, left, wanted, strategy)
    more = wanted - len(places)
    if more > 0:
        # A strategy names no neighbours; once it has named all it can, spread the rest.
        chosen = {(place.case, place.axis, place.index) for place in places}
        others = _suggested(
            project, simulation, trial, left, wanted + len(chosen), SPREAD
        )
        rest = [p for p in others if (p.case, p.axis, p.index) not in chosen][:more]
        return [*places, *rest], len(rest)
    return places, 0


def _suggested(
    project: Project,
    simulation: Simulation,
    trial: Trial,
    left: list[str],
    wanted: int,
    strategy: str,
) -> list[Place]:
    found = suggest(
        project, wanted, strategy, seed=trial.seed, cases=left, plane=simulation.plane
    )
    return [
        Place(case=item.case, axis=item.axis, index=item.index, reason=item.reason)
        for item in found.slices
    ]


def _whole(
    project: Project, simulation: Simulation, left: list[str], wanted: int
) -> list[Place]:
    """Slices of one volume after the other, each from end to end."""
    places: list[Place] = []
    for name in left:
        case = project.case(name)
        plane = simulation.plane
        axis = case.geometry.slice_axis if plane is None else PLANES.index(plane)
        done = done_slices(case)[axis]
        places += [
            Place(case=name, axis=axis, index=index, reason="the whole volume")
            for index in range(case.geometry.shape_zyx[axis])
            if index not in done
        ]
        if len(places) >= wanted:
            break
    return places[:wanted]
