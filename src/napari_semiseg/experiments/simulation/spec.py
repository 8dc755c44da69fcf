"""What is simulated: strategies, rounds, slices per round, trainings."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Self

from napari_semiseg.active_learning.registry import strategies
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ConfigError
from napari_semiseg.experiments.benchmark.spec import DECIDED, refuse_decided
from napari_semiseg.imaging.rendering import PLANES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WHOLE = "whole"
"""Strategy of a user who labels one volume after the other, slice by slice."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Slices per round: a number of them, or a part of all slices."""

    text: str
    number: int | None = None
    part: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``12`` or ``5%``.

        Raises
        ------
        ConfigError
            It is neither, below one slice, or above 100 %.
        """
        words = text.strip()
        whole = re.fullmatch(r"\d+", words, re.ASCII)
        part = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", words, re.ASCII)
        if whole and int(words) >= 1:
            return cls(words, number=int(words))
        if part and 0 < float(part[1]) <= 100:
            return cls(f"{float(part[1]):g}%", part=float(part[1]) / 100)
        raise ConfigError(
            "expected slices per round as a number from 1, or a percentage up to 100% "
            f"as 5%, found {text!r}"
        )

    def of(self, total: int) -> int:
        """How many slices that is, of so many; at least one."""
        if self.part is None:
            return int(self.number or 1)
        return max(1, math.ceil(self.part * total - 1e-9))


@dataclass(frozen=True, slots=True)
class Entry:
    """A strategy, with slices per round of its own where it is given them.

    Attributes
    ----------
    label : str
        As it was asked for: ``mix``, or ``spread:5%``.
    """

    label: str
    strategy: str
    amount: Amount | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``strategy`` or ``strategy:slices``.

        Raises
        ------
        ConfigError
            There is no such strategy, or the slices are no number.
        """
        name, colon, slices = (part.strip() for part in text.partition(":"))
        known = sorted((*strategies(), WHOLE))
        if name not in known:
            raise ConfigError(
                f"expected a strategy out of {', '.join(known)}, found {name!r}"
            )
        if not colon:
            return cls(name, name)
        amount = Amount.parse(slices)
        return cls(f"{name}:{amount.text}", name, amount)


@dataclass(frozen=True, slots=True)
class Trial:
    """One strategy with one seed."""

    entry: Entry
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        plain = self.entry.label.replace("%", "percent").replace(":", "-")
        return f"{plain}_seed{self.seed}"

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.entry.label}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Simulation:
    """A whole simulation.

    Attributes
    ----------
    project, masks : Path
        What is copied, and the reference masks.
    cases, test : tuple of str
        Ids to annotate, and ids to score on.
    entries, seeds
        Strategies; each is tried with every seed.
    rounds : int
        Annotate, train, score: so many times.
    amount : Amount
        Slices per round.
    plane : str, optional
        The only plane to annotate in; by default any.
    minutes, steps : float or int, optional
        Budget of each training, one of the two.
    """

    project: Path
    masks: Path
    cases: tuple[str, ...]
    test: tuple[str, ...]
    entries: tuple[Entry, ...]
    rounds: int
    amount: Amount
    seeds: tuple[int, ...] = (0,)
    plane: str | None = None
    method: str | None = None
    minutes: float | None = None
    steps: int | None = None
    device: str = "auto"
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        refuse_decided(self.settings, {**DECIDED, "method": "--method"})
        if self.rounds < 1:
            raise ConfigError(f"expected --rounds of at least 1, found {self.rounds}")
        if self.plane is not None and self.plane not in PLANES:
            raise ConfigError(
                f"expected --plane out of {', '.join(PLANES)}, found {self.plane!r}"
            )
        if not self.entries:
            raise ConfigError("expected --strategy with a strategy, found none")
        if not self.cases:
            raise ConfigError(
                "expected training cases to annotate, found none; add images with "
                "semiseg add"
            )
        if not self.test:
            raise ConfigError(
                "expected test cases to score on, found none; name some with --test, "
                "or add them with semiseg add --split test"
            )
        shared = sorted(set(self.cases) & set(self.test))
        if shared:
            raise ConfigError(
                f"expected no test case among those to annotate, found '{shared[0]}'; "
                "take it off one of the lists, or the scores mean nothing"
            )

    def trials(self) -> list[Trial]:
        """All strategies with the first seed, then with the next."""
        return [Trial(entry, seed) for seed, entry in product(self.seeds, self.entries)]

    def slices(self, entry: Entry, total: int) -> int:
        """Slices per round of a strategy, where all cases have so many."""
        return (entry.amount or self.amount).of(total)

    def config(self, trial: Trial) -> TrainingConfig:
        """What every training of a trial is asked for.

        Raises
        ------
        ConfigError
            A setting is out of range.
        """
        return TrainingConfig.build(
            dict(self.settings),
            method=self.method,
            minutes=self.minutes,
            steps=self.steps,
            device=self.device,
            seed=trial.seed,
        )
