"""Which mask file belongs to which case."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.errors import ProjectError
from napari_semiseg.io.images import case_id, find_images
from napari_semiseg.project import labelling
from napari_semiseg.project.adding import AddReport

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from napari_semiseg.project.store import Project

CHANNEL = "_0000"
"""nnU-Net's ending of an image's name, which the name of its mask does not have."""


class MaskFolder:
    """Mask files of a folder, found by case id.

    Parameters
    ----------
    folder : Path
        Searched with its subfolders.

    Raises
    ------
    ProjectError
        There is no such folder, or no mask in it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.exists():
            raise ProjectError(
                f"{folder}: expected a folder of masks, found nothing there; check "
                "the path"
            )
        self.paths = find_images(self.folder)
        if not self.paths:
            raise ProjectError(
                f"{folder}: expected masks (NIfTI, NRRD, MetaImage), found none; check "
                "the folder"
            )
        self._named: dict[str, list[Path]] = {}
        for path in self.paths:
            name = case_id(path)
            for key in (name, f"{path.parent.name}_{name}"):
                self._named.setdefault(key, []).append(path)

    def find(self, case: str) -> Path | None:
        """Mask of a case, or None.

        Raises
        ------
        ProjectError
            Two files bear its name.
        """
        for name in (case, case.removesuffix(CHANNEL)):
            found = self._named.get(name, [])
            if len(found) > 1:
                raise ProjectError(
                    f"expected one mask of case '{case}', found {found[0]} and "
                    f"{found[1]}; keep one of them in {self.folder}"
                )
            if found:
                return found[0]
        return None

    def pair(self, cases: Iterable[str]) -> dict[str, Path]:
        """Masks of those cases that have one."""
        found = {case: self.find(case) for case in cases}
        return {case: path for case, path in found.items() if path is not None}

    def require(self, cases: Iterable[str]) -> dict[str, Path]:
        """Masks of all the cases.

        Raises
        ------
        ProjectError
            A case has none; names those that have none.
        """
        wanted = list(cases)
        found = self.pair(wanted)
        missing = [case for case in wanted if case not in found]
        if missing:
            raise ProjectError(
                f"{self.folder}: expected masks of {len(wanted)} cases, found none of "
                f"{listed(missing)}; add the masks or shorten the list"
            )
        return found


def attach(
    project: Project, folder: str | Path, cases: Collection[str] | None = None
) -> AddReport:
    """Make the masks of a folder the human labels of the cases of the same id.

    Every mask is checked before the first is written.

    Parameters
    ----------
    project : Project
        The project.
    folder : Path
        Masks, named like the cases.
    cases : collection of str, optional
        Ids to label; by default all that have a mask.

    Returns
    -------
    AddReport
        ``added``: ids labelled; ``skipped``: masks that belong to no case.

    Raises
    ------
    SemisegError
        A listed id has no mask or is no case, no mask belongs to a case, or a mask
        cannot be a label. Nothing is changed then.
    """
    masks = MaskFolder(folder)
    if cases is not None:
        pairs = masks.require(project.case(case).id for case in cases)
        skipped = {}
    else:
        pairs = masks.pair(case.id for case in project.cases())
        unused = sorted(set(masks.paths) - set(pairs.values()))
        skipped = {str(path): "no case has this name" for path in unused}
    if not pairs:
        raise ProjectError(
            f"{folder}: expected masks named like the cases, found none of these; add "
            "the images first, or rename the masks"
        )
    for case, path in pairs.items():
        labelling.checked(path, project.case(case), project.labels)
    for case, path in pairs.items():
        project.set_label(case, path, details={"mask": str(path)})
    return AddReport(added=sorted(pairs), skipped=skipped)


def listed(names: list[str], most: int = 5) -> str:
    """Write names as words, only the first few of many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
