"""Describe a simulation: strategies, rounds, slices per round, trainings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field

from napari_semiseg.active_learning.registry import strategies
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ConfigError
from napari_semiseg.experiments.checks import (
    RESERVED,
    refuse_reserved,
    refuse_test_cases,
)
from napari_semiseg.experiments.results_file import (
    ExperimentSpec,
    Merge,
    in_order_asked,
    in_order_of_size,
)
from napari_semiseg.imaging.rendering import PLANES

WHOLE = "whole"
"""Strategy of a user who labels one volume after the other, slice by slice."""
REFINE = "refine"
"""Strategy of a user who takes the default's slices, and refines between them."""


@dataclass(frozen=True, slots=True)
class SliceBudget:
    """Slices per round: a number of them, or a fraction of all slices."""

    text: str
    number: int | None = None
    fraction: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``12`` or ``5%``."""
        stripped = text.strip()
        whole = re.fullmatch(r"\d+", stripped, re.ASCII)
        percent = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", stripped, re.ASCII)
        if whole and int(stripped) >= 1:
            return cls(stripped, number=int(stripped))
        if percent and 0 < float(percent[1]) <= 100:
            value = float(percent[1])
            return cls(f"{value:g}%", fraction=value / 100)
        raise ConfigError(
            "expected slices per round as a number from 1, or a percentage up to 100% "
            f"as 5%, found {text!r}"
        )

    def of(self, total: int) -> int:
        """Number of slices where there are ``total`` of them; at least one."""
        if self.fraction is None:
            return int(self.number or 1)
        return max(1, math.ceil(self.fraction * total - 1e-9))


@dataclass(frozen=True, slots=True)
class StrategyVariant:
    """A strategy as asked for: ``mix``, or ``spread:5%`` with slices of its own."""

    label: str
    strategy: str
    slices: SliceBudget | None = None

    @property
    def refines(self) -> bool:
        """Whether the user lets predictions follow the corrections."""
        return self.strategy == REFINE

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``strategy`` or ``strategy:slices``."""
        name, colon, slices = (part.strip() for part in text.partition(":"))
        ranks = [one.name for one in strategies().values() if not one.of_labels]
        known = sorted((*ranks, WHOLE, REFINE))
        if name not in known:
            raise ConfigError(
                f"expected a strategy out of {', '.join(known)}, found {name!r}"
            )
        if not colon:
            return cls(name, name)
        budget = SliceBudget.parse(slices)
        return cls(f"{name}:{budget.text}", name, budget)


@dataclass(frozen=True, slots=True)
class SeededStrategy:
    """One strategy with one seed, over all its rounds."""

    variant: StrategyVariant
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        plain = self.variant.label.replace("%", "percent").replace(":", "-")
        return f"{plain}_seed{self.seed}"


class Simulation(ExperimentSpec):
    """What is simulated, on which project.

    Attributes
    ----------
    project, masks : Path
        What is copied, and the reference masks.
    cases, test : tuple of str
        Ids to annotate, and ids to score on.
    slices_per_round : str
        Text of a `SliceBudget`.
    plane : str, optional
        The only plane to annotate in; by default any.
    minutes, steps : float or int, optional
        Budget of each training, one of the two.
    strategies : tuple of str
        Texts of each `StrategyVariant`; each is tried with every seed.
    rounds : int
        Annotate, train, score: so many times.
    """

    EXTENDABLE: ClassVar[Mapping[str, Merge]] = {
        "strategies": in_order_asked,
        "seeds": in_order_of_size,
        "rounds": max,
    }

    project: Path
    masks: Path
    cases: tuple[str, ...]
    test: tuple[str, ...]
    slices_per_round: str
    plane: str | None = None
    method: str | None = None
    minutes: float | None = None
    steps: int | None = None
    device: str = "auto"
    settings: dict[str, str] = Field(default_factory=dict)
    strategies: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    rounds: int

    def model_post_init(self, _: object) -> None:
        """Refuse what cannot be simulated."""
        refuse_reserved(self.settings, {**RESERVED, "method": "--method"})
        SliceBudget.parse(self.slices_per_round)
        self.seeded_strategies()
        if self.rounds < 1:
            raise ConfigError(f"expected --rounds of at least 1, found {self.rounds}")
        if self.plane is not None and self.plane not in PLANES:
            raise ConfigError(
                f"expected --plane out of {', '.join(PLANES)}, found {self.plane!r}"
            )
        for values, needed in (
            (self.strategies, "--strategy with a strategy, found none"),
            (
                self.cases,
                "training cases to annotate, found none; add images with semiseg add",
            ),
            (
                self.test,
                "test cases to score on, found none; name some with --test, or add "
                "them with semiseg add --split test",
            ),
        ):
            if not values:
                raise ConfigError(f"expected {needed}")
        refuse_test_cases("annotated", self.cases, self.test)

    @property
    def axis(self) -> int | None:
        """Axis along which annotated slices lie; None for any."""
        return None if self.plane is None else PLANES.index(self.plane)

    def slices(self, variant: StrategyVariant, total: int) -> int:
        """Slices per round of a strategy, where there are ``total`` of them."""
        return (variant.slices or SliceBudget.parse(self.slices_per_round)).of(total)

    def seeded_strategies(self) -> list[SeededStrategy]:
        """List all strategies with the first seed, then with the next."""
        return [
            SeededStrategy(StrategyVariant.parse(text), seed)
            for seed, text in product(self.seeds, self.strategies)
        ]

    def config(self, seed: int, *, feature_maps: bool = False) -> TrainingConfig:
        """Build the configuration of every training with a seed."""
        return TrainingConfig.build(
            dict(self.settings),
            method=self.method,
            minutes=self.minutes,
            steps=self.steps,
            device=self.device,
            seed=seed,
            feature_maps=feature_maps,
        )
