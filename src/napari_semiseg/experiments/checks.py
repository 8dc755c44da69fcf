"""Refuse what would make the results of an experiment meaningless, or impossible."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from napari_semiseg.core.case import Split
from napari_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.project.project import Project

RESERVED = {
    "method": "--methods",
    "params": "the name of the parameter",
    "minutes": "--minutes",
    "steps": "--steps",
    "device": "--device",
    "seed": "--seeds",
    "start_from": "semiseg train",
}
"""Settings of trainings that an experiment decides, and what to give instead."""


def refuse_reserved(keys: Iterable[str], reserved: Mapping[str, str]) -> None:
    """Refuse settings that an experiment decides."""
    key = next((key for key in keys if key in reserved), None)
    if key is not None:
        raise ConfigError(
            f"expected no '{key}' among the settings of trainings, found it; use "
            f"{reserved[key]} instead"
        )


def refuse_test_cases(name: str, ids: Iterable[str], test: Collection[str]) -> None:
    """Refuse a list of cases to learn from that holds test cases."""
    shared = [case for case in ids if case in set(test)]
    if shared:
        more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
        raise ConfigError(
            f"expected no test case among the {name} cases, found '{shared[0]}'{more}; "
            "take them off one of the lists, or the scores mean nothing"
        )


def refuse_duplicates(project: Project) -> None:
    """Refuse a test image that is also learned from, under another name."""
    cases = project.cases()
    seen = {case.record.sha256: case.id for case in cases if case.split is Split.TRAIN}
    for case in cases:
        same = seen.get(case.record.sha256)
        if case.split is Split.TEST and same is not None:
            raise ConfigError(
                f"expected test images that training never sees, found that test case "
                f"'{case.id}' is the same image as '{same}'; take one off its list and "
                "choose another --out"
            )


def check_trainings(configs: Iterable[TrainingConfig]) -> None:
    """Refuse what the engine would refuse at the start of a training."""
    from napari_semiseg.engine import devices
    from napari_semiseg.engine.methods import registry

    for config in configs:
        registry.check(config)
        devices.choose(config.device)
