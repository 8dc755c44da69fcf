"""Means, spreads and paired tests from the scores of all runs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.experiments.benchmark.spec import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.experiments.benchmark.results import Results, TrialResult

METRICS = ("dice", "jaccard", "hd95_mm", "assd_mm", "hd95_voxel", "asd_voxel")
TESTED = ("dice", "hd95_mm")
"""Metrics with a paired test against `REFERENCE`."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean over runs and cases, and how far it varies.

    Attributes
    ----------
    mean : float
        Over cases and seeds.
    over_cases : float or None
        Standard deviation over cases, each averaged over the seeds.
    over_seeds : float or None
        Standard deviation over seeds, each averaged over the cases.
    """

    mean: float
    over_cases: float | None
    over_seeds: float | None


@dataclass(frozen=True, slots=True)
class Paired:
    """Wilcoxon signed-rank test, two-sided, case by case against `REFERENCE`.

    Attributes
    ----------
    difference : float
        Mean over the cases, method minus reference.
    p, p_holm : float
        As it is, and corrected for the number of methods in the group.
    cases, seeds : int
        How many were compared; of the seeds, only those that both have.
    """

    difference: float
    p: float
    p_holm: float
    cases: int
    seeds: int


@dataclass(frozen=True, slots=True)
class Row:
    """A method with a labelled list and a budget, over all its seeds."""

    labelled: str
    labels: int
    budget: str
    minutes_asked: float | None
    method: str
    seeds: tuple[int, ...]
    failed: int
    minutes: float
    predict_seconds: float
    steps: float
    peak_memory_mb: float | None
    peak_gpu_mb: float | None
    parameters: int | None
    metrics: dict[str, Spread]
    classes: dict[str, dict[str, Spread]]
    tests: dict[str, Paired] = field(default_factory=dict)


def summarise(results: Results) -> list[Row]:
    """Rows by list, budget and method; within a group the highest Dice first."""
    groups: dict[tuple[str, str], list[TrialResult]] = defaultdict(list)
    for run in results.completed():
        groups[run.labelled, run.budget].append(run)
    rows = []
    for runs in groups.values():
        methods: dict[str, list[TrialResult]] = defaultdict(list)
        for run in runs:
            methods[run.method].append(run)
        tests = _tests(methods)
        failed = [run.method for run in results.failed() if _beside(run, runs[0])]
        group = [
            _row(runs, tests.get(method, {}), failed.count(method))
            for method, runs in methods.items()
        ]
        rows += sorted(group, key=lambda row: -row.metrics["dice"].mean)
    return sorted(rows, key=lambda row: (row.labels, row.labelled, _size(row)))


def _beside(one: TrialResult, other: TrialResult) -> bool:
    return (one.labelled, one.budget) == (other.labelled, other.budget)


def _size(row: Row) -> float:
    return row.steps if row.minutes_asked is None else row.minutes_asked


def scores(runs: Sequence[TrialResult], metric: str) -> NDArray[np.float64]:
    """Give a metric (seeds, cases), averaged over the classes.

    Parameters
    ----------
    runs : sequence of TrialResult
        Runs of one method that scored the same cases.
    """
    return np.array(
        [
            [
                np.mean([getattr(found, metric) for found in classes.values()])
                for _, classes in sorted(run.cases.items())
            ]
            for run in runs
        ]
    )


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _row(runs: list[TrialResult], tests: dict[str, Paired], failed: int) -> Row:
    first = runs[0]
    names = next(iter(first.cases.values()))
    return Row(
        labelled=first.labelled,
        labels=first.labels,
        budget=first.budget,
        minutes_asked=first.minutes,
        method=first.method,
        seeds=tuple(sorted(run.seed for run in runs)),
        failed=failed,
        minutes=float(np.mean([run.seconds for run in runs])) / 60,
        predict_seconds=float(np.mean([run.predict_seconds for run in runs])),
        steps=float(np.mean([run.steps for run in runs])),
        peak_memory_mb=_largest(run.peak_memory_mb for run in runs),
        peak_gpu_mb=_largest(run.peak_gpu_mb for run in runs),
        parameters=first.parameters,
        metrics={metric: _spread(scores(runs, metric)) for metric in METRICS},
        classes={
            name: {metric: _spread(_of_class(runs, name, metric)) for metric in METRICS}
            for name in names
        },
        tests=tests,
    )


def _of_class(
    runs: Sequence[TrialResult], name: str, metric: str
) -> NDArray[np.float64]:
    return np.array(
        [
            [getattr(found[name], metric) for _, found in sorted(run.cases.items())]
            for run in runs
        ]
    )


def _spread(values: NDArray[np.float64]) -> Spread:
    """Spread of values (seeds, cases)."""
    seeds, cases = values.shape
    return Spread(
        mean=float(values.mean()),
        over_cases=float(values.mean(axis=0).std(ddof=1)) if cases > 1 else None,
        over_seeds=float(values.mean(axis=1).std(ddof=1)) if seeds > 1 else None,
    )


def _tests(methods: dict[str, list[TrialResult]]) -> dict[str, dict[str, Paired]]:
    """Paired tests of a group by method and metric."""
    found: dict[str, dict[str, Paired]] = defaultdict(dict)
    reference = {run.seed: run for run in methods.get(REFERENCE, ())}
    for metric in TESTED if reference else ():
        raw: dict[str, tuple[NDArray[np.float64], float, int]] = {}
        for method, runs in methods.items():
            shared = [run for run in runs if run.seed in reference]
            if method == REFERENCE or not shared:
                continue
            ours = scores(shared, metric).mean(axis=0)
            beside = [reference[run.seed] for run in shared]
            differences = ours - scores(beside, metric).mean(axis=0)
            raw[method] = (differences, _wilcoxon(differences), len(shared))
        corrected = holm([p for _, p, _ in raw.values()])
        for (method, (differences, p, seeds)), p_holm in zip(
            raw.items(), corrected, strict=True
        ):
            found[method][metric] = Paired(
                float(differences.mean()), p, p_holm, len(differences), seeds
            )
    return found


def _wilcoxon(differences: NDArray[np.float64]) -> float:
    """Two-sided p of paired differences; 1 where none differs."""
    from scipy.stats import wilcoxon

    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, zero_method="pratt").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm, Scand. J. Stat. 6 (1979) 65-70).

    scipy corrects the false discovery rate only, and no other dependency is worth
    these lines.
    """
    order = np.argsort(p_values)
    corrected = np.empty(len(p_values))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = largest
    return [float(value) for value in corrected]
