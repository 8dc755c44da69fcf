"""Atomic checkpoints that hold all that is needed to go on exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import torch

from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State of a training after ``step`` steps.

    ``best`` is the highest mean validation Dice so far, -1 before there is one.
    ``schedule`` is `Schedule.state`, ``gradient_ratio`` that of `GradientBalance`,
    ``entropy_ratio`` is `EntropyRatio.state`, ``familiar`` how far apart scans with
    labels are for the averaged networks, see `imaging.foreign_scans`: it is measured
    at the end, or where a training stops.

    Batches and noise are functions of (seed, step, schedule): there is no generator
    to keep.
    """

    step: int
    seconds: float
    students: dict[str, Any]
    teachers: dict[str, Any]
    critics: dict[str, Any]
    optimisers: dict[str, Any]
    best: float = -1.0
    schedule: list[dict[str, Any]] = field(default_factory=list)
    gradient_ratio: float | None = None
    familiar: float | None = None
    entropy_ratio: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write atomically; a reader sees the old file or the whole new one."""
        path.parent.mkdir(exist_ok=True)
        state = {name: getattr(self, name) for name in self.__slots__}
        with atomic_path(path) as temporary:
            torch.save({"version": VERSION, **state}, temporary)

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> Self:
        """Read a checkpoint; no code in the file is ever run.

        Raises
        ------
        ProjectError
            The file is missing, damaged, or of another version.
        """
        if not path.exists():
            raise ProjectError(
                f"run {path.parents[1].name!r} has no checkpoint yet; train it first"
            )
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            version = state.pop("version")
            if version != VERSION:
                raise ProjectError(
                    f"{path}: expected checkpoint version {VERSION}, found {version}; "
                    f"use the version of napari-semiseg that wrote it"
                )
            return cls(**state)
        except ProjectError:
            raise
        except Exception as error:  # what a damaged pickle raises can be anything
            raise ProjectError(
                f"{path}: expected a checkpoint of this program, found a damaged or "
                f"foreign file ({type(error).__name__}); train again or restore it"
            ) from error
