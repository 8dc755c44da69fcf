"""Which images become cases, under which ids, and how their paths are noted."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_semiseg.core.case import CaseRecord, ChannelRecord, HistoryEntry, Split
from napari_semiseg.errors import ProjectError, SemisegError
from napari_semiseg.io.images import (
    case_id,
    content_sha256,
    read_geometry,
)
from napari_semiseg.project.cases.channels import Channel, check_same_grid, worded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from napari_semiseg.project.discovery.find_images import Found

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
    channels : dict
        All images of a case that has several, by id.
    """

    added: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    channels: dict[str, tuple[Channel, ...]] = field(default_factory=dict)


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


def channels_of(record: CaseRecord, project: Path) -> tuple[Channel, ...]:
    """Channels of a case; one without a name where it has just an image."""
    if not record.channels:
        return (Channel("", resolve(record.image, project)),)
    return tuple(
        Channel(channel.name, resolve(channel.image, project), channel.volume)
        for channel in record.channels
    )


def name_cases(
    images: Iterable[Found],
    known: Mapping[str, Path],
    wanted: Collection[str] | None,
) -> tuple[dict[str, Found], dict[str, str]]:
    """Give every new image an id that no other image has.

    Parameters
    ----------
    images : iterable of Found
        From `finding.collect`.
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
    name: str, item: Found, project: Path, split: Split, by: str
) -> CaseRecord:
    """Record of a new case.

    Raises
    ------
    ImageError
        The image cannot be used.
    """
    image = item.image
    geometry, notes = read_geometry(image, item.volume)
    details: dict[str, Any] = file_facts(image)
    further = [channel.image for channel in item.channels[1:]]
    if further:
        details["channels"] = [file_facts(path) for path in further]
    if notes:
        details["notes"] = list(notes)
    hashes = {path: content_sha256(path) for path in {image, *further}}
    return CaseRecord(
        id=name,
        image=reference(image, project),
        sha256=hashes[image],
        channels=tuple(
            ChannelRecord(
                name=channel.name,
                image=reference(channel.image, project),
                sha256=hashes[channel.image],
                volume=channel.volume,
            )
            for channel in item.channels
        ),
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
        describe_image(name, item, project, item.split or split, by)
        for name, item in new.items()
    ]


def check(
    new: Mapping[str, Found],
    skipped: dict[str, str],
    channels: tuple[str, ...] | None = None,
) -> tuple[dict[str, Found], AddReport]:
    """Leave out images that cannot be used, and say why.

    Parameters
    ----------
    new, skipped
        From `name_cases`.
    channels : tuple of str, optional
        What the cases of the project have; by default what most of these have.

    Raises
    ------
    SemisegError
        An image that was named itself cannot be used.
    """
    good: dict[str, Found] = {}
    skipped = dict(skipped)
    notes: dict[str, tuple[str, ...]] = {}
    if channels is None and new:
        usual = Counter(item.several for item in new.values() if not item.lacks)
        channels = usual.most_common(1)[0][0] if usual else ()
    for name, item in new.items():
        try:
            _check_channels(name, item, channels)
            found = _check_grids(item)
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
        channels={name: item.channels for name, item in good.items() if item.several},
    )


def _check_channels(name: str, item: Found, channels: tuple[str, ...] | None) -> None:
    if item.lacks:
        there = (channel.name for channel in item.channels)
        raise ProjectError(
            f"'{name}': expected {worded((*there, *item.lacks))}, found no "
            f"{' and no '.join(item.lacks)}; complete the case, or leave the channel "
            f"out"
        )
    if item.several != channels:
        raise ProjectError(
            f"'{name}': expected {worded(channels or ())}, as the other cases have, "
            f"found {worded(item.several)}; choose its channels, or use another "
            f"project"
        )


def _check_grids(item: Found) -> tuple[str, ...]:
    """Notes on a case whose images can be read and lie on one grid."""
    grid, notes = read_geometry(item.image, item.volume)
    for channel in item.channels[1:]:
        found, further = read_geometry(channel.image, channel.volume)
        check_same_grid(channel.image, found, item.image, grid)
        notes += tuple(note for note in further if note not in notes)
    return notes


def file_facts(path: Path) -> dict[str, int]:
    """Size (bytes) and time of change of a file, which tell whether it was touched."""
    facts = path.stat()
    return {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns}
