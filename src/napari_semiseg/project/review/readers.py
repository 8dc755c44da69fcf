"""Keep the masks of further readers, compare them with the label, combine them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.boxes import bounding_box, others
from napari_semiseg.core.cancellation import NEVER, CancellationToken
from napari_semiseg.core.labels import BACKGROUND, UNANNOTATED, is_class
from napari_semiseg.core.prediction import SliceScore
from napari_semiseg.core.text import with_version
from napari_semiseg.errors import ConfigError, ImageError, ProjectError
from napari_semiseg.imaging.metrics import Metrics, evaluate_labels
from napari_semiseg.io.masks import read_labels, write_labels
from napari_semiseg.project.cases.history import SecondRead
from napari_semiseg.project.cases.labels import check_mask
from napari_semiseg.project.cases.references import FileFacts
from napari_semiseg.project.importing.match_masks import MaskFolder
from napari_semiseg.project.importing.propose import ProposeReport, propose_from

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.project.cases.case import Case, CaseRef
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

LABEL = "label"
"""Reader whose mask is the label of the case."""
NAME = re.compile(r"\w[\w .-]{0,62}\w|\w")
MARGIN = 3
"""Voxels of background around all masks that STAPLE takes into account."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well the readers of a case agree.

    Attributes
    ----------
    case : str
        Its id.
    pairs : dict
        Two readers to class name to `Metrics`. The reader `LABEL` is the label.
    slices : tuple of SliceScore
        Where they differ, in the plane with the finest pixels, the largest area first.
        The score is that area over the largest cross-section of what any of them drew.
    """

    case: str
    pairs: dict[tuple[str, str], dict[str, Metrics]]
    slices: tuple[SliceScore, ...]


def add_reader(
    project: Project,
    name: str,
    masks: str | Path,
    cases: Collection[CaseRef] | None = None,
) -> list[str]:
    """Store the masks of a further reader beside the labels, which stay as they are.

    Parameters
    ----------
    name : str
        Of the reader; a mask of the same reader and case is replaced.
    masks : Path
        Folder of masks, named like the cases, with the classes of the project.
    cases : collection of Case or str, optional
        By default all that have a mask.

    Returns
    -------
    list of str
        Ids of the cases.

    Raises
    ------
    SemisegError
        The name cannot be that of a file, no mask belongs to a case, a listed case has
        none, or a mask does not fit. Nothing is stored then.
    """
    if not NAME.fullmatch(name) or name.casefold() == LABEL:
        raise ConfigError(
            f"expected the name of a reader of letters, digits, spaces, dots and "
            f"dashes, other than '{LABEL}', found {name!r}; choose another"
        )
    folder = MaskFolder(masks)
    chosen = [project.case(case) for case in cases or project.cases()]
    ids = [case.id for case in chosen]
    pairs = folder.require(ids) if cases is not None else folder.pair(ids)
    if not pairs:
        raise ProjectError(
            f"{masks}: expected masks named like the cases, found none of these; "
            "rename them"
        )
    chosen = [case for case in chosen if case.id in pairs]
    for case in chosen:
        check_mask(pairs[case.id], case, project.labels)
    for case in chosen:
        labels = check_mask(pairs[case.id], case, project.labels)
        with project.changing(case) as now:
            write_labels(now.folder.reader(name), labels, now.geometry, now.image)
            project.note(now, SecondRead(reader=name, mask=str(pairs[case.id])))
    return [case.id for case in chosen]


def compare_readers(
    project: Project,
    cases: Collection[CaseRef] | None = None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Agreement]:
    """Compare the masks of all readers of each case, two by two.

    Voxels that one of the two has not annotated do not count.

    Parameters
    ----------
    cases : collection of Case or str, optional
        By default all with several readers.
    progress : callable
        Called with the number of cases done, and of all of them.

    Raises
    ------
    ProjectError
        There is no such case, or a listed one has a single reader.
    """
    found, chosen = [], _several(project, cases)
    for done, (case, paths) in enumerate(chosen, start=1):
        masks = _read(paths, case)
        pairs = {}
        for one, other in combinations(masks, 2):
            reference = np.where(
                masks[one] == UNANNOTATED, np.uint8(UNANNOTATED), masks[other]
            )
            pairs[one, other] = evaluate_labels(
                masks[one], reference, case.geometry, project.labels
            )
        found.append(Agreement(case.id, pairs, disagreements(case)))
        progress(done, len(chosen))
    return found


def combine_readers(
    project: Project,
    cases: Collection[CaseRef] | None = None,
    *,
    cancellation: CancellationToken = NEVER,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ProposeReport:
    """Propose the consensus of all readers of each case by STAPLE; labels stay.

    STAPLE (Warfield et al., IEEE TMI 2004; for several classes Rohlfing et al., IPMI
    2003) weighs each reader by the errors that it finds with the consensus, in turn.
    It sees the box around all masks: background far away would make every reader look
    right. Of two classes that are as likely the one of the first reader is taken.

    Returns
    -------
    ProposeReport
        The run that holds the masks. A case that a reader has not annotated whole is
        skipped.

    Raises
    ------
    ProjectError
        As `compare_readers`.
    """
    chosen = [case for case, _ in _several(project, cases)]
    return propose_from(project, _Staple(), chosen, {}, cancellation, progress)


def reader_masks(case: Case) -> dict[str, Path]:
    """Masks of a case by reader: first its label, where it has one."""
    label = {LABEL: case.folder.label} if case.has_label else {}
    return label | case.folder.reader_masks()


def disagreements(case: Case) -> tuple[SliceScore, ...]:
    """Slices in which readers of a case differ, see `Agreement`; kept in memory."""
    paths = tuple(reader_masks(case).values())
    if len(paths) < 2:
        return ()
    return _disagreements(_Masks(paths, tuple(map(FileFacts.of, paths)), case))


@dataclass(frozen=True, slots=True)
class _Masks:
    """Files of masks as they are now, of a case."""

    paths: tuple[Path, ...]
    facts: tuple[FileFacts, ...]
    case: Case = field(compare=False)


@lru_cache(maxsize=10_000)
def _disagreements(masks: _Masks) -> tuple[SliceScore, ...]:
    geometry = masks.case.geometry
    first = read_labels(masks.paths[0], geometry)
    # What is not annotated (255, the highest value) lowers nothing, and raises nothing.
    lowest, drawn = first.copy(), is_class(first)
    highest = np.where(first == UNANNOTATED, np.uint8(BACKGROUND), first)
    for path in masks.paths[1:]:
        mask = read_labels(path, geometry)
        np.minimum(lowest, mask, out=lowest)
        known = np.where(mask == UNANNOTATED, np.uint8(BACKGROUND), mask)
        np.maximum(highest, known, out=highest)
        drawn |= is_class(mask)
    axis = geometry.slice_axis
    differs = (lowest < highest).sum(axis=others(axis))
    largest = max(int(drawn.sum(axis=others(axis)).max()), 1)
    pixel = np.prod([geometry.spacing_mm[at] for at in others(axis)])
    order = sorted(np.flatnonzero(differs), key=lambda index: -differs[index])
    return tuple(
        SliceScore(
            axis=axis,
            index=int(index),
            score=float(differs[index] / largest),
            reason=f"readers differ by {differs[index] * pixel:.3g} mm²",
        )
        for index in order
    )


def _read(paths: Mapping[str, Path], case: Case) -> dict[str, NDArray[np.uint8]]:
    masks = {name: read_labels(path, case.geometry) for name, path in paths.items()}
    for name, mask in masks.items():
        case.scheme.check(mask, str(paths[name]))
    return masks


def _several(
    project: Project, cases: Collection[CaseRef] | None
) -> list[tuple[Case, dict[str, Path]]]:
    """Cases with several readers, and their masks."""
    chosen = [project.case(case) for case in cases or project.cases()]
    found = [(case, reader_masks(case)) for case in chosen]
    several = [item for item in found if len(item[1]) > 1]
    if not several or (cases is not None and len(several) < len(found)):
        single = next((case.id for case, paths in found if len(paths) < 2), "any case")
        raise ProjectError(
            f"expected masks of two readers, found fewer for {single}; add those of "
            "another one with semiseg readers --masks DIR --reader NAME"
        )
    return several


class _Staple:
    """Consensus of the readers as what another program proposes."""

    tool, text = "STAPLE", "semiseg readers --consensus"

    def version(self) -> str | None:
        return with_version("SimpleITK")

    def labels(
        self,
        case: Case,
        _run: Run,
        _structures: Mapping[str, int],
        _cancellation: CancellationToken,
    ) -> NDArray[np.uint8]:
        masks = _read(reader_masks(case), case)
        for name, mask in masks.items():
            if (mask == UNANNOTATED).any():
                raise ImageError(f"reader '{name}' has not annotated it whole")
        return staple(list(masks.values()), case.geometry)


def staple(masks: Sequence[NDArray[np.uint8]], geometry: Geometry) -> NDArray[np.uint8]:
    """Combine masks (Z, Y, X) of two or more readers; see `combine_readers`."""
    import SimpleITK as sitk

    combined = np.zeros(geometry.shape_zyx, np.uint8)
    drawn = np.any([mask > 0 for mask in masks], axis=0)
    box = bounding_box(drawn, (MARGIN,) * 3)
    if box is not None:
        images = [sitk.GetImageFromArray(mask[box]) for mask in masks]
        fused = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE(images, UNANNOTATED))
        combined[box] = np.where(fused == UNANNOTATED, masks[0][box], fused)
    return combined
