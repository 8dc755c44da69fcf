"""Describe a benchmark: data, lists of cases, methods, budgets and seeds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field

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

REFERENCE = "supervised"
"""The method that all others are tested against."""


@dataclass(frozen=True, slots=True)
class MethodVariant:
    """A method as asked for: ``ug_mcl``, or ``ug_mcl:passes=4`` with own settings."""

    label: str
    method: str
    params: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``method`` or ``method:key=value:key=value``."""
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

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``20 min`` or ``300 steps``, as `text` writes them."""
        number, unit = text.split()
        return cls(minutes=float(number)) if unit == "min" else cls(steps=int(number))

    @property
    def text(self) -> str:
        """Write it as ``20 min`` or ``300 steps``."""
        return f"{self.minutes:g} min" if self.steps is None else f"{self.steps} steps"


@dataclass(frozen=True, slots=True)
class MethodTrial:
    """One training: a list of labelled cases, a method, a budget and a seed."""

    labelled: str
    variant: MethodVariant
    budget: Budget
    seed: int

    @property
    def run_id(self) -> str:
        """Id of its run in the project of its labelled list."""
        text = f"{self.variant.label}_{self.budget.text}_seed{self.seed}"
        return re.sub(r"[^\w.-]+", "-", text.replace(" ", ""))

    @property
    def text(self) -> str:
        """Describe it to people."""
        method, budget = self.variant.label, self.budget.text
        return f"{method}, {self.labelled}, {budget}, seed {self.seed}"


def _merge_lists(
    old: dict[str, tuple[str, ...]], new: dict[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    for name, ids in new.items():
        if old.get(name, ids) != ids:
            raise ConfigError(
                f"expected the same cases in list '{name}' as before, found others; "
                "rename the list, or choose another --out"
            )
    return {**old, **new}


class Benchmark(ExperimentSpec):
    """What is compared, on which data; lists hold ids, so that it can be repeated.

    Attributes
    ----------
    data : Path
        Folder in nnU-Net's raw layout.
    classes : dict
        Value by name, once they are known from the data.
    labelled : dict
        Ids per name of a list; each list gets a project of its own.
    unlabelled : tuple of str
        Ids whose images are learned from; those with a label in a project count as
        labelled there.
    test : tuple of str
        Ids that are scored, and never seen by training.
    methods, budgets : tuple of str
        Texts of each `MethodVariant` and `Budget`.
    """

    EXTENDABLE: ClassVar[Mapping[str, Merge]] = {
        "labelled": _merge_lists,
        "methods": in_order_asked,
        "budgets": in_order_asked,
        "seeds": in_order_of_size,
    }

    data: Path
    classes: dict[str, int] = Field(default_factory=dict)
    labelled: dict[str, tuple[str, ...]]
    unlabelled: tuple[str, ...]
    test: tuple[str, ...]
    device: str = "auto"
    settings: dict[str, str] = Field(default_factory=dict)
    methods: tuple[str, ...]
    budgets: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)

    def model_post_init(self, _: object) -> None:
        """Refuse test cases to learn from, reserved settings and repeated trials."""
        for name, ids in (*self.labelled.items(), ("unlabelled", self.unlabelled)):
            refuse_test_cases(name, ids, self.test)
        refuse_reserved(self.settings, RESERVED)
        for text in self.methods:
            refuse_reserved(dict(MethodVariant.parse(text).params), RESERVED)
        runs = Counter((trial.labelled, trial.run_id) for trial in self.trials())
        for (_, run_id), times in runs.items():
            if times > 1:
                raise ConfigError(
                    f"expected distinct methods, budgets and seeds, found '{run_id}' "
                    "twice; name each once"
                )

    def trials(self) -> list[MethodTrial]:
        """List all trainings; a seed is complete before the next begins."""
        return [
            MethodTrial(labelled, variant, budget, seed)
            for seed, labelled, budget, variant in product(
                self.seeds,
                self.labelled,
                map(Budget.parse, self.budgets),
                map(MethodVariant.parse, self.methods),
            )
        ]

    def training_cases(self, labelled: str) -> list[str]:
        """List the ids that are learned from: those of a labelled list come first."""
        return list(dict.fromkeys((*self.labelled[labelled], *self.unlabelled)))

    def config(self, trial: MethodTrial) -> TrainingConfig:
        """Build the configuration of a training."""
        return TrainingConfig.build(
            {**self.settings, **dict(trial.variant.params)},
            method=trial.variant.method,
            minutes=trial.budget.minutes,
            steps=trial.budget.steps,
            device=self.device,
            seed=trial.seed,
            feature_maps=False,
        )
