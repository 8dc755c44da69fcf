from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wilcoxon

from napari_semiseg.experiments.benchmark.results import (
    BenchmarkResults,
    MethodResult,
)
from napari_semiseg.experiments.benchmark.spec import Benchmark
from napari_semiseg.experiments.benchmark.statistics import holm, summarise
from napari_semiseg.experiments.benchmark.table import markdown
from napari_semiseg.imaging.metrics import Metrics

TEST = tuple(f"case_{number}" for number in range(8))


def metrics(dice: float) -> Metrics:
    return Metrics(
        dice=dice,
        jaccard=dice / (2 - dice),
        hd95_mm=10 * (1 - dice),
        assd_mm=1 - dice,
        hd95_voxel=5 * (1 - dice),
        asd_voxel=1 - dice,
        volume_ml=1.0,
        reference_ml=1.0,
    )


def result(method: str, dice, seed: int = 0, **changes) -> MethodResult:
    """Two classes: the second one is 0.1 worse than the first."""
    values = {
        "labelled": "four",
        "labels": 4,
        "method": method,
        "budget": "20 min",
        "minutes": 20.0,
        "seed": seed,
        "run": f"{method}_{seed}",
        "status": "completed",
        "steps": 100,
        "seconds": 1200.0,
        "peak_memory_mb": 500.0 + seed,
        "parameters": 2_000_000,
        "cases": {
            name: {"a": metrics(value), "b": metrics(value - 0.1)}
            for name, value in zip(TEST, dice, strict=True)
        },
    }
    return MethodResult(**values | changes)


def gathered(*runs: MethodResult) -> BenchmarkResults:
    return BenchmarkResults(
        config=Benchmark(
            data="/data/Balls",
            classes={"a": 1, "b": 2},
            labelled={"four": ("x",)},
            unlabelled=(),
            test=TEST,
            device="auto",
            settings={},
            methods=(),
            budgets=(),
            seeds=(),
        ),
        runs=runs,
    )


BASE = np.array([0.80, 0.70, 0.75, 0.82, 0.66, 0.78, 0.71, 0.69])
GAIN = np.array([0.01, 0.05, 0.02, 0.03, 0.06, -0.004, 0.04, 0.07])


def test_holm_is_stepwise_and_monotone() -> None:
    # Worked by hand: 4 x 0.005, 3 x 0.011, 2 x 0.02 and 1 x 0.04, never falling.
    assert holm([0.02, 0.005, 0.04, 0.011]) == pytest.approx([0.04, 0.02, 0.04, 0.033])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_means_and_spreads_over_classes_cases_and_seeds() -> None:
    rows = summarise(gathered(result("m", BASE), result("m", BASE + 0.02, seed=1)))
    (row,) = rows
    dice = row.metrics["dice"]
    assert dice.mean == pytest.approx(BASE.mean() + 0.01 - 0.05)
    assert dice.over_cases == pytest.approx(BASE.std(ddof=1))
    assert dice.over_seeds == pytest.approx(np.std([0, 0.02], ddof=1))
    assert row.classes["a"]["dice"].mean == pytest.approx(BASE.mean() + 0.01)
    assert row.classes["b"]["dice"].mean == pytest.approx(BASE.mean() - 0.09)
    assert (row.seeds, row.minutes, row.peak_memory_mb) == ((0, 1), 20.0, 501.0)
    assert row.tests == {}


def test_one_case_and_one_seed_have_no_spread() -> None:
    one = result("m", BASE)
    one = one.model_copy(update={"cases": {"case_0": one.cases["case_0"]}})
    dice = summarise(gathered(one))[0].metrics["dice"]
    assert (dice.over_cases, dice.over_seeds) == (None, None)


def test_methods_are_tested_against_supervised_case_by_case() -> None:
    rows = summarise(
        gathered(
            result("supervised", BASE),
            result("better", BASE + GAIN),
            result("same", BASE),
        )
    )
    assert rows[0].method == "better"
    tests = {row.method: row.tests for row in rows}
    p = wilcoxon(GAIN, zero_method="pratt").pvalue
    paired = tests["better"]["dice"]
    assert paired.p == pytest.approx(p)
    assert paired.p_holm == pytest.approx(2 * p)
    assert paired.difference == pytest.approx(GAIN.mean())
    assert (paired.cases, paired.seeds) == (8, 1)
    assert tests["better"]["hd95_mm"].difference == pytest.approx(-10 * GAIN.mean())
    assert tests["same"]["dice"].p == 1.0
    assert tests["supervised"] == {}


def test_only_seeds_that_both_have_are_compared() -> None:
    rows = summarise(
        gathered(
            result("supervised", BASE, seed=1),
            result("better", BASE - 0.3, seed=0),
            result("better", BASE + GAIN, seed=1),
        )
    )
    paired = next(row for row in rows if row.method == "better").tests["dice"]
    assert paired.difference == pytest.approx(GAIN.mean())
    assert paired.seeds == 1


def test_groups_are_tested_apart_and_failures_are_counted() -> None:
    rows = summarise(
        gathered(
            result("supervised", BASE),
            result("better", BASE + GAIN, labelled="eight", labels=8),
            result("better", BASE, minutes=5.0, budget="5 min"),
            result("supervised", BASE, 1, status="failed", error="no", cases={}),
        )
    )
    found = [(row.labels, row.budget, row.method, row.failed) for row in rows]
    assert found == [
        (4, "5 min", "better", 0),
        (4, "20 min", "supervised", 1),
        (8, "20 min", "better", 0),
    ]
    assert all(row.tests == {} for row in rows)


def test_memory_of_a_gpu_is_a_column_only_where_one_was_used():
    dice = (0.9, 0.8, 0.7, 0.85) * 2
    plain = gathered(result("supervised", dice), result("cps", dice))
    assert "GPU MB" not in markdown(plain, summarise(plain), [])
    runs = [
        result("supervised", dice, seed, peak_gpu_mb=1000.0 * (seed + 1))
        for seed in (0, 1)
    ]
    mixed = gathered(*runs, result("cps", dice))
    lines = markdown(mixed, summarise(mixed), []).splitlines()
    head = next(line for line in lines if "peak GPU MB" in line).split("|")
    cells = {
        line.split("|")[1].strip(): line.split("|")[head.index(" peak GPU MB ")].strip()
        for line in lines
        if line.startswith(("| `supervised`", "| `cps`"))
        and line.count("|") == len(head) - 1
    }
    assert cells == {"`supervised`": "2000", "`cps`": "-"}
