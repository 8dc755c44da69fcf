"""Summarise the scores of all runs: means, spreads and paired tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.experiments.benchmark.spec import REFERENCE

if TYPE_CHECKING:
    from napari_semiseg.experiments.benchmark.results import (
        BenchmarkResults,
        MethodResult,
    )

METRICS = ("dice", "jaccard", "hd95_mm", "assd_mm", "hd95_voxel", "asd_voxel")
TESTED = ("dice", "hd95_mm")
"""Metrics with a paired test against `REFERENCE`."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean over cases and seeds, with two standard deviations.

    ``over_cases`` is that of the cases, each averaged over the seeds; ``over_seeds``
    that of the seeds, each averaged over the cases; None where there is only one.
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
        Raw, and corrected for the number of methods in the group.
    cases, seeds : int
        How many were compared; of the seeds, only those that both have.
    """

    difference: float
    p: float
    p_holm: float
    cases: int
    seeds: int


@dataclass(frozen=True, slots=True)
class ResultRow:
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
    gradient_ratio: float | None
    metrics: dict[str, Spread]
    classes: dict[str, dict[str, Spread]]
    tests: dict[str, Paired] = field(default_factory=dict)


def summarise(results: BenchmarkResults) -> list[ResultRow]:
    """Make rows by list, budget and method; within a group the highest Dice first."""
    groups: dict[tuple[str, str], dict[str, list[MethodResult]]] = {}
    for run in results.completed():
        methods = groups.setdefault((run.labelled, run.budget), {})
        methods.setdefault(run.method, []).append(run)
    rows = []
    for key, methods in groups.items():
        tests = _tests(methods)
        failed = [
            run.method for run in results.failed() if (run.labelled, run.budget) == key
        ]
        rows += [
            _row(runs, tests.get(method, {}), failed.count(method))
            for method, runs in methods.items()
        ]
    return sorted(rows, key=_order)


def _order(row: ResultRow) -> tuple[int, str, float, str, float]:
    size = row.steps if row.minutes_asked is None else row.minutes_asked
    return row.labels, row.labelled, size, row.budget, -row.metrics["dice"].mean


def scores(runs: Sequence[MethodResult], metric: str) -> NDArray[np.float64]:
    """Collect a metric (seeds, cases, classes) of runs of one method."""
    return np.array(
        [
            [
                [getattr(found, metric) for found in classes.values()]
                for _, classes in sorted(run.cases.items())
            ]
            for run in runs
        ]
    )


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _row(runs: list[MethodResult], tests: dict[str, Paired], failed: int) -> ResultRow:
    first = runs[0]
    values = {metric: scores(runs, metric) for metric in METRICS}
    return ResultRow(
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
        gradient_ratio=_mean([run.gradient_ratio for run in runs]),
        metrics={name: _spread(found.mean(axis=2)) for name, found in values.items()},
        classes={
            label: {name: _spread(found[..., i]) for name, found in values.items()}
            for i, label in enumerate(next(iter(first.cases.values())))
        },
        tests=tests,
    )


def _spread(values: NDArray[np.float64]) -> Spread:
    """Spread of values (seeds, cases)."""
    seeds, cases = values.shape
    return Spread(
        mean=float(values.mean()),
        over_cases=float(values.mean(axis=0).std(ddof=1)) if cases > 1 else None,
        over_seeds=float(values.mean(axis=1).std(ddof=1)) if seeds > 1 else None,
    )


def _tests(methods: dict[str, list[MethodResult]]) -> dict[str, dict[str, Paired]]:
    """Paired tests of a group by method and metric."""
    found: dict[str, dict[str, Paired]] = defaultdict(dict)
    reference = {run.seed: run for run in methods.get(REFERENCE, ())}
    pairs = {
        method: [(run, reference[run.seed]) for run in runs if run.seed in reference]
        for method, runs in methods.items()
        if method != REFERENCE
    }
    for metric in TESTED:
        differences = {}
        for method, both in pairs.items():
            if both:
                runs, references = zip(*both, strict=True)
                change = scores(runs, metric) - scores(references, metric)
                differences[method] = change.mean(axis=(0, 2))
        raw = [_wilcoxon(values) for values in differences.values()]
        for (method, values), p, p_holm in zip(
            differences.items(), raw, holm(raw), strict=True
        ):
            found[method][metric] = Paired(
                float(values.mean()), p, p_holm, len(values), len(pairs[method])
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

    scipy corrects the false discovery rate only.
    """
    order = np.argsort(p_values)
    corrected = np.empty(len(p_values))
    factors = np.arange(len(p_values), 0, -1)
    steps = np.minimum(1.0, np.array(p_values)[order] * factors)
    corrected[order] = np.maximum.accumulate(steps)
    return [float(value) for value in corrected]
