"""Write the results as a page of Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from napari_semiseg.core.text import markdown_table, number
from napari_semiseg.experiments.benchmark.spec import REFERENCE

if TYPE_CHECKING:
    from napari_semiseg.experiments.benchmark.results import BenchmarkResults
    from napari_semiseg.experiments.benchmark.statistics import ResultRow, Spread

LEGEND = (
    "Scores are those of the last checkpoint, averaged over the classes: mean ± SD "
    "over the test cases (SD over seeds). An empty prediction of a structure that is "
    "there scores Dice 0 and the diagonal of the image. Minutes are those of training "
    "steps; peak memory is that of the training and predicting process, on a GPU that "
    "of its tensors. Unlabelled / labelled: norm of the gradients of the terms on "
    "unlabelled and on labelled crops, at the full weight of the ramp. "
    "p: Wilcoxon signed-rank test over the cases, paired with "
    f"`{REFERENCE}`, two-sided, Holm-corrected within each table."
)


def markdown(
    results: BenchmarkResults,
    rows: Sequence[ResultRow],
    figures: Sequence[tuple[str, str]],
) -> str:
    """Write the page, with the rows of `summarise` and figures as `draw` lists them."""
    parts = [f"# Benchmark on {results.config.data.name}", _about(results), LEGEND]
    for (labels, labelled, budget), group in groupby(
        rows, key=lambda row: (row.labels, row.labelled, row.budget)
    ):
        parts.append(f"## {labels} labelled ({labelled}), {budget}")
        members = list(group)
        parts.append(_scores(members))
        parts.append("Per class, and in voxels:")
        parts.append(_class_scores(members))
        if not any(row.method == REFERENCE for row in members):
            parts.append(f"Nothing to test against: no `{REFERENCE}` run yet.")
    parts += [f"![{text}]({path})" for path, text in figures]
    failed = [(run, run.error) for run in results.failed()]
    noted = [(run, note) for run in results.completed() for note in run.notes]
    for title, messages in (("Failed runs", failed), ("Notes", noted)):
        parts += [f"## {title}"] if messages else []
        parts += [
            f"- {run.method}, {run.labelled}, {run.budget}, seed {run.seed}: {text}"
            for run, text in messages
        ]
    return "\n\n".join(parts) + "\n"


def _about(results: BenchmarkResults) -> str:
    config, machine = results.config, results.machine
    facts = [
        f"test cases: {len(config.test)}",
        f"classes: {', '.join(config.classes)}",
        f"cases on the unlabelled list: {len(config.unlabelled)}",
    ]
    if config.settings:
        pairs = (f"{key}={value}" for key, value in config.settings.items())
        facts.append(f"settings: {', '.join(pairs)}")
    devices = {run.device for run in results.completed() if run.device}
    if machine.processor:
        facts.append(
            f"{machine.processor}, {machine.cores} cores, "
            f"{machine.memory_gib} GiB, trained on {', '.join(sorted(devices))}"
        )
    versions = ", ".join(f"{name} {text}" for name, text in results.versions.items())
    if versions:
        facts.append(f"{versions}, Python {machine.python}")
    return "\n".join(f"- {fact}" for fact in facts)


def _scores(rows: Sequence[ResultRow]) -> str:
    """Table of a group, with a column for GPU memory where a GPU was used."""
    gpu = any(row.peak_gpu_mb for row in rows)
    return _table(
        {
            "method": f"`{row.method}`",
            "Dice": _spread(row.metrics["dice"], 3),
            "Jaccard": _spread(row.metrics["jaccard"], 3),
            "HD95 mm": _spread(row.metrics["hd95_mm"], 2),
            "ASSD mm": _spread(row.metrics["assd_mm"], 2),
            "seeds": str(len(row.seeds))
            + (f" of {len(row.seeds) + row.failed}" if row.failed else ""),
            "minutes": f"{row.minutes:.1f}",
            "steps": f"{row.steps:.0f}",
            "peak MB": number(row.peak_memory_mb, ".0f"),
            **({"peak GPU MB": number(row.peak_gpu_mb, ".0f")} if gpu else {}),
            "parameters": "-"
            if row.parameters is None
            else f"{row.parameters / 1e6:.2f} M",
            "unlabelled / labelled": number(row.gradient_ratio, ".2g"),
            f"Dice - {REFERENCE}": number(_tested(row, "dice", "difference"), "+.3f"),
            "p Dice": _p(_tested(row, "dice", "p_holm")),
            "p HD95": _p(_tested(row, "hd95_mm", "p_holm")),
        }
        for row in rows
    )


def _class_scores(rows: Sequence[ResultRow]) -> str:
    return _table(
        {
            "method": f"`{row.method}`",
            "class": name,
            "Dice": _spread(metrics["dice"], 3),
            "Jaccard": _spread(metrics["jaccard"], 3),
            "HD95 mm": _spread(metrics["hd95_mm"], 2),
            "HD95 voxels": _spread(metrics["hd95_voxel"], 2),
            "ASSD mm": _spread(metrics["assd_mm"], 2),
            "ASSD voxels": _spread(metrics["asd_voxel"], 2),
        }
        for row in rows
        for name, metrics in row.classes.items()
    )


def _spread(spread: Spread, digits: int) -> str:
    text = f"{spread.mean:.{digits}f}"
    if spread.over_cases is not None:
        text += f" ± {spread.over_cases:.{digits}f}"
    if spread.over_seeds is not None:
        text += f" ({spread.over_seeds:.{digits}f})"
    return text


def _tested(row: ResultRow, metric: str, key: str) -> float | None:
    return getattr(row.tests.get(metric), key, None)


def _p(value: float | None) -> str:
    return "< 0.001" if value is not None and value < 0.001 else number(value, ".3f")


def _table(rows: Iterable[Mapping[str, str]]) -> str:
    """Table with the keys as heads."""
    found = list(rows)
    return markdown_table(list(found[0]), (row.values() for row in found))
