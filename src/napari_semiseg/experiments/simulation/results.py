"""What came out, round by round: ``simulation.json``, which is also the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from napari_semiseg.experiments.stored import Stored, earlier, refuse_others
from napari_semiseg.imaging.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path

    from napari_semiseg.experiments.simulation.spec import Simulation, Trial

FILE = "simulation.json"


class Place(Stored):
    """A slice that was annotated."""

    case: str
    axis: int
    index: int
    reason: str


class Round(Stored):
    """Slices that were annotated, and how good the model was that learned from them.

    Attributes
    ----------
    asked : tuple of Place
        The slices, in the order of the strategy.
    topped_up : int
        How many of them, at the end, the strategy could not name: they are spread.
    slices, voxels_changed : int
        Cost so far: slices annotated, and voxels that were not right before.
    annotated_fraction : float
        Annotated part of the voxels of all cases so far.
    cases : dict
        Metrics by test case and class; empty before the model is scored.
    dice_per_class, dice : dict, float or None
        Means over the test cases, and of the classes.
    """

    round: int
    asked: tuple[Place, ...]
    topped_up: int = 0
    slices: int
    voxels_changed: int
    annotated_fraction: float
    run: str
    steps: int = 0
    seconds: float = 0.0
    cases: dict[str, dict[str, Metrics]] = Field(default_factory=dict)
    dice_per_class: dict[str, float] = Field(default_factory=dict)
    dice: float | None = None

    def scored(self, cases: dict[str, dict[str, Metrics]], **facts: Any) -> Round:
        """The round with its scores."""
        names = next(iter(cases.values()))
        per_class = {
            name: float(np.mean([found[name].dice for found in cases.values()]))
            for name in names
        }
        return self.model_copy(
            update={
                "cases": cases,
                "dice_per_class": per_class,
                "dice": float(np.mean(list(per_class.values()))),
                **facts,
            }
        )


class TrialRecord(Stored):
    """All rounds of one strategy and seed; ``error`` says why it ended early."""

    strategy: str
    seed: int
    rounds: tuple[Round, ...] = ()
    exhausted: bool = False
    error: str | None = None

    def with_round(self, found: Round) -> TrialRecord:
        """Add a round, or put it in the place of the same one without scores."""
        others = tuple(item for item in self.rounds if item.round != found.round)
        return self.model_copy(update={"rounds": (*others, found), "error": None})


class Settings(Stored):
    """What all trials have in common, and what was asked for so far."""

    project: str
    masks: str
    cases: tuple[str, ...]
    test: tuple[str, ...]
    slices_per_round: str
    plane: str | None
    method: str | None
    minutes: float | None
    steps: int | None
    device: str
    settings: dict[str, str]
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    rounds: int


class Results(Stored):
    """Contents of ``simulation.json``."""

    format: Literal[1] = 1
    config: Settings
    trials: tuple[TrialRecord, ...] = ()

    def of(self, trial: Trial) -> TrialRecord:
        """What is known of a trial."""
        for record in self.trials:
            if (record.strategy, record.seed) == (trial.entry.label, trial.seed):
                return record
        return TrialRecord(strategy=trial.entry.label, seed=trial.seed)

    def with_trial(self, found: TrialRecord) -> Results:
        """Add a trial, or put it in the place of what was known of it."""
        key = (found.strategy, found.seed)
        known = [(item.strategy, item.seed) for item in self.trials]
        trials = [*self.trials, found]
        if key in known:
            trials = [found if (t.strategy, t.seed) == key else t for t in self.trials]
        return self.model_copy(update={"trials": tuple(trials)})


def begin(out: Path, simulation: Simulation) -> Results:
    """Give the results so far, or none yet; nothing is written.

    Raises
    ------
    SemisegError
        The folder holds something else, or a simulation of something else.
    """
    asked = _settings(simulation)
    path = out / FILE
    found = earlier(path, Results, "simulation")
    if found is None:
        return Results(config=asked)
    return found.model_copy(update={"config": _joined(found.config, asked, path)})


def _settings(simulation: Simulation) -> Settings:
    return Settings(
        project=str(simulation.project.resolve()),
        masks=str(simulation.masks.resolve()),
        cases=simulation.cases,
        test=simulation.test,
        slices_per_round=simulation.amount.text,
        plane=simulation.plane,
        method=simulation.method,
        minutes=simulation.minutes,
        steps=simulation.steps,
        device=simulation.device,
        settings=dict(simulation.settings),
        strategies=tuple(entry.label for entry in simulation.entries),
        seeds=simulation.seeds,
        rounds=simulation.rounds,
    )


def _joined(old: Settings, new: Settings, path: Path) -> Settings:
    """Old and new settings together, where they speak of the same simulation."""
    grows = ("strategies", "seeds", "rounds")
    common = [key for key in Settings.model_fields if key not in grows]
    refuse_others(path, old, new, common, "simulation")
    return new.model_copy(
        update={
            "strategies": tuple(dict.fromkeys((*old.strategies, *new.strategies))),
            "seeds": tuple(sorted({*old.seeds, *new.seeds})),
            "rounds": max(old.rounds, new.rounds),
        }
    )
