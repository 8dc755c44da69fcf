"""The whole loop on a cohort of virtual patients that needs no network."""

from __future__ import annotations

from pathlib import Path

from napari_semiseg.errors import ProjectError
from napari_semiseg.project.project import Project
from napari_semiseg.samples.virtual_patients import LABEL, Cohort, make_cohort

__all__ = ["Cohort", "make_cohort", "prepare"]


def prepare(folder: Path | str, *, n: int = 12) -> tuple[Project, Cohort]:
    """Make the demo's cohort and a project in which three cases are labelled.

    A second call on the same folder finds what is there, with the masks and runs that
    were added since.

    Parameters
    ----------
    folder : Path
        Gets ``cohort/`` (images and reference masks) and ``project/``.
    n : int
        Number of virtual patients.

    Raises
    ------
    SemisegError
        nilearn is not installed, or the folder holds something else.
    """
    folder = Path(folder)
    root = folder / "project"
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "cohort").is_dir():
        raise ProjectError(
            f"{folder}: expected a new folder or one of an earlier demo, found other "
            f"files; give the demo another folder"
        )
    cohort = make_cohort(folder / "cohort", n=n)
    if (root / "project.toml").exists():
        project = Project.open(root)
    else:
        project = Project.create(root, labels={LABEL: 1}, name="semiseg demo")
    known = {case.id: case for case in project.cases()}
    project.add(
        *(
            image
            for name, image in zip(cohort.ids, cohort.images, strict=True)
            if name not in known
        )
    )
    for name, mask in zip(cohort.ids, cohort.masks, strict=True):
        if name in cohort.labelled and not project.case(name).has_label:
            project.set_label(name, mask, by="semiseg demo")
    return project, cohort
