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
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

MOST_PARENTS = 4
"""A relative path that climbs higher than this is written absolute instead."""


@dataclass(frozen=True, slots=True)
class AddReport:
    """What became of the images: ids added, and path (or id) to reason for the rest."""

    added: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


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


def collect(paths: Iterable[str | Path]) -> list[tuple[Path, bool]]:
    """Images at the paths; the flag tells those that were named themselves.

    Raises
    ------
    ProjectError
        A path does not exist, or holds no image.
    """
    found: dict[Path, bool] = {}
    for given in paths:
        for path in _expand(Path(given)):
            images = find_images(path)
            if not images:
                raise ImageError(
                    f"{path}: expected an image or a folder of images, found none; "
                    "supported are NIfTI, NRRD, MetaImage and DICOM series"
                )
            for image in images:
                located = locate(image)
                found[located] = found.get(located, False) or image == path
    return list(found.items())


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
    images: Iterable[tuple[Path, bool]],
    known: Mapping[str, Path],
    wanted: Collection[str] | None,
) -> tuple[dict[str, tuple[Path, bool]], dict[str, str]]:
    """Give every new image an id that no other image has.

    Parameters
    ----------
    images : iterable of (Path, bool)
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
    new: dict[str, tuple[Path, bool]] = {}
    skipped: dict[str, str] = {}
    holders = {name.casefold(): path for name, path in known.items()}
    ids = {path: name for name, path in known.items()}
    for image, named in images:
        if image in ids:
            if wanted is None or ids[image] in wanted:
                skipped[str(image)] = f"already in the project as '{ids[image]}'"
            continue
        plain = case_id(image)
        qualified = f"{image.parent.name}_{plain}"
        name = plain
        if plain.casefold() in holders:
            name = qualified
        if wanted is not None and not {plain, name} & set(wanted):
            continue
        other = holders.get(name.casefold())
        beside = holders.get(plain.casefold())
        if other is not None or (beside is not None and beside.parent == image.parent):
            raise ProjectError(
                f"expected images with distinct names, found '{plain}' at {image} and "
                f"at {other or beside}; rename one of the files"
            )
        new[name] = (image, named)
        ids[image] = name
        holders[name.casefold()] = image
    for missing in sorted(set(wanted or ()) - set(new) - set(known)):
        if not any(case_id(image) == missing for image, _ in new.values()):
            skipped[missing] = "no image of this id was found"
    return new, skipped


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
    new: Mapping[str, tuple[Path, bool]], project: Path, split: Split, by: str
) -> tuple[list[CaseRecord], dict[str, str]]:
    """Records of new cases; an image found in a folder that cannot be used is skipped.

    Raises
    ------
    SemisegError
        An image that was named itself cannot be used.
    """
    records: list[CaseRecord] = []
    skipped: dict[str, str] = {}
    for name, (image, named) in new.items():
        try:
            records.append(describe_image(name, image, project, split, by))
        except SemisegError as error:
            if named:
                raise
            skipped[str(image)] = str(error)
    return records, skipped


def file_facts(path: Path) -> dict[str, int]:
    """Size (bytes) and time of change of a file, which tell whether it was touched."""
    facts = path.stat()
    return {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns}
