"""Match mask files with cases, and attach them as labels."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.core.text import listed
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.dicom.structures import series_uid
from napari_semiseg.io.images import case_id, find_images
from napari_semiseg.io.masks import resample_labels
from napari_semiseg.io.structures import (
    find_structures,
    is_structures,
    open_structures,
)
from napari_semiseg.project.cases.labels import check_mask, read_mask
from napari_semiseg.project.discovery.add_images import AddReport
from napari_semiseg.project.discovery.dataset_layouts import (
    CHANNEL,
    bids_mask_of,
    masks_in,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_semiseg.project.cases.case import Case, CaseRef
    from napari_semiseg.project.cases.channels import Channel
    from napari_semiseg.project.cases.history import LabelDetails
    from napari_semiseg.project.project import Project


MASK_ENDING = re.compile(
    r"(.+)[_\-. ](?:seg|mask|label|labels|segmentation|roi|gt)", re.IGNORECASE
)
"""Name of a file that is the mask of another one."""


UNACCEPTED = "edits that were not accepted"


def mask_stem(name: str) -> str | None:
    """Whose mask a file is by its own name: ``a`` of ``a_seg``; None elsewhere."""
    match = MASK_ENDING.fullmatch(name)
    return match[1] if match else None


class MaskFolder:
    """Mask files of a folder, found by case id.

    Parameters
    ----------
    folder : Path
        Searched with its subfolders; of a data set in a known layout only the masks.
    volumes : bool
        Without, only files of named structures count, which cannot be images.

    Attributes
    ----------
    paths : list of Path
        All masks.
    structures : list of Path
        Those of them that name their structures: RTSTRUCT, SEG, ``.seg.nrrd``.

    Raises
    ------
    ProjectError
        There is no such folder, or no mask in it.
    """

    def __init__(self, folder: str | Path, *, volumes: bool = True) -> None:
        self.folder = Path(folder)
        if not self.folder.exists():
            raise ProjectError(
                f"{folder}: expected a folder of masks, found nothing there; check "
                "the path"
            )
        self.structures = find_structures(self.folder)
        alone = not volumes or self.structures == [self.folder]
        self.paths = sorted([*([] if alone else self._volumes()), *self.structures])
        if not self.paths:
            raise ProjectError(
                f"{folder}: expected masks (NIfTI, NRRD, MetaImage, RTSTRUCT, SEG), "
                "found none; check the folder"
            )
        self._named: dict[str, list[Path]] = {}
        self._ended: dict[str, list[Path]] = {}
        for path in self.paths:
            name, parent = case_id(path), path.parent.name
            if (stem := mask_stem(name)) is not None:
                self._ended.setdefault(stem, []).append(path)
            keys = {name, f"{parent}_{name}"}
            # Structure sets have names like RS.dcm in the folder of their patient.
            for key in keys | ({parent} if path in self.structures else set()):
                self._named.setdefault(key, []).append(path)

    def _volumes(self) -> list[Path]:
        known = masks_in(self.folder)
        found = find_images(self.folder) if known is None else known
        # Images of a patient lie beside structure sets and are no masks.
        series = {path for path in found if self.structures and path.is_dir()}
        return [path for path in found if path not in {*series, *self.structures}]

    def find(self, case: str) -> Path | None:
        """Mask of a case, or None; ``a_seg`` is one of ``a``, rather than ``a`` itself.

        Refuses where two files have its name.
        """
        for name in (case, CHANNEL.sub("", case)):
            for known in (self._ended, self._named):
                if name in known:
                    return self._single(case, known[name])
        by_entities = [path for path in self.paths if bids_mask_of(case, case_id(path))]
        return self._single(case, by_entities) if by_entities else None

    def _single(self, case: str, found: list[Path]) -> Path:
        if len(found) > 1:
            raise ProjectError(
                f"expected one mask of case '{case}', found {found[0]} and "
                f"{found[1]}; keep one of them in {self.folder}"
            )
        return found[0]

    def pair(self, cases: Iterable[str]) -> dict[str, Path]:
        """Masks of those cases that have one; refuses a mask that fits two cases."""
        found: dict[str, Path] = {}
        owners: dict[Path, str] = {}
        for case in cases:
            path = self.find(case)
            if path is None:
                continue
            other = owners.setdefault(path, case)
            if other != case:
                raise ProjectError(
                    f"{path}: expected the mask of one case, found that '{other}' and "
                    f"'{case}' both fit its name; choose with --cases, or rename it"
                )
            found[case] = path
        return found

    def pair_images(self, cases: Mapping[str, Iterable[Channel]]) -> dict[str, Path]:
        """Masks of the images of those cases that have one, by reference or name."""
        found = self._referenced(cases)
        return found | self.pair(case for case in cases if case not in found)

    def _referenced(self, cases: Mapping[str, Iterable[Channel]]) -> dict[str, Path]:
        """Structure sets by the case whose DICOM series they were made on."""
        if not self.structures:
            return {}
        uids = {
            case: {series_uid(one.image) for one in channels if one.image.exists()}
            for case, channels in cases.items()
        }
        found: dict[str, Path] = {}
        for path in self.structures:
            series = open_structures(path).series
            for case in (name for name, own in uids.items() if own & series):
                if case in found:
                    raise ProjectError(
                        f"expected one structure set of case '{case}', found "
                        f"{found[case]} and {path}; keep one of them in {self.folder}"
                    )
                found[case] = path
        return found

    def require(self, cases: Iterable[str]) -> dict[str, Path]:
        """Masks of all the cases; as `pair` and `check_all`."""
        ids = list(cases)
        found = self.pair(ids)
        self.check_all(ids, found)
        return found

    def check_all(self, cases: list[str], found: Mapping[str, Path]) -> None:
        """Refuse where a case has no mask, and name all that have none."""
        missing = [case for case in cases if case not in found]
        if missing:
            raise ProjectError(
                f"{self.folder}: expected masks of {len(cases)} cases, found none of "
                f"{listed(missing)}; add the masks or shorten the list"
            )


def attach(
    project: Project,
    folder: str | Path,
    cases: Collection[CaseRef] | None = None,
    *,
    structures: Mapping[str, int] | None = None,
    resample: bool = False,
    dry_run: bool = False,
) -> AddReport:
    """Make the masks of a folder the human labels of the cases of the same id.

    Structure sets and segmentations in DICOM go to the case whose series they refer
    to, else by name as well. Every mask is checked before the first is written.

    Parameters
    ----------
    folder : Path
        Masks, named like the cases; or a data set in a known layout.
    cases : collection of Case or str, optional
        What to label; by default all that have a mask.
    structures : mapping of str to int, optional
        Label value of structures in DICOM files by name; by default those with
        the name of a class.
    resample : bool
        Bring masks on another grid onto the image's, by nearest neighbours. Voxels
        that they do not reach are not annotated.
    dry_run : bool
        Only check, and report what would be labelled.

    Returns
    -------
    AddReport
        ``added``: ids labelled; ``paths``: their masks; ``skipped``: masks that belong
        to no case; ``notes``: where edits that were not accepted are kept.

    Raises
    ------
    SemisegError
        A listed id has no mask or is no case, no mask belongs to a case, or a mask
        cannot be a label. Nothing is changed then.
    """
    masks = MaskFolder(folder)
    chosen = project.cases() if cases is None else [project.case(c) for c in cases]
    pairs = masks.pair_images({case.id: case.channels for case in chosen})
    if cases is not None:
        masks.check_all([case.id for case in chosen], pairs)
        skipped = {}
    else:
        unused = sorted(set(masks.paths) - set(pairs.values()))
        skipped = {str(path): "no case has this name" for path in unused}
    if not pairs:
        raise ProjectError(
            f"{folder}: expected masks named like the cases, found none of these; add "
            "the images first, or rename the masks"
        )
    notes = attach_pairs(project, pairs, structures, resample=resample, dry_run=dry_run)
    return AddReport(added=sorted(pairs), skipped=skipped, paths=pairs, notes=notes)


def attach_pairs(
    project: Project,
    pairs: Mapping[str, Path],
    structures: Mapping[str, int] | None = None,
    *,
    resample: bool = False,
    dry_run: bool = False,
) -> dict[str, tuple[str, ...]]:
    """Make masks the human labels of cases, by id; as `attach`. Gives the notes."""

    def mask_of(case: Case) -> tuple[Path | NDArray[np.uint8], LabelDetails]:
        path = pairs[case.id]
        if is_structures(path):
            labels = read_mask(path, case.geometry, project.labels, structures)
            return labels, {"mask": str(path)}
        if resample:
            labels, moved = resample_labels(path, case.geometry, UNANNOTATED)
            if moved:
                project.labels.check(labels, str(path))
                return labels, {"mask": str(path), "resampled": "nearest"}
        return path, {"mask": str(path)}

    cases = [project.case(case) for case in pairs]
    for case in cases:
        check_mask(mask_of(case)[0], case, project.labels)
    if dry_run:
        drafts = [case.id for case in cases if case.has_draft]
        return {name: (f"{name}: {UNACCEPTED} will be kept",) for name in drafts}
    notes: dict[str, tuple[str, ...]] = {}
    for case in cases:
        labels, details = mask_of(case)
        replaced = project.set_label(case, labels, details=details).replaced
        if replaced is not None and replaced.draft is not None:
            kept = f"{UNACCEPTED} are kept as previous/{replaced.draft}"
            notes[case.id] = (f"{case.id}: {kept}; semiseg undo brings them back",)
    return notes
