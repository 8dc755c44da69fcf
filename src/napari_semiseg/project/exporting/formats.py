"""Formats that masks are exported to, a case at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.io.registry import Author, Mask, writable
from napari_semiseg.project.exporting import bids, nnunet

if TYPE_CHECKING:
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run


LAYOUTS = {layout.NAME: layout for layout in (nnunet, bids)}
"""Modules that write whole data sets: ``write_case``, then ``write_dataset``."""


def export_formats() -> dict[str, str]:
    """Names of formats and data set layouts, and what each is called for a person."""
    titles = {name: entry.title for name, entry in writable().items()}
    return titles | {name: layout.TITLE for name, layout in LAYOUTS.items()}


def ending(fmt: str) -> str:
    """How the names of a format's files end."""
    return LAYOUTS[fmt].ENDING if fmt in LAYOUTS else writable()[fmt].endings[0]


def write_case(
    fmt: str,
    project: Project,
    case: Case,
    labels: NDArray[np.uint8],
    run: Run | None,
    folder: Path,
) -> list[Path]:
    """Write the mask (Z, Y, X) of a case; all of its files or none.

    Parameters
    ----------
    fmt : str
        One of `export_formats`.
    run : Run, optional
        Whose prediction the mask is.

    Raises
    ------
    ImageError
        This case cannot be written in this format.
    """
    if fmt in LAYOUTS:
        return [LAYOUTS[fmt].write_case(project, case, labels, folder)]
    author = Author(run.method or "", run.id) if run is not None else Author()
    classes = project.labels.classes
    chosen = writable()[fmt]
    assert chosen.write is not None
    return chosen.write(
        folder / f"{case.id}{ending(fmt)}",
        Mask(labels, case.geometry, case.image, classes, author),
    )
