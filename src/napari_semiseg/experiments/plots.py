"""Draw curves of Dice and save figures as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.errors import ConfigError
from napari_semiseg.io.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, distinct for colour-blind readers too."""
MARKERS = ("o", "s", "^")
MOST_TICKS = 8
"""Most values that are marked along an axis."""

Curve = list[tuple[float, float, float]]
"""Points x, y and standard deviation over seeds (0 where there is one seed)."""


def require_matplotlib() -> None:
    """Refuse with a ``ConfigError``, before hours of training, without matplotlib."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ConfigError(
            "expected matplotlib for the figures, found none; install it with: pip "
            "install 'napari-semiseg[bench]'"
        )


def save_figure(out: Path, name: str, figure: Figure) -> None:
    """Write a figure as PNG and SVG into the folder of figures in ``out``."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        for kind in ("png", "svg"):
            metadata = {"Date": None} if kind == "svg" else None
            with atomic_path(out / FOLDER / f"{name}.{kind}") as path:
                figure.savefig(
                    path,
                    format=kind,
                    dpi=150,
                    bbox_inches="tight",
                    metadata=metadata,
                )


def curve_panels(
    panels: Mapping[str, Mapping[str, Curve]], across: Sequence[str], bold: str = ""
) -> Figure:
    """Draw curves of Dice, a panel per title; ``across`` labels the x axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0 * len(panels) + 1.5, 4.0), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    names = sorted({name for curves in panels.values() for name in curves})
    for axis, label, (title, curves) in zip(axes, across, panels.items(), strict=True):
        for name, points in curves.items():
            place = names.index(name)
            x, y, spread = np.array(points).T
            axis.errorbar(
                x,
                y,
                spread if spread.any() else None,
                label=name,
                color=COLOURS[place % len(COLOURS)],
                marker=MARKERS[place // len(COLOURS) % len(MARKERS)],
                linewidth=2.5 if name == bold else 1.3,
                capsize=3,
            )
        axis.set(title=title, xlabel=label)
        ticks = sorted({x for points in curves.values() for x, _, _ in points})
        if len(ticks) <= MOST_TICKS:
            axis.set_xticks(ticks)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("Dice, mean of the test cases")
    handles = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right upper")
    return figure
