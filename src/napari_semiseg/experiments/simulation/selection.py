"""Choose the slices that the simulated user annotates in a round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.active_learning.registry import DEFAULT, STRATEGIES
from napari_semiseg.active_learning.suggest import suggest
from napari_semiseg.core.case import CaseState
from napari_semiseg.experiments.simulation.results import AnnotatedSlice
from napari_semiseg.experiments.simulation.spec import WHOLE, SeededStrategy, Simulation
from napari_semiseg.project.cases.labels import done_slices

if TYPE_CHECKING:
    from napari_semiseg.project.project import Project

FIRST = "random"
"""First round of all strategies that need predictions, so that they begin alike."""
TOP_UP = "spread"


def choose(
    project: Project,
    simulation: Simulation,
    strategy: SeededStrategy,
    number: int,
    count: int,
) -> tuple[list[AnnotatedSlice], int]:
    """Choose slices for round ``number``, from 1; fewer when hardly any are left.

    Also give how many of the last ones the strategy did not name.
    """
    left = incomplete(project, simulation)
    if not left:
        return [], 0
    name = DEFAULT if strategy.variant.refines else strategy.variant.strategy
    if name == WHOLE:
        return _whole_volumes(project, simulation, left, count), 0
    if number == 1 and STRATEGIES.find(name).needs_predictions:
        name = FIRST

    def suggested(by: str, k: int) -> list[AnnotatedSlice]:
        found = suggest(
            project, k, by, seed=strategy.seed, cases=left, plane=simulation.plane
        )
        return [
            AnnotatedSlice(
                case=item.case, axis=item.axis, index=item.index, reason=item.reason
            )
            for item in found.slices
        ]

    chosen = suggested(name, count)
    if len(chosen) == count:
        return chosen, 0
    # A strategy names no neighbours; once it has named all it can, spread the rest.
    known = {(item.case, item.axis, item.index) for item in chosen}
    others = suggested(TOP_UP, count + len(known))
    rest = [i for i in others if (i.case, i.axis, i.index) not in known]
    rest = rest[: count - len(chosen)]
    return [*chosen, *rest], len(rest)


def incomplete(project: Project, simulation: Simulation) -> list[str]:
    """Ids of the cases to annotate that are not annotated whole."""
    return [
        name
        for name in simulation.cases
        if project.case(name).state is not CaseState.LABELLED
    ]


def _whole_volumes(
    project: Project, simulation: Simulation, left: list[str], count: int
) -> list[AnnotatedSlice]:
    """Slices of one volume after the other, each from end to end."""
    chosen: list[AnnotatedSlice] = []
    for name in left:
        case = project.case(name)
        axis = simulation.axis
        axis = case.geometry.slice_axis if axis is None else axis
        done = done_slices(case)[axis]
        chosen += [
            AnnotatedSlice(case=name, axis=axis, index=index, reason="the whole volume")
            for index in range(case.geometry.shape_zyx[axis])
            if index not in done
        ]
        if len(chosen) >= count:
            break
    return chosen[:count]
