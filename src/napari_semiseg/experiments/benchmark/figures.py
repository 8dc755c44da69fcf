"""Draw the figures of a benchmark: accuracy, and contours of single cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.labels import is_class
from napari_semiseg.experiments.benchmark.spec import REFERENCE
from napari_semiseg.experiments.plots import FOLDER, Curve, curve_panels, save_figure
from napari_semiseg.imaging.rendering import PLANES, Slice, slices_through
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.layout import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_semiseg.experiments.benchmark.dataset import RawDataset
    from napari_semiseg.experiments.benchmark.results import (
        BenchmarkResults,
        MethodResult,
    )
    from napari_semiseg.experiments.benchmark.statistics import ResultRow

REFERENCE_COLOUR = "#F0E442"
CONTOURS = ("#56B4E9", "#D55E00", "#009E73", "#CC79A7")
"""Colours of the methods in a qualitative panel; there are no more."""
MARGIN = 0.2
"""Around the structures of a qualitative panel, of their size."""


def draw(
    out: Path,
    dataset: RawDataset,
    results: BenchmarkResults,
    rows: Sequence[ResultRow],
    project_folder: Callable[[str], Path],
) -> list[tuple[str, str]]:
    """Draw all figures for which there are runs into a folder in ``out``.

    Returns
    -------
    list of (str, str)
        Path of each PNG relative to ``out``, and what it shows.
    """
    drawn: list[tuple[str, str]] = []
    by_minutes = _panels(
        rows,
        lambda row: f"{row.labels} labelled ({row.labelled})",
        lambda row: row.minutes if row.minutes_asked is None else row.minutes_asked,
    )
    by_labels = _panels(rows, lambda row: row.budget, lambda row: float(row.labels))
    for name, across, panels in (
        ("accuracy-minutes", "minutes of training", by_minutes),
        ("accuracy-labels", "labelled cases", by_labels),
    ):
        if panels:
            axes = [across] * len(panels)
            save_figure(out, name, curve_panels(panels, axes, REFERENCE))
            drawn.append((f"{FOLDER}/{name}.png", f"Dice against {across}"))
    groups: dict[tuple[str, str], list[ResultRow]] = defaultdict(list)
    for row in rows:
        groups[row.labelled, row.budget].append(row)
    for (labelled, budget), members in groups.items():
        name = f"cases-{labelled}-{budget}".replace(" ", "")
        runs = [
            run
            for run in _shown(results, members)
            if _has_masks(dataset, project_folder(labelled), run)
        ]
        if not runs:
            continue
        save_figure(out, name, _qualitative(dataset, project_folder(labelled), runs))
        text = f"Best, middle and worst test case, {labelled}, {budget}"
        drawn.append((f"{FOLDER}/{name}.png", text))
    return drawn


def _panels(
    rows: Sequence[ResultRow],
    title: Callable[[ResultRow], str],
    across: Callable[[ResultRow], float],
) -> dict[str, dict[str, Curve]]:
    """Curves of the methods per title, where there are two places across or more."""
    panels: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        dice = row.metrics["dice"]
        point = (across(row), dice.mean, dice.over_seeds or 0.0)
        panels[title(row)][row.method].append(point)
    return {
        name: {method: sorted(points) for method, points in sorted(curves.items())}
        for name, curves in panels.items()
        if any(len({x for x, _, _ in points}) > 1 for points in curves.values())
    }


def _shown(results: BenchmarkResults, rows: Sequence[ResultRow]) -> list[MethodResult]:
    """A run of `REFERENCE` and of the others with the highest Dice, lowest seed."""
    runs = {
        (run.labelled, run.budget, run.method): run
        for run in sorted(results.completed(), key=lambda run: -run.seed)
    }
    ranked = sorted(rows, key=lambda row: row.method != REFERENCE)  # stable
    shown = ranked[: len(CONTOURS)]
    return [runs[row.labelled, row.budget, row.method] for row in shown]


def _mask(dataset: RawDataset, project: Path, run: MethodResult, name: str) -> Path:
    return Layout(project).run(run.run).prediction(dataset.case(name)).labels


def _has_masks(dataset: RawDataset, project: Path, run: MethodResult) -> bool:
    """Whether the predictions exist; the user may have deleted them."""
    return all(_mask(dataset, project, run, name).exists() for name in run.cases)


def _ranks(runs: Sequence[MethodResult]) -> dict[str, str]:
    """Rank of the best, middle and worst case by Dice; repeats keep the first rank."""
    dice = {
        name: fmean(found.dice for run in runs for found in run.cases[name].values())
        for name in runs[0].cases
    }
    ordered = sorted(dice, key=lambda name: -dice[name])
    places = {"best": 0, "middle": len(ordered) // 2, "worst": -1}
    ranks: dict[str, str] = {}
    for rank, place in places.items():
        ranks.setdefault(ordered[place], rank)
    return ranks


def _qualitative(
    dataset: RawDataset, project: Path, runs: Sequence[MethodResult]
) -> Figure:
    """Three planes of three cases with the contours of reference and methods."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    ranks = _ranks(runs)
    figure = Figure(figsize=(9.0, 3.0 * len(ranks) + 0.5), layout="constrained")
    grid = figure.subplots(len(ranks), len(PLANES), squeeze=False)
    for line, (name, rank) in zip(grid, ranks.items(), strict=True):
        image = dataset.read_image(name)
        reference = dataset.read_mask(name, image.geometry)
        masks = [(reference, REFERENCE_COLOUR)]
        for run, colour in zip(runs, CONTOURS, strict=False):
            path = _mask(dataset, project, run, name)
            masks.append((read_labels(path, image.geometry), colour))
        views = slices_through(is_class(reference), image.geometry)
        for axis, view, plane in zip(line, views, PLANES, strict=True):
            _draw_plane(axis, view, image.data, masks)
            # A place that is given is not looked for, which takes longer than the rest.
            axis.set_title(f"{name} ({rank}), {plane}", fontsize=8, y=1.0)
    lines = [Line2D([], [], color=REFERENCE_COLOUR, linewidth=2.4, label="reference")]
    lines += [
        Line2D([], [], color=colour, label=run.method)
        for run, colour in zip(runs, CONTOURS, strict=False)
    ]
    figure.legend(
        handles=lines,
        loc="outside lower center",
        ncols=len(lines),
        facecolor="#444444",
        labelcolor="white",
    )
    return figure


def _draw_plane(
    axis: Axes,
    view: Slice,
    image: NDArray[Any],
    masks: Sequence[tuple[NDArray[np.uint8], str]],
) -> None:
    low, high = np.percentile(image, (1, 99.5))
    down, across = view.spacing_mm
    axis.imshow(view.of(image), cmap="gray", vmin=low, vmax=high, aspect=down / across)
    axis.set_axis_off()
    planes = [(view.of(labels), colour) for labels, colour in masks]
    for plane, colour in planes:
        for value in np.unique(plane[is_class(plane)]):
            width = 2.4 if colour == REFERENCE_COLOUR else 1.1
            axis.contour(plane == value, [0.5], colors=[colour], linewidths=width)
    _zoom(axis, np.any([is_class(plane) for plane, _ in planes], axis=0))


def _zoom(axis: Axes, inside: NDArray[np.bool_]) -> None:
    """Show the structures with a margin, and not the whole body around them."""
    if not inside.any():
        return
    rows, columns = (np.flatnonzero(inside.any(axis=other)) for other in (1, 0))
    edge = MARGIN * max(rows[-1] - rows[0], columns[-1] - columns[0], 1)
    height, width = inside.shape
    axis.set_xlim(max(columns[0] - edge, -0.5), min(columns[-1] + edge, width - 0.5))
    axis.set_ylim(min(rows[-1] + edge, height - 0.5), max(rows[0] - edge, -0.5))
