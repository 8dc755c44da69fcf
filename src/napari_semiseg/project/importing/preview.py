"""Preview what files and folders would become: cases, masks, and open questions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.core.case import Split
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.dicom.series import Series, series_of
from napari_semiseg.io.images import case_id, find_images
from napari_semiseg.io.structures import open_structures
from napari_semiseg.project.discovery.add_images import AddReport
from napari_semiseg.project.discovery.dataset_layouts import recognise_layout
from napari_semiseg.project.importing.match_masks import (
    MaskFolder,
    attach_pairs,
    mask_stem,
)

if TYPE_CHECKING:
    from napari_semiseg.project.cases.channels import Channel
    from napari_semiseg.project.project import Project

MASK_FOLDERS = (
    "annotations",
    "contours",
    "labels",
    "mask",
    "masks",
    "rtstruct",
    "seg",
    "segmentation",
    "segmentations",
    "structures",
)
"""Names of folders whose images are taken for masks, when they are shown first."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What a user wants to import.

    Attributes
    ----------
    paths : tuple of Path
        Images: files, folders, data sets in a known layout.
    masks : Path, optional
        Where masks are, beside those that a data set brings itself.
    series, channels
        What to take where there are several, as `Project.add` has them.
    structures : mapping of str to int
        Label value of structures in RTSTRUCT and SEG files.
    split : Split
        What new cases may be used for.
    """

    paths: tuple[Path, ...] = ()
    masks: Path | None = None
    series: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    structures: Mapping[str, int] = field(default_factory=dict)
    split: Split = Split.TRAIN


@dataclass(frozen=True, slots=True)
class Pair:
    """A case, new or known, with its images and the mask that belongs to it.

    ``case`` is its id. ``known`` tells whether the project has it, and ``labelled``
    whether the mask would replace a label, which is kept.
    """

    case: str
    channels: tuple[Channel, ...]
    mask: Path | None
    known: bool = False
    labelled: bool = False


@dataclass(frozen=True, slots=True)
class ImportPreview:
    """What was found; nothing is written yet.

    Attributes
    ----------
    kinds : tuple of str
        Layouts that were recognised.
    pairs : list of Pair
        By rising id.
    left : dict
        Reason per image, folder or mask that is left out.
    folders : dict
        Series of each folder that holds several.
    structures : dict
        Value of the class of each structure in the masks; None where no class has
        its name.
    endings : tuple of str
        ``NAME=ENDING`` of each channel, where the images look like several a case; of
        a BIDS data set their suffixes.
    notes : dict
        What the user should know of an image, by id.
    """

    kinds: tuple[str, ...] = ()
    pairs: list[Pair] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    folders: dict[Path, list[Series]] = field(default_factory=dict)
    structures: dict[str, int | None] = field(default_factory=dict)
    endings: tuple[str, ...] = ()
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)


def request_import(paths: Iterable[Path]) -> ImportRequest:
    """Tell folders of masks from those of images, by their own names.

    A folder that holds ``images`` and ``masks`` is taken apart; data sets in a known
    layout are left as they are.
    """
    images: list[Path] = []
    masks: list[Path] = []
    for path in paths:
        if not path.is_dir() or recognise_layout(path) is not None:
            images.append(path)
        elif path.name.casefold() in MASK_FOLDERS:
            masks.append(path)
        else:
            inside = [item for item in path.iterdir() if not item.name.startswith(".")]
            own = [
                item
                for item in inside
                if item.is_dir() and item.name.casefold() in MASK_FOLDERS
            ]
            others = [item for item in inside if item not in own]
            whole = len(own) != 1 or not others
            images += [path] if whole else sorted(others)
            masks += [] if whole else own
    if len(masks) > 1:  # the user has to choose one
        return ImportRequest(tuple(images))
    return ImportRequest(tuple(images), masks[0] if masks else None)


def preview_import(
    project: Project,
    request: ImportRequest,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportPreview:
    """Find out what would be added, and which mask goes with which image.

    ``progress`` is that of `Project.add`. Raises as that and `MaskFolder`.
    """
    folders, paths = _series_and_paths(request, progress)
    open_ = {folder for folder in folders if not _is_chosen(folders[folder], request)}
    report = AddReport()
    if paths:
        report = project.add(
            *paths,
            series=request.series,
            channels=request.channels,
            dry_run=True,
            progress=progress,
        )
    left = dict(report.skipped)
    for folder in open_:
        left[str(folder)] = f"holds {len(folders[folder])} series: choose"
    cases = {case.id: case for case in project.cases()}
    new = dict(report.channels)
    beside = _masks_beside_images(new, left)
    for path in beside.values():
        left.pop(str(path), None)
        new = {name: own for name, own in new.items() if _single_image(own) != path}
    known = {name: case.channels for name, case in cases.items()}
    masks, unused, files = _masks(request, new | known)
    masks = beside | report.masks | masks
    pairs = [Pair(name, channels, masks.get(name)) for name, channels in new.items()]
    pairs += [
        Pair(name, known[name], path, True, cases[name].has_label)
        for name, path in masks.items()
        if name in cases and name not in new
    ]
    kinds = dict.fromkeys(
        found.kind
        for path in request.paths
        if path.is_dir() and (found := recognise_layout(path)) and found.entries
    )
    return ImportPreview(
        kinds=tuple(kinds),
        pairs=sorted(pairs, key=lambda pair: pair.case),
        left=left | unused,
        folders=folders,
        structures=_structures(project, files & set(masks.values())),
        endings=_suggested(new, project.channels, kinds, request),
        notes=report.notes,
    )


def import_pairs(
    project: Project,
    request: ImportRequest,
    pairs: Collection[Pair],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[AddReport, int]:
    """Add the cases of a preview that a user agreed to, and attach their masks.

    Returns the report on the images, and how many cases were given a mask.
    ``progress`` is that of `Project.add`.
    """
    new = [pair.case for pair in pairs if not pair.known]
    report = AddReport()
    if new:
        report = project.add(
            *_series_and_paths(request, progress)[1],
            split=request.split,
            cases=new,
            series=request.series,
            channels=request.channels,
            progress=progress,
        )
    known = {case.id for case in project.cases()}
    masks = {
        pair.case: pair.mask
        for pair in pairs
        if pair.mask is not None and pair.case in known
    }
    report.notes.update(attach_pairs(project, masks, request.structures))
    return report, len(masks)


def suggest_endings(
    names: Iterable[str], known: Collection[str] | None = None
) -> tuple[str, ...]:
    """Suggest ``NAME=ENDING`` of each channel, where images look like channels.

    ``a_t1, a_flair, b_t1, b_flair`` differ in their last parts alone, which most of
    them have in common; plain numbers count cases. An ending that is one of the
    ``known`` channels of the project gets its name.
    """
    groups: dict[str, set[str]] = {}
    for name in names:
        match = re.fullmatch(r"(.+)([_\-. ][^_\-. ]*[^\W\d_][^_\-. ]*)", name)
        if match and mask_stem(name) is None:
            groups.setdefault(match[1], set()).add(match[2])
    kinds = Counter(frozenset(endings) for endings in groups.values())
    if not kinds:
        return ()
    usual, count = kinds.most_common(1)[0]
    if len(usual) < 2 or 2 * count <= len(groups):
        return ()
    own = {name.casefold(): name for name in known or ()}
    called = {ending: ending[1:] for ending in sorted(usual)}
    return tuple(
        f"{own.get(name.casefold(), name.upper())}={ending}"
        for ending, name in called.items()
    )


def _suggested(
    names: Iterable[str],
    known: Collection[str] | None,
    kinds: Collection[str],
    request: ImportRequest,
) -> tuple[str, ...]:
    """Endings to suggest to a user who has not chosen channels."""
    if request.channels or set(kinds) - {"BIDS"}:
        return ()
    found = suggest_endings(names, known)
    return tuple(text.partition("=")[2][1:] for text in found) if kinds else found


def _series_and_paths(
    request: ImportRequest, progress: Callable[[int, int], None]
) -> tuple[dict[Path, list[Series]], list[Path]]:
    """Series of folders with several, and the paths that images can be taken from.

    Structure sets are left out, and folders of series of which none is chosen.
    """
    folders: dict[Path, list[Series]] = {}
    usable: list[Path] = []
    for path in request.paths:
        if not path.is_dir():
            usable += [] if _is_structure_set(path) else [path]
        elif recognise_layout(path) is not None:
            usable.append(path)
        else:
            images = find_images(path, progress=progress)
            own = {image: series_of(image) for image in images if image.is_dir()}
            folders |= {image: found for image, found in own.items() if len(found) > 1}
            undecided = path in folders and not _is_chosen(folders[path], request)
            if not undecided and (images or not _is_structure_set(path)):
                usable.append(path)
    return folders, usable


def _is_structure_set(path: Path) -> bool:
    try:
        return bool(MaskFolder(path, volumes=False).structures)
    except ProjectError:
        return False


def _single_image(channels: tuple[Channel, ...]) -> Path | None:
    return channels[0].image if len(channels) == 1 else None


def _masks_beside_images(
    cases: Mapping[str, tuple[Channel, ...]], left: Collection[str]
) -> dict[str, Path]:
    """Masks among images, ``a_seg`` beside ``a``, by the case that they are of.

    Where there is no ``a``, they are of the only other image whose name begins so.
    """
    found: dict[str, Path] = {}
    singles = {own[0].image for own in cases.values() if len(own) == 1}
    for path in sorted(singles | {Path(text) for text in left}):
        name = case_id(path)
        stem = mask_stem(name)
        if stem is None:
            continue
        others = [one for one in cases if one != name and one.startswith(stem)]
        owner = stem if stem in cases else others[0] if len(others) == 1 else None
        if owner is not None and cases[owner][0].image.parent == path.parent:
            found.setdefault(owner, path)
    return found


def _is_chosen(found: Iterable[Series], request: ImportRequest) -> bool:
    texts = [*request.series, *(text.partition("=")[2] for text in request.channels)]
    return any(series.answers_to(text) for series in found for text in texts if text)


def _masks(
    request: ImportRequest, cases: Mapping[str, tuple[Channel, ...]]
) -> tuple[dict[str, Path], dict[str, str], set[Path]]:
    """Mask by case, reason by mask without one, and which of them name structures."""
    holders = [] if request.masks is None else [MaskFolder(request.masks)]
    for path in request.paths:
        if recognise_layout(path) is None if path.is_dir() else _is_structure_set(path):
            try:
                holders.append(MaskFolder(path, volumes=False))
            except ProjectError:
                continue
    found: dict[str, Path] = {}
    unused: dict[str, str] = {}
    files: set[Path] = set()
    for holder in holders:
        pairs = holder.pair_images(cases)
        for case, path in pairs.items():
            if found.setdefault(case, path) != path:
                raise ProjectError(
                    f"expected one mask of case '{case}', found {found[case]} and "
                    f"{path}; keep one of them"
                )
        left = set(holder.paths) - set(pairs.values())
        unused |= {str(path): "a mask, but no image has its name" for path in left}
        files |= set(holder.structures)
    return found, unused, files


def _structures(project: Project, files: Iterable[Path]) -> dict[str, int | None]:
    by_name = {item.name.casefold(): item.value for item in project.labels}
    names = sorted({name for path in files for name in open_structures(path).names})
    return {name: by_name.get(name.casefold()) for name in names}
