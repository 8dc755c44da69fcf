"""Tables and figures of what is there so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.experiments.benchmark import figures
from napari_semiseg.experiments.benchmark.runner import PROJECTS
from napari_semiseg.experiments.benchmark.statistics import summarise
from napari_semiseg.experiments.benchmark.table import markdown
from napari_semiseg.io.atomic import write_text

if TYPE_CHECKING:
    from napari_semiseg.experiments.benchmark.results import Results
    from napari_semiseg.experiments.benchmark.runner import Bench
    from napari_semiseg.experiments.benchmark.statistics import Row

PAGE = "results.md"


def publish(bench: Bench, results: Results) -> list[Row]:
    """Write ``results.md`` and the figures, and give the rows of the tables.

    Raises
    ------
    SemisegError
        The folder cannot be written, or a prediction is gone.
    """
    rows = summarise(results)
    drawn = figures.draw(bench.out, bench.dataset, results, rows, bench.out / PROJECTS)
    write_text(bench.out / PAGE, markdown(results, rows, drawn))
    return rows
