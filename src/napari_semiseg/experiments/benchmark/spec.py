"""What is compared: data, lists of cases, methods, budgets and seeds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Self

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

REFERENCE = "supervised"
"""The method that all others are tested against."""

DECIDED = {
    "method": "--methods",
    "params": "the name of the parameter",
    "minutes": "--minutes",
    "steps": "--steps",
    "device": "--device",
    "seed": "--seeds",
    "start_from": "semiseg train",
}
"""Settings that a comparison decides itself, and what the user gives instead."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A method, with parameters where a variant of it is compared.

    Attributes
    ----------
    label : str
        As it was asked for: ``ug_mcl``, or ``ug_mcl:passes=4`` for a variant.
    method : str
        Name of the training method.
    params : tuple of (str, str)
        Settings of this entry alone.
    """

    label: str
    method: str
    params: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``method`` or ``method:key=value:key=value``.

        Raises
        ------
        ConfigError
            The text is not of that form.
        """
        method, *settings = (part.strip() for part in text.split(":"))
        pairs = []
        for setting in settings:
            key, equals, value = setting.partition("=")
            if not equals or not key.strip():
                raise ConfigError(
                    f"expected a method such as 'ug_mcl' or 'ug_mcl:passes=4', found "
                    f"{text!r}"
                )
            pairs.append((key.strip(), value.strip()))
        if not method:
            raise ConfigError(f"expected the name of a method, found {text!r}")
        return cls(text.strip(), method, tuple(pairs))


@dataclass(frozen=True, slots=True)
class Budget:
    """How long each training may take; one of the two is None."""

    minutes: float | None = None
    steps: int | None = None

    @property
    def text(self) -> str:
        """For people: ``20 min`` or ``300 steps``."""
        return f"{self.minutes:g} min" if self.steps is None else f"{self.steps} steps"


@dataclass(frozen=True, slots=True)
class Trial:
    """One training: a list of labelled cases, a method, a budget and a seed."""

    labelled: str
    entry: Entry
    budget: Budget
    seed: int

    @property
    def run_id(self) -> str:
        """Id of its run in the project of its labelled list."""
        text = f"{self.entry.label}_{self.budget.text}_seed{self.seed}"
        return re.sub(r"[^\w.-]+", "-", text.replace(" ", ""))

    @property
    def text(self) -> str:
        """For people."""
        return (
            f"{self.entry.label}, {self.labelled}, {self.budget.text}, seed {self.seed}"
        )


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A whole comparison.

    Attributes
    ----------
    data : Path
        Folder in nnU-Net's raw layout.
    labelled : mapping
        Ids per name of a list; each list is an experiment of its own.
    unlabelled : tuple of str
        Ids whose images are learned from; those with a label in an experiment count
        as labelled there.
    test : tuple of str
        Ids that are scored, and never seen by training.
    settings : mapping
        ``--set`` of all trainings.
    """

    data: Path
    labelled: Mapping[str, tuple[str, ...]]
    unlabelled: tuple[str, ...]
    test: tuple[str, ...]
    entries: tuple[Entry, ...]
    budgets: tuple[Budget, ...]
    seeds: tuple[int, ...] = (0,)
    device: str = "auto"
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, ids in (*self.labelled.items(), ("unlabelled", self.unlabelled)):
            _refuse_shared(name, ids, self.test)
        own = (key for entry in self.entries for key, _ in entry.params)
        refuse_decided((*self.settings, *own), DECIDED)
        labels = [trial.run_id for trial in self.trials()]
        experiments = len(self.labelled)
        repeated = next((one for one in labels if labels.count(one) > experiments), "")
        if repeated:
            raise ConfigError(
                f"expected distinct methods, budgets and seeds, found '{repeated}' "
                "twice; name each once"
            )

    def trials(self) -> list[Trial]:
        """All trainings; a seed is complete before the next begins."""
        return [
            Trial(labelled, entry, budget, seed)
            for seed, labelled, budget, entry in product(
                self.seeds, self.labelled, self.budgets, self.entries
            )
        ]

    def unlabelled_beside(self, labelled: str) -> list[str]:
        """Ids without a label in the experiment of a list."""
        known = set(self.labelled[labelled])
        return [name for name in self.unlabelled if name not in known]

    def config(self, trial: Trial) -> TrainingConfig:
        """What a training is asked for.

        Raises
        ------
        ConfigError
            A setting is out of range.
        """
        return TrainingConfig.build(
            {**self.settings, **dict(trial.entry.params)},
            method=trial.entry.method,
            minutes=trial.budget.minutes,
            steps=trial.budget.steps,
            device=self.device,
            seed=trial.seed,
        )


def refuse_decided(keys: Iterable[str], decided: Mapping[str, str]) -> None:
    """Refuse settings that would take the place of what a comparison decides.

    Raises
    ------
    ConfigError
        Names the first, and what to give instead.
    """
    key = next((key for key in keys if key in decided), None)
    if key is not None:
        raise ConfigError(
            f"expected no '{key}' among the settings of trainings, found it; use "
            f"{decided[key]} instead"
        )


def _refuse_shared(name: str, ids: Iterable[str], test: Collection[str]) -> None:
    held = set(test)
    shared = [case for case in ids if case in held]
    if shared:
        raise ConfigError(
            f"expected no test case among the {name} cases, found '{shared[0]}'"
            + (f" and {len(shared) - 1} more" if len(shared) > 1 else "")
            + "; take them off one of the lists, or the scores mean nothing"
        )
