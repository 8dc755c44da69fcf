"""The results as a page of Markdown tables."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from napari_semiseg.experiments.benchmark.spec import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_semiseg.experiments.benchmark.results import Results
    from napari_semiseg.experiments.benchmark.statistics import Row, Spread

HEADS = (
    "method",
    "Dice",
    "Jaccard",
    "HD95 mm",
    "ASSD mm",
    "seeds",
    "minutes",
    "steps",
    "peak MB",
    "parameters",
    "Dice - supervised",
    "p Dice",
    "p HD95",
)
CLASS_HEADS = (
    "method",
    "class",
    "Dice",
    "Jaccard",
    "HD95 mm",
    "HD95 voxels",
    "ASSD mm",
    "ASSD voxels",
)
LEGEND = (
    "Scores are those of the last checkpoint, averaged over the classes: mean ± SD "
    "over the test cases (SD over seeds). An empty prediction of a structure that is "
    "there scores Dice 0 and the diagonal of the image. Minutes are those of training "
    "steps; peak memory is that of the training and predicting process, on a GPU that "
    "of its tensors. p: Wilcoxon signed-rank test over the cases, paired with "
    f"`{REFERENCE}`, two-sided, Holm-corrected within each table."
)


def markdown(
    results: Results, rows: Sequence[Row], figures: Sequence[tuple[str, str]]
) -> str:
    """Write the page.

    Parameters
    ----------
    results : Results
        All runs.
    rows : sequence of Row
        From `napari_semiseg.experiments.benchmark.statistics.summarise`.
    figures : sequence of (str, str)
        Path relative to the page, and what the figure shows.

    Returns
    -------
    str
        Markdown, with a line break at its end.
    """
    name = results.config.data.rstrip("/\\").replace("\\", "/").split("/")[-1]
    parts = [f"# Benchmark on {name}", _about(results), LEGEND]
    for (labels, labelled, budget), group in _groups(rows):
        parts.append(f"## {labels} labelled ({labelled}), {budget}")
        members = list(group)
        parts.append(_scores(members))
        parts.append("Per class, and in voxels:")
        parts.append(_table(CLASS_HEADS, _class_rows(members)))
        if not any(row.method == REFERENCE for row in members):
            parts.append(f"Nothing to test against: no `{REFERENCE}` run yet.")
    parts += [f"![{text}]({path})" for path, text in figures]
    failed = [(run, run.error) for run in results.failed()]
    noted = [(run, note) for run in results.completed() for note in run.notes]
    for title, said in (("Failed runs", failed), ("Notes", noted)):
        parts += [f"## {title}"] if said else []
        parts += [
            f"- {run.method}, {run.labelled}, {run.budget}, seed {run.seed}: {text}"
            for run, text in said
        ]
    return "\n\n".join(parts) + "\n"


def _groups(
    rows: Sequence[Row],
) -> Iterable[tuple[tuple[int, str, str], Iterable[Row]]]:
    return groupby(rows, key=lambda row: (row.labels, row.labelled, row.budget))


def _about(results: Results) -> str:
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
    if machine:
        facts.append(
            f"{machine.get('processor')}, {machine.get('cores')} cores, "
            f"{machine.get('memory_gib')} GiB, trained on {', '.join(sorted(devices))}"
        )
    versions = ", ".join(f"{name} {text}" for name, text in results.versions.items())
    if versions:
        facts.append(f"{versions}, Python {machine.get('python')}")
    return "\n".join(f"- {fact}" for fact in facts)


def _scores(rows: Sequence[Row]) -> str:
    """The table of a group; with a column more where a GPU was used."""
    heads, cells = list(HEADS), [_cells(row) for row in rows]
    if any(row.peak_gpu_mb for row in rows):
        place = heads.index("peak MB") + 1
        heads.insert(place, "peak GPU MB")
        for line, row in zip(cells, rows, strict=True):
            line.insert(place, f"{row.peak_gpu_mb:.0f}" if row.peak_gpu_mb else "-")
    return _table(heads, cells)


def _cells(row: Row) -> list[str]:
    seeds = f"{len(row.seeds)} of {len(row.seeds) + row.failed}"
    dice, hd95 = row.tests.get("dice"), row.tests.get("hd95_mm")
    return [
        f"`{row.method}`",
        _number(row.metrics["dice"], 3),
        _number(row.metrics["jaccard"], 3),
        _number(row.metrics["hd95_mm"], 2),
        _number(row.metrics["assd_mm"], 2),
        seeds if row.failed else str(len(row.seeds)),
        f"{row.minutes:.1f}",
        f"{row.steps:.0f}",
        "-" if row.peak_memory_mb is None else f"{row.peak_memory_mb:.0f}",
        "-" if row.parameters is None else f"{row.parameters / 1e6:.2f} M",
        "-" if dice is None else f"{dice.difference:+.3f}",
        "-" if dice is None else _p(dice.p_holm),
        "-" if hd95 is None else _p(hd95.p_holm),
    ]


def _class_rows(rows: Iterable[Row]) -> Iterable[list[str]]:
    for row in rows:
        for name, metrics in row.classes.items():
            keys = ("hd95_mm", "hd95_voxel", "assd_mm", "asd_voxel")
            yield [
                f"`{row.method}`",
                name,
                _number(metrics["dice"], 3),
                _number(metrics["jaccard"], 3),
                *(_number(metrics[key], 2) for key in keys),
            ]


def _number(spread: Spread, digits: int) -> str:
    text = f"{spread.mean:.{digits}f}"
    if spread.over_cases is not None:
        text += f" ± {spread.over_cases:.{digits}f}"
    if spread.over_seeds is not None:
        text += f" ({spread.over_seeds:.{digits}f})"
    return text


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(_escaped(line))} |" for line in lines)


def _escaped(cells: Iterable[str]) -> Iterable[str]:
    return (cell.replace("|", "\\|") for cell in cells)
