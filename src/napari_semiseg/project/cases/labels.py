"""Check masks that become labels, write them and look them up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.labels import (
    BACKGROUND,
    UNANNOTATED,
    LabelScheme,
    annotated_planes,
    voxel_counts,
)
from napari_semiseg.core.text import listed
from napari_semiseg.errors import ImageError, ProjectError
from napari_semiseg.io.atomic import remove_stale_temporaries
from napari_semiseg.io.masks import checked_labels, read_labels, write_labels
from napari_semiseg.io.structures import (
    is_structures,
    open_structures,
    read_structures,
)
from napari_semiseg.project.cases.history import (
    Accepted,
    Labelled,
    MaskFacts,
    SliceRanges,
)
from napari_semiseg.project.cases.references import FileFacts

if TYPE_CHECKING:
    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.cases.record import CaseRecord


def read_mask(
    path: Path,
    geometry: Geometry,
    scheme: LabelScheme,
    structures: Mapping[str, int] | None = None,
) -> NDArray[np.uint8]:
    """Labels (Z, Y, X) of a mask: its values, or its structures by their names.

    Parameters
    ----------
    path : Path
    geometry : Geometry
        The grid of its image.
    scheme : LabelScheme
        Classes; those of the structures' names are taken by default.
    structures : mapping of str to int, optional
        Label value by name of a structure.

    Raises
    ------
    ProjectError
        No structure is a class.
    ImageError
        The file cannot be read, lies on another grid, or structures overlap.
    """
    if not is_structures(path):
        return read_labels(path, geometry)
    file, values = open_structures(path), structures or {}
    by_name = {item.name.casefold(): item.value for item in scheme}
    chosen = {name: values[name] for name in file.names if name in values}
    chosen = chosen or {
        name: by_name[name.casefold()]
        for name in file.names
        if name.casefold() in by_name
    }
    if not chosen:
        raise ProjectError(
            f"{path}: expected a structure with the name of a class ({scheme}), found "
            f"{listed(list(file.names))}; rename it, or say which is which (semiseg "
            f"label has --structure 'NAME=VALUE')"
        )
    labels = np.zeros(geometry.shape_zyx, np.uint8)
    for name, voxels in read_structures(file, chosen, geometry).items():
        taken = np.unique(labels[voxels])
        other = int(taken[-1]) if taken.size else 0
        if other not in (0, chosen[name]):
            raise ImageError(
                f"{path}: expected structures that do not overlap, found that '{name}' "
                f"shares voxels with label {other}; leave one out with --structure"
            )
        labels[voxels] = chosen[name]
    scheme.check(labels, str(path))
    return labels


def check_mask(
    mask: str | Path | NDArray[Any], case: Case, scheme: LabelScheme
) -> NDArray[np.uint8]:
    """Labels (Z, Y, X) of a mask that may become the label of a case.

    Refuses a missing file, another grid, other values than those of classes, and a
    mask in which nothing is annotated.
    """
    if isinstance(mask, str | Path):
        path = Path(mask)
        if not path.exists():
            raise ProjectError(
                f"{path}: expected a mask of case '{case.id}', found no file; check "
                "the path"
            )
        source = str(path)
        labels = read_mask(path, case.geometry, scheme)
        _refuse_binary(source, labels, scheme)
    else:
        source = f"label of '{case.id}'"
        labels = checked_labels(np.asarray(mask), case.geometry, source)
    scheme.check(labels, source)
    if annotated_fraction(labels) == 0:
        raise ImageError(
            f"{source}: expected at least one annotated voxel, found 255 (not "
            "annotated) everywhere; label something first"
        )
    return labels


def _refuse_binary(source: str, labels: NDArray[np.uint8], scheme: LabelScheme) -> None:
    """Refuse a mask of 0 and 255, which means foreground to other programs."""
    counts = voxel_counts(labels)
    if (
        counts[UNANNOTATED]
        and counts[BACKGROUND]
        and not counts[[*scheme.values]].any()
    ):
        raise ImageError(
            f"{source}: expected voxels of a class ({scheme}), found only 0 and 255, "
            f"which here means 'not annotated'; save the structure with its own value"
        )


def replace_label(case: Case, labels: NDArray[np.uint8]) -> MaskFacts:
    """Write the label of a case; `versions.keep` the one before first."""
    remove_stale_temporaries(case.folder.path, case.folder.previous)
    write_labels(case.folder.label, labels, case.geometry, case.image)
    fraction = annotated_fraction(labels)
    z, y, x = map(_ranges, annotated_planes(labels).values())
    return MaskFacts(
        annotated_fraction=fraction,
        file=FileFacts.of(case.folder.label),
        done_slices=None if fraction == 1 else (z, y, x),
    )


def recorded_mask(record: CaseRecord, facts: FileFacts) -> Labelled | Accepted | None:
    """Entry of the history that describes a label; None where it is of another file."""
    for entry in reversed(record.standing):
        if isinstance(entry, Labelled | Accepted) and entry.file is not None:
            return entry if entry.file == facts else None
    return None


def done_slices(case: Case) -> tuple[frozenset[int], ...]:
    """Slices of a case that are annotated whole: indices along z, y and x.

    The voxels are read only where the history does not describe this very label.
    """
    if not case.has_label:
        return (frozenset(),) * 3
    entry = recorded_mask(case.record, FileFacts.of(case.folder.label))
    if entry is None or (entry.done_slices is None and entry.annotated_fraction != 1):
        planes = annotated_planes(read_labels(case.folder.label, case.geometry))
        return tuple(map(frozenset, planes.values()))
    if entry.done_slices is None:
        return tuple(frozenset(range(size)) for size in case.geometry.shape_zyx)
    return tuple(  # a damaged record may name slices that there are not
        frozenset(
            index
            for first, last in ranges
            for index in range(max(first, 0), min(last + 1, size))
        )
        for ranges, size in zip(entry.done_slices, case.geometry.shape_zyx, strict=True)
    )


def measured_fraction(label: Path, geometry: Geometry) -> float:
    """Annotated part of a label by its voxels."""
    return annotated_fraction(read_labels(label, geometry))


def annotated_fraction(labels: NDArray[np.uint8]) -> float:
    """Part of the voxels that is not 255.

    Exactly 1.0 only when every voxel is annotated. Plane by plane, since a copy of a
    large mask takes longer than counting.
    """
    known = sum(int(np.count_nonzero(plane != UNANNOTATED)) for plane in labels)
    return known / max(labels.size, 1)


def _ranges(indices: list[int]) -> SliceRanges:
    """First and last of each unbroken row of rising indices."""
    found: list[tuple[int, int]] = []
    for index in indices:
        if found and found[-1][1] == index - 1:
            found[-1] = found[-1][0], index
        else:
            found.append((index, index))
    return tuple(found)
