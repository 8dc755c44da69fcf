"""Turn images into cases: choose ids, check grids, describe them in records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_semiseg.errors import ImageError, ProjectError, SemisegError
from napari_semiseg.io.atomic import check_encodable
from napari_semiseg.io.images import (
    case_id,
    content_sha256,
    files_of,
    read_geometry,
)
from napari_semiseg.project.cases.channels import (
    UNNAMED,
    Channel,
    check_same_grid,
    describe_channels,
    same_channels,
)
from napari_semiseg.project.cases.history import Added
from napari_semiseg.project.cases.record import CaseRecord, ChannelRecord
from napari_semiseg.project.cases.references import FileFacts, reference

if TYPE_CHECKING:
    from napari_semiseg.core.case import Split
    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.discovery.find_images import Found

CHANGED = "the image had changed, and is taken as it is now"


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
        The first image, or the mask, of each id.
    masks : dict
        Masks that a data set holds of its images, by id; they are not attached.
    notes : dict
        What the user should know of an image, by id.
    channels : dict
        All images by id.
    """

    added: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    channels: dict[str, tuple[Channel, ...]] = field(default_factory=dict)

    def take(self, case: Case, entry: Added) -> None:
        """Count a known case whose image is taken anew."""
        self.skipped.pop(str(case.image), None)
        self.added.append(case.id)
        self.paths[case.id] = case.image
        self.channels[case.id] = case.channels
        self.notes[case.id] = entry.notes


def name_cases(
    images: Iterable[Found],
    known: Mapping[str, Path],
    chosen: Collection[str] | None,
) -> tuple[dict[str, Found], dict[str, str]]:
    """Give every new image an id that no other image has.

    ``known`` has the image of each case that exists; ``chosen`` are the ids to take,
    all by default. Returns new images by id, and the reason per path, or per chosen
    id, that is left out.

    Raises
    ------
    ProjectError
        Two images have one name, and so have their folders.
    """
    new: dict[str, Found] = {}
    skipped: dict[str, str] = {}
    holders = {name.casefold(): path for name, path in known.items()}
    ids = {path: name for name, path in known.items()}
    for item in images:
        image = item.image
        if image in ids:
            if chosen is None or ids[image] in chosen:
                skipped[str(image)] = f"already in the project as '{ids[image]}'"
            continue
        unused = [name for name in item.names if name.casefold() not in holders]
        name = unused[0] if unused else item.names[0]
        if chosen is not None and not {item.names[0], name} & set(chosen):
            continue
        beside = holders.get(item.names[0].casefold())
        twins = beside is not None and _twins(beside, image)
        if not unused or twins:
            raise ProjectError(
                f"expected images with distinct names, found '{item.names[0]}' at "
                f"{image} and at {holders.get(name.casefold(), beside)}; rename one "
                "of the files"
            )
        new[name] = item
        ids[image] = name
        holders[name.casefold()] = image
    for missing in sorted(set(chosen or ()) - set(new) - set(known)):
        if not any(item.names[0] == missing for item in new.values()):
            skipped[missing] = "no image of this id was found"
    return new, skipped


def _twins(one: Path, other: Path) -> bool:
    """Whether two files of one folder differ in nothing but their endings."""
    same = case_id(one).casefold() == case_id(other).casefold()
    return one.parent == other.parent and same


def describe_image(
    name: str,
    item: Found,
    geometry: Geometry,
    notes: tuple[str, ...],
    *,
    project: Path,
    split: Split,
) -> CaseRecord:
    """Record of a new case, of the split of its data set, else of this one."""
    hashes, facts = _content(item.channels)
    return CaseRecord(
        id=name,
        channels=tuple(
            ChannelRecord(
                name=channel.name,
                image=reference(channel.image, project),
                sha256=hashes[channel.image],
                volume=channel.volume,
            )
            for channel in item.channels
        ),
        geometry=geometry,
        split=item.split or split,
        history=(Added(files=facts, notes=notes),),
    )


def take_changed(case: Case) -> tuple[Added, dict[str, Any]]:
    """Take the images of a case as they are now: its history's entry, and its record.

    Raises
    ------
    ImageError
        One cannot be read, or lies on another grid than the case.
    """
    for channel in case.channels:
        found, _ = read_geometry(channel.image, channel.volume)
        difference = case.geometry.difference(found)
        if difference is not None:
            raise ImageError(
                f"{channel.image}: expected the grid of the image that '{case.id}' "
                f"had, found {difference}; put the original back, or add this one "
                f"under another name"
            )
    hashes, facts = _content(case.channels)
    channels = tuple(
        record.model_copy(update={"sha256": hashes[channel.image]})
        for channel, record in zip(case.channels, case.record.channels, strict=True)
    )
    first, _ = read_geometry(case.image, case.channels[0].volume)
    changes = {"channels": channels, "geometry": first}
    return Added(files=facts, notes=(CHANGED,)), changes


def _content(
    channels: Iterable[Channel],
) -> tuple[dict[Path, str], tuple[FileFacts, ...]]:
    """Hash of each image, and facts of their files."""
    images = dict.fromkeys(channel.image for channel in channels)
    hashes = {path: content_sha256(path) for path in images}
    return hashes, tuple(FileFacts.of(*files_of(path)) for path in images)


def check_images(
    new: Mapping[str, Found],
    skipped: dict[str, str],
    channels: tuple[str, ...] | None,
    describe: Callable[[str, Found, Geometry, tuple[str, ...]], CaseRecord] | None,
    progress: Callable[[int, int], None],
) -> tuple[list[CaseRecord], AddReport]:
    """Leave out images from `name_cases` that cannot be used, with reasons.

    ``channels`` are those of the project's cases, if there are any; what most of these
    have otherwise. ``describe`` makes the records of the others, if they are wanted.

    Raises
    ------
    SemisegError
        An image that was named itself cannot be used.
    """
    good: dict[str, Found] = {}
    records: list[CaseRecord] = []
    skipped = dict(skipped)
    notes: dict[str, tuple[str, ...]] = {}
    if channels is None and new:
        usual = Counter(item.channel_names for item in new.values() if not item.missing)
        channels = usual.most_common(1)[0][0] if usual else (UNNAMED,)
    for done, (name, item) in enumerate(new.items(), start=1):
        try:
            for channel in item.channels:
                check_encodable(str(channel.image))
            _check_channels(name, item, channels)
            grid, found = _check_grids(item)
            if describe is not None:
                records.append(describe(name, item, grid, found))
        except SemisegError as error:
            if item.named:
                raise
            skipped[str(item.image)] = str(error).removeprefix(f"{item.image}: ")
        else:
            good[name] = item
            notes |= {name: found} if found else {}
        progress(done, len(new))
    return records, AddReport(
        added=sorted(good),
        skipped=skipped,
        paths={name: item.image for name, item in good.items()},
        masks={name: item.mask for name, item in good.items() if item.mask},
        notes=notes,
        channels={name: item.channels for name, item in good.items()},
    )


def _check_channels(name: str, item: Found, channels: tuple[str, ...] | None) -> None:
    if item.missing:
        raise ProjectError(
            f"'{name}': expected {describe_channels(item.channel_names)}, found no "
            f"{' and no '.join(item.missing)}; complete the case, or leave the channel "
            f"out"
        )
    channels = channels or (UNNAMED,)
    if not same_channels(item.channel_names, channels):
        raise ProjectError(
            f"'{name}': expected {describe_channels(channels)}, as the other cases "
            f"have, found {describe_channels(item.channel_names)}; choose its "
            f"channels, or use another project"
        )


def _check_grids(item: Found) -> tuple[Geometry, tuple[str, ...]]:
    """Grid of a case, on which all its images must lie, and notes on these."""
    first, *others = item.channels
    grid, notes = read_geometry(first.image, first.volume)
    for channel in others:
        found, further = read_geometry(channel.image, channel.volume)
        check_same_grid(channel.image, found, first.image, grid)
        notes += tuple(note for note in further if note not in notes)
    return grid, notes
