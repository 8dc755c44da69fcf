"""Keep what came out of a simulation, round by round: ``simulation.json``."""

from __future__ import annotations

from statistics import fmean
from typing import Any, ClassVar, Self

from pydantic import Field

from napari_semiseg.experiments.results_file import ExperimentResults, Stored
from napari_semiseg.experiments.simulation.spec import SeededStrategy, Simulation
from napari_semiseg.imaging.metrics import Metrics


class AnnotatedSlice(Stored):
    """A slice that was annotated: ``index`` along ``axis`` (0, 1, 2 is z, y, x)."""

    case: str
    axis: int
    index: int
    reason: str


class Round(Stored):
    """Slices that were annotated, and the scores of the model that learned from them.

    Attributes
    ----------
    asked : tuple of AnnotatedSlice
        The slices, in the order of the strategy.
    topped_up : int
        How many of them, at the end, the strategy could not name: they are spread.
    slices, strokes, voxels_changed : int
        Cost so far: slices annotated, pieces of them that were not right before, and
        voxels in these.
    annotated_fraction : float
        Annotated part of the voxels of all cases so far.
    cases : dict
        Metrics by test case and class; empty before the model is scored.
    dice_per_class, dice : dict, float or None
        Means over the test cases, and of the classes.
    """

    round: int
    asked: tuple[AnnotatedSlice, ...]
    topped_up: int = 0
    slices: int
    strokes: int = 0
    voxels_changed: int
    annotated_fraction: float
    run: str
    steps: int = 0
    seconds: float = 0.0
    cases: dict[str, dict[str, Metrics]] = Field(default_factory=dict)
    dice_per_class: dict[str, float] = Field(default_factory=dict)
    dice: float | None = None

    def scored(self, cases: dict[str, dict[str, Metrics]], **facts: Any) -> Self:
        """Give the round with its scores and further fields."""
        per_class = {
            name: fmean(metrics[name].dice for metrics in cases.values())
            for name in next(iter(cases.values()))
        }
        return self.model_copy(
            update={
                "cases": cases,
                "dice_per_class": per_class,
                "dice": fmean(per_class.values()),
                **facts,
            }
        )


class StrategyResult(Stored):
    """All rounds of one strategy and seed; ``error`` is why the last one failed."""

    strategy: str
    seed: int
    rounds: tuple[Round, ...] = ()
    exhausted: bool = False
    error: str | None = None

    @property
    def scored(self) -> int:
        """Number of rounds with scores; they come one after the other."""
        return sum(item.dice is not None for item in self.rounds)

    def with_round(self, found: Round) -> Self:
        """Add a round in the place of the same one without scores."""
        others = tuple(item for item in self.rounds if item.round != found.round)
        return self.model_copy(update={"rounds": (*others, found), "error": None})


class SimulationResults(ExperimentResults[Simulation]):
    """Contents of ``simulation.json``."""

    FILE: ClassVar[str] = "simulation.json"

    trials: tuple[StrategyResult, ...] = ()

    def of(self, strategy: SeededStrategy) -> StrategyResult:
        """Results of a strategy with a seed so far."""
        key = (strategy.variant.label, strategy.seed)
        for result in self.trials:
            if (result.strategy, result.seed) == key:
                return result
        return StrategyResult(strategy=key[0], seed=key[1])

    def with_result(self, found: StrategyResult) -> Self:
        """Add or replace the results of a strategy with a seed."""
        trials = {(item.strategy, item.seed): item for item in self.trials}
        trials[found.strategy, found.seed] = found
        return self.model_copy(update={"trials": tuple(trials.values())})
