"""Draw cost curves: Dice against slices, and against voxels changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.experiments.plots import FOLDER, Curve, curve_panels, save_figure

if TYPE_CHECKING:
    from napari_semiseg.experiments.simulation.results import (
        Round,
        SimulationResults,
    )

NAME = "cost"


@dataclass(frozen=True, slots=True)
class Point:
    """Mean over the seeds of one strategy after one round.

    ``sd`` is the standard deviation of the Dice over seeds; None with one seed.
    """

    strategy: str
    round: int
    slices: float
    strokes: float
    voxels_changed: float
    annotated_fraction: float
    dice: float
    sd: float | None
    seeds: int


def summarise(results: SimulationResults) -> list[Point]:
    """Average over seeds; points come in the order of strategies and rounds."""
    found: dict[tuple[str, int], list[Round]] = defaultdict(list)
    for trial in results.trials:
        for item in trial.rounds:
            if item.dice is not None:
                found[trial.strategy, item.round].append(item)
    return [
        _point(strategy, number, rounds)
        for (strategy, number), rounds in sorted(found.items())
    ]


def _point(strategy: str, number: int, rounds: Sequence[Round]) -> Point:
    dice = [item.dice for item in rounds if item.dice is not None]
    return Point(
        strategy=strategy,
        round=number,
        slices=float(np.mean([item.slices for item in rounds])),
        strokes=float(np.mean([item.strokes for item in rounds])),
        voxels_changed=float(np.mean([item.voxels_changed for item in rounds])),
        annotated_fraction=float(np.mean([item.annotated_fraction for item in rounds])),
        dice=float(np.mean(dice)),
        sd=float(np.std(dice, ddof=1)) if len(dice) > 1 else None,
        seeds=len(dice),
    )


def figure_path(out: Path) -> Path:
    """Path of the figure."""
    return out / FOLDER / f"{NAME}.png"


def draw(out: Path, points: Sequence[Point]) -> None:
    """Draw the curves of all strategies, with the deviation over seeds."""
    slices: dict[str, Curve] = defaultdict(list)
    voxels: dict[str, Curve] = defaultdict(list)
    for point in points:
        spread = point.sd or 0.0
        slices[point.strategy].append((point.slices, point.dice, spread))
        voxels[point.strategy].append((point.voxels_changed, point.dice, spread))
    panels = {"By slices": slices, "By painting": voxels}
    across = ["slices annotated", "voxels changed"]
    save_figure(out, NAME, curve_panels(panels, across))
