"""Figures of a benchmark, as PNG and SVG."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.errors import ConfigError
from napari_semiseg.experiments.benchmark.spec import REFERENCE
from napari_semiseg.imaging.rendering import PLANES, Slice, slices_through
from napari_semiseg.io.atomic import atomic_path
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from napari_semiseg.experiments.benchmark.dataset import Dataset
    from napari_semiseg.experiments.benchmark.results import Results, TrialResult
    from napari_semiseg.experiments.benchmark.statistics import Row

FOLDER = "figures"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart by colour-blind readers too."""
MARKERS = ("o", "s", "^")
TRUTH = "#F0E442"
CONTOURS = ("#56B4E9", "#D55E00", "#009E73", "#CC79A7")
"""Of the methods in a qualitative panel; more could not be told apart."""
MOST_TICKS = 8
"""Values that can be told apart along an axis."""
MARGIN = 0.2
"""Around the structures of a qualitative panel, of their size."""

Curve = list[tuple[float, float, float]]
"""Points x, y and standard deviation over seeds (0 where there is one seed)."""


def check_installed() -> None:
    """Refuse before hours of training what would fail after them.

    Raises
    ------
    ConfigError
        matplotlib is not installed.
    """
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ConfigError(
            "expected matplotlib for the figures, found none; install it with: pip "
            "install 'napari-semiseg[bench]'"
        )


def draw(
    out: Path, dataset: Dataset, results: Results, rows: Sequence[Row], projects: Path
) -> list[tuple[str, str]]:
    """Draw all figures for which there are runs.

    Parameters
    ----------
    out : Path
        Gets a folder of figures.
    dataset : Dataset
        For the reference masks.
    results, rows
        All runs, and their summary.
    projects : Path
        Holds the project of each list.

    Returns
    -------
    list of (str, str)
        Path of each PNG relative to ``out``, and what it shows.
    """
    drawn: list[tuple[str, str]] = []
    for name, across, panels in (
        ("accuracy-minutes", "minutes of training", _against_minutes(rows)),
        ("accuracy-labels", "labelled cases", _against_labels(rows)),
    ):
        if panels:
            save(out, name, lines(panels, [across] * len(panels)))
            drawn.append((f"{FOLDER}/{name}.png", f"Dice against {across}"))
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.labelled, row.budget].append(row)
    for (labelled, budget), members in groups.items():
        name = f"cases-{labelled}-{budget}".replace(" ", "")
        runs = [
            run
            for run in _shown(results, members)
            if _has_masks(dataset, projects / labelled, run)
        ]
        if not runs:
            continue
        save(out, name, _qualitative(dataset, projects / labelled, runs))
        text = f"Best, middle and worst test case, {labelled}, {budget}"
        drawn.append((f"{FOLDER}/{name}.png", text))
    return drawn


def save(out: Path, name: str, figure: Figure) -> None:
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


def _against_minutes(rows: Sequence[Row]) -> dict[str, dict[str, Curve]]:
    """Curves by list of labelled cases, where there are two budgets or more."""
    return _panels(
        rows,
        lambda row: f"{row.labels} labelled ({row.labelled})",
        lambda row: row.minutes if row.minutes_asked is None else row.minutes_asked,
    )


def _against_labels(rows: Sequence[Row]) -> dict[str, dict[str, Curve]]:
    """Curves by budget, where there are two numbers of labels or more."""
    return _panels(rows, lambda row: row.budget, lambda row: float(row.labels))


def _panels(
    rows: Sequence[Row], title: Callable[[Row], str], across: Callable[[Row], float]
) -> dict[str, dict[str, Curve]]:
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


def lines(panels: dict[str, dict[str, Curve]], across: Sequence[str]) -> Figure:
    """Draw curves of Dice, a panel per title, with what lies across each panel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0 * len(panels) + 1.5, 4.0), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    methods = sorted({method for curves in panels.values() for method in curves})
    for axis, words, (title, curves) in zip(axes, across, panels.items(), strict=True):
        for method, points in curves.items():
            place = methods.index(method)
            x, y, spread = np.array(points).T
            axis.errorbar(
                x,
                y,
                spread if spread.any() else None,
                label=method,
                color=COLOURS[place % len(COLOURS)],
                marker=MARKERS[place // len(COLOURS) % len(MARKERS)],
                linewidth=2.5 if method == REFERENCE else 1.3,
                capsize=3,
            )
        axis.set(title=title, xlabel=words)
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


def _shown(results: Results, rows: Sequence[Row]) -> list[TrialResult]:
    """A run of `REFERENCE` and of the others with the highest Dice, lowest seed."""
    ranked = sorted(rows, key=lambda row: row.method != REFERENCE)  # stable
    runs = []
    for row in ranked[: len(CONTOURS)]:
        alike = [
            run
            for run in results.completed()
            if (run.labelled, run.budget, run.method)
            == (row.labelled, row.budget, row.method)
        ]
        runs.append(min(alike, key=lambda run: run.seed))
    return runs


def _mask(dataset: Dataset, project: Path, run: TrialResult, name: str) -> Path:
    return Layout(project).run(run.run).prediction(dataset.case(name)).labels


def _has_masks(dataset: Dataset, project: Path, run: TrialResult) -> bool:
    """Whether the predictions are there; the user may have made room."""
    return all(_mask(dataset, project, run, name).exists() for name in run.cases)


def chosen(runs: Sequence[TrialResult]) -> list[tuple[str, str]]:
    """Best, middle and worst case by the mean Dice of runs, without repeats.

    Returns
    -------
    list of (str, str)
        What a case is, and its id.
    """
    dice = {
        name: np.mean(
            [found.dice for run in runs for found in run.cases[name].values()]
        )
        for name in runs[0].cases
    }
    ranked = sorted(dice, key=lambda name: -dice[name])
    picked = zip(
        ("best", "middle", "worst"),
        (ranked[0], ranked[len(ranked) // 2], ranked[-1]),
        strict=True,
    )
    by_name = {name: rank for rank, name in reversed(list(picked))}
    return [(rank, name) for name, rank in reversed(list(by_name.items()))]


def _qualitative(
    dataset: Dataset, project: Path, runs: Sequence[TrialResult]
) -> Figure:
    """Three planes of three cases with the contours of reference and methods."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    cases = chosen(runs)
    figure = Figure(figsize=(9.0, 3.0 * len(cases) + 0.5), layout="constrained")
    grid = figure.subplots(len(cases), len(PLANES), squeeze=False)
    for line, (rank, name) in zip(grid, cases, strict=True):
        image = dataset.read_image(name)
        truth = dataset.read_mask(name, image.geometry)
        masks = [(truth, TRUTH)]
        for run, colour in zip(runs, CONTOURS, strict=False):
            path = _mask(dataset, project, run, name)
            masks.append((read_labels(path, image.geometry), colour))
        views = slices_through(_inside(truth), image.geometry)
        for axis, view, plane in zip(line, views, PLANES, strict=True):
            _draw_plane(axis, view, image.data, masks)
            axis.set_title(f"{name} ({rank}), {plane}", fontsize=8)
    lines = [Line2D([], [], color=TRUTH, linewidth=2.4, label="reference")]
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


def _inside(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (labels > 0) & (labels < 255)
    return inside


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
        for value in np.unique(plane[_inside(plane)]):
            width = 2.4 if colour == TRUTH else 1.1
            axis.contour(plane == value, [0.5], colors=[colour], linewidths=width)
    _zoom(axis, np.any([_inside(plane) for plane, _ in planes], axis=0))


def _zoom(axis: Axes, inside: NDArray[np.bool_]) -> None:
    """Show the structures with a margin, and not the whole body around them."""
    if not inside.any():
        return
    rows, columns = (np.flatnonzero(inside.any(axis=other)) for other in (1, 0))
    edge = MARGIN * max(rows[-1] - rows[0], columns[-1] - columns[0], 1)
    height, width = inside.shape
    axis.set_xlim(max(columns[0] - edge, -0.5), min(columns[-1] + edge, width - 0.5))
    axis.set_ylim(min(rows[-1] + edge, height - 0.5), max(rows[0] - edge, -0.5))
