"""Which images become cases, under which ids, and how their paths are noted."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_semiseg.core.case import CaseRecord, HistoryEntry, Split
from napari_semiseg.errors import ImageError, ProjectError, SemisegError
from napari_semiseg.io.images import (
    case_id,
    content_sha256,
    find_images,
    read_geometry,
    series_folder,
    series_number,
    slices_with,
)
from napari_semiseg.project.datasets import recognised

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

MOST_PARENTS = 4
"""A relative path that climbs higher than this is written absolute instead."""


@dataclass(frozen=True, slots=True)
class AddReport:
    """What became of images or masks.

    Attributes
    ----------
    added : list of str
        Ids.
    skipped : dict
        Path (or id) to reason, for the rest.
    paths : dict
        The image or mask of each id.
    masks : dict
        Masks that a data set holds of its images, by id; they are not attached.
    notes : dict
        What the user should know of an image, by id.
    """

    added: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """An image that may become a case.

    Attributes
    ----------
    image : Path
        Absolute.
    named : bool
        Whether it was named itself, and not found in a folder.
    names : tuple of str
        Ids to try, in this order.
    split : Split, optional
        What the data set that it is from uses it for.
    mask : Path, optional
        What the data set that it is from has as its mask.
    """

    image: Path
    named: bool
    names: tuple[str, ...]
    split: Split | None = None
    mask: Path | None = None


def locate(path: Path) -> Path:
    """Absolute path with links in the folders resolved, but not a linked file."""
    path = path.expanduser().absolute()
    return path.parent.resolve() / path.name if path.name not in ("", "..") else path


def reference(image: Path, project: Path) -> str:
    """How a project writes down where an image lies."""
    try:
        relative = Path(os.path.relpath(image, project))
    except ValueError:  # another drive
        return image.as_posix()
    shared = Path(os.path.commonpath([image, project]))
    climbs = relative.parts.count(os.pardir)
    if climbs > MOST_PARENTS or shared == Path(shared.anchor):
        return image.as_posix()
    return relative.as_posix()


def resolve(text: str, project: Path) -> Path:
    """Inverse of `reference`."""
    return Path(os.path.normpath(project / text))


def collect(
    paths: Iterable[str | Path],
    series: Collection[str] = (),
    channel: int | None = None,
) -> list[Found]:
    """Find the images at the paths.

    Parameters
    ----------
    paths : iterable of path
        Files, folders, data sets in a known layout, or wildcards.
    series : collection of str
        Which DICOM series to take from a folder with several.
    channel : int, optional
        Which channel to take from an nnU-Net data set with several.

    Raises
    ------
    SemisegError
        A path does not exist, or holds no image.
    """
    found: dict[Path, Found] = {}
    covered: set[Path] = set()  # slices of series that were found already
    for given in paths:
        for path in _expand(Path(given)):
            if path in covered:
                continue
            covered.update(slices_with(path))
            for item in _at(path, series, channel):
                known = found.get(item.image)
                if known is None or item.named:
                    found[item.image] = item
    return list(found.values())


def _at(path: Path, series: Collection[str], channel: int | None) -> list[Found]:
    dataset = recognised(path, channel) if path.is_dir() else None
    if dataset is not None and dataset.entries:
        return [
            Found(
                locate(entry.image),
                False,
                (entry.id, f"{path.absolute().name}_{entry.id}"),
                entry.split,
                dataset.masks.get(entry.id),
            )
            for entry in dataset.entries
        ]
    images = find_images(path, series)
    if not images:
        raise ImageError(
            f"{path}: expected an image or a folder of images, found none; supported "
            "are NIfTI, Analyze, NRRD, MetaImage, GIPL, MGH and DICOM"
        )
    located = [locate(image) for image in images]
    return [
        Found(image, path.is_file() or image == locate(path), _names(image, located))
        for image in located
    ]


def _names(image: Path, others: list[Path]) -> tuple[str, ...]:
    """Ids that an image may get by its path alone, never by what its tags say."""
    folder = series_folder(image)
    if folder is None:
        plain = case_id(image)
        return plain, f"{image.parent.name}_{plain}"
    number = series_number(image)
    beside = sum(series_folder(other) == folder for other in others)
    numbered = (
        f"{folder.name}_{number}",
        f"{folder.parent.name}_{folder.name}_{number}",
    )
    return numbered if beside > 1 else (folder.name, *numbered)


def _expand(path: Path) -> list[Path]:
    """Resolve a wildcard that no shell has resolved."""
    if path.exists():
        return [path]
    matches = sorted(glob.glob(str(path))) if glob.has_magic(str(path)) else []
    if not matches:
        raise ProjectError(
            f"{path}: expected an image or a folder, found nothing there; check the "
            "path"
        )
    return [Path(match) for match in matches]


def name_cases(
    images: Iterable[Found],
    known: Mapping[str, Path],
    wanted: Collection[str] | None,
) -> tuple[dict[str, Found], dict[str, str]]:
    """Give every new image an id that no other image has.

    Parameters
    ----------
    images : iterable of Found
        From `collect`.
    known : mapping
        Image path per id of the cases that exist.
    wanted : collection of str, optional
        Ids to take; all by default.

    Returns
    -------
    new : dict
        Image per id.
    skipped : dict
        Reason per path, or per wanted id that no image has.

    Raises
    ------
    ProjectError
        Two images have one name, and their folders' names do not tell them apart.
    """
    new: dict[str, Found] = {}
    skipped: dict[str, str] = {}
    holders = {name.casefold(): path for name, path in known.items()}
    ids = {path: name for name, path in known.items()}
    for item in images:
        image = item.image
        if image in ids:
            if wanted is None or ids[image] in wanted:
                skipped[str(image)] = f"already in the project as '{ids[image]}'"
            continue
        free = [name for name in item.names if name.casefold() not in holders]
        name = free[0] if free else item.names[0]
        if wanted is not None and not {item.names[0], name} & set(wanted):
            continue
        beside = holders.get(item.names[0].casefold())
        twins = beside is not None and _twins(beside, image)
        if not free or twins:
            raise ProjectError(
                f"expected images with distinct names, found '{item.names[0]}' at "
                f"{image} and at {holders.get(name.casefold(), beside)}; rename one "
                "of the files"
            )
        new[name] = item
        ids[image] = name
        holders[name.casefold()] = image
    for missing in sorted(set(wanted or ()) - set(new) - set(known)):
        if not any(item.names[0] == missing for item in new.values()):
            skipped[missing] = "no image of this id was found"
    return new, skipped


def _twins(one: Path, other: Path) -> bool:
    """Whether two files of one folder differ in nothing but their endings."""
    same = case_id(one).casefold() == case_id(other).casefold()
    return one.parent == other.parent and same


def describe_image(
    name: str, image: Path, project: Path, split: Split, by: str
) -> CaseRecord:
    """Record of a new case.

    Raises
    ------
    ImageError
        The image cannot be used.
    """
    geometry, notes = read_geometry(image)
    details: dict[str, Any] = file_facts(image)
    if notes:
        details["notes"] = list(notes)
    return CaseRecord(
        id=name,
        image=reference(image, project),
        sha256=content_sha256(image),
        geometry=geometry.to_json(),
        split=split,
        history=(HistoryEntry(action="add", by=by, details=details),),
    )


def describe_images(
    new: Mapping[str, Found], project: Path, split: Split, by: str
) -> list[CaseRecord]:
    """Records of new cases, of a split unless their data set says otherwise.

    Raises
    ------
    ImageError
        An image cannot be used.
    """
    return [
        describe_image(name, item.image, project, item.split or split, by)
        for name, item in new.items()
    ]


def check(
    new: Mapping[str, Found], skipped: dict[str, str]
) -> tuple[dict[str, Found], AddReport]:
    """Leave out images that cannot be used, and say why.

    Parameters
    ----------
    new, skipped
        From `name_cases`.

    Raises
    ------
    SemisegError
        An image that was named itself cannot be used.
    """
    good: dict[str, Found] = {}
    skipped = dict(skipped)
    notes: dict[str, tuple[str, ...]] = {}
    for name, item in new.items():
        try:
            _, found = read_geometry(item.image)
        except SemisegError as error:
            if item.named:
                raise
            skipped[str(item.image)] = str(error)
        else:
            good[name] = item
            notes |= {name: found} if found else {}
    return good, AddReport(
        added=sorted(good),
        skipped=skipped,
        paths={name: item.image for name, item in good.items()},
        masks={name: item.mask for name, item in good.items() if item.mask},
        notes=notes,
    )


def file_facts(path: Path) -> dict[str, int]:
    """Size (bytes) and time of change of a file, which tell whether it was touched."""
    facts = path.stat()
    return {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns}
