"""Draw how a training went, as inline SVG."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from napari_semiseg.core.events import Stepped, Validated
from napari_semiseg.imaging.rendering import curves

if TYPE_CHECKING:
    from napari_semiseg.project.runs.run import Run


def loss_curves(run: Run) -> str:
    """Draw the weighted terms of the loss over the minutes of the training."""
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for event in run.events():
        if isinstance(event, Stepped):
            for name, value in event.losses.items():
                lines[name].append((event.seconds / 60, value))
    return curves(lines, across="min")


def validation_curves(run: Run) -> str:
    """Draw 1 - Dice of the validation cases over the steps; empty without any."""
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for event in run.events():
        if isinstance(event, Validated):
            for name, dice in event.dice.items():
                lines[name].append((event.step, 1 - dice))
    return curves(lines, across="steps") if lines else ""
