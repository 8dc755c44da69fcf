"""Formats that masks are exported to, a case at a time."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.errors import ImageError
from napari_semiseg.io.dicom.segmentation import Author, write_segmentation
from napari_semiseg.io.masks import write_labels
from napari_semiseg.io.surface import write_surface
from napari_semiseg.project.exporting import nnunet

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

VOXELS = {"nifti": ".nii.gz", "nrrd": ".nrrd", "mha": ".mha"}
SURFACES = ("stl", "obj", "ply")
FORMATS = (*VOXELS, "nnunet", "dicom-seg", *SURFACES)


def write_case(
    fmt: str,
    project: Project,
    case: Case,
    labels: NDArray[np.uint8],
    run: Run | None,
    folder: Path,
) -> list[Path]:
    """Write the mask of a case; all of its files or none.

    Parameters
    ----------
    fmt : str
        One of `FORMATS`.
    project : Project
    case : Case
    labels : ndarray (Z, Y, X), uint8
    run : Run, optional
        Whose prediction the mask is.
    folder : Path

    Returns
    -------
    list of Path
        The masks.

    Raises
    ------
    ImageError
        This case cannot be written in this format.
    """
    if fmt == "nnunet":
        return [nnunet.write_case(project, case, labels, folder)]
    if fmt in SURFACES:
        return _write_surfaces(fmt, project, case, labels, folder)
    if fmt == "dicom-seg":
        path = folder / f"{case.id}.dcm"
        author = Author(
            None if run is None else run.config.method, run.id if run else ""
        )
        write_segmentation(
            path, labels, case.geometry, case.image, project.labels.classes, author
        )
    else:
        path = folder / f"{case.id}{VOXELS[fmt]}"
        write_labels(path, labels, case.geometry, case.image)
    return [path]


def _write_surfaces(
    fmt: str, project: Project, case: Case, labels: NDArray[np.uint8], folder: Path
) -> list[Path]:
    if (labels == UNANNOTATED).any():
        raise ImageError(
            "expected a mask annotated everywhere, found voxels that are not, so that "
            "its surface is unknown; complete it or export to NIfTI"
        )
    written: list[Path] = []
    try:
        for item in project.labels:
            if (labels == item.value).any():
                name = re.sub(r"\W+", "_", item.name)
                path = folder / f"{case.id}_{item.value}_{name}.{fmt}"
                written.append(path)
                write_surface(path, labels == item.value, case.geometry)
    except Exception:
        for path in written:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise
    if not written:
        raise ImageError("expected a structure with a surface, found an empty mask")
    return written
