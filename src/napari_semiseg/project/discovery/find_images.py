"""Find the images at the paths that a user gives, with the ids they may get."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.errors import ImageError, ProjectError
from napari_semiseg.io.images import (
    case_id,
    find_images,
    series_folder,
    series_number,
    slices_with,
)
from napari_semiseg.project.cases.channels import (
    UNNAMED,
    Channel,
    group_channels,
    parse_endings,
)
from napari_semiseg.project.discovery.dataset_layouts import recognise_layout

if TYPE_CHECKING:
    from napari_semiseg.core.case import Split


@dataclass(frozen=True, slots=True)
class Found:
    """An image, or several on one grid, that may become a case.

    Attributes
    ----------
    channels : tuple of Channel
        All images of the case, with absolute paths.
    named : bool
        Whether it was named itself, and not found in a folder.
    names : tuple of str
        Ids to try, in this order.
    split : Split, optional
        What the data set that it is from uses it for.
    mask : Path, optional
        What the data set that it is from has as its mask.
    missing : tuple of str
        Channels that were not found.
    """

    channels: tuple[Channel, ...]
    named: bool
    names: tuple[str, ...]
    split: Split | None = None
    mask: Path | None = None
    missing: tuple[str, ...] = ()

    @property
    def image(self) -> Path:
        """Image of the first channel, by which the case is reported."""
        return self.channels[0].image

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, missing ones included."""
        return (*(channel.name for channel in self.channels), *self.missing)


def locate(path: Path) -> Path:
    """Absolute path with links in the folders resolved, but not a linked file."""
    path = path.expanduser().absolute()
    return path.parent.resolve() / path.name if path.name not in ("", "..") else path


def collect(
    paths: Iterable[str | Path],
    series: Collection[str] = (),
    channels: Collection[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Found], dict[str, str]]:
    """Find the images at the paths; gives also why some belong to no case.

    Parameters
    ----------
    paths : iterable of path
        Files, folders, data sets in a known layout, or wildcards.
    series : collection of str
        Which DICOM series to take from a folder with several.
    channels : collection of str
        Names or numbers of those to take of a data set's channels, all by default;
        or ``NAME=ENDING`` for each channel of other images.
    progress : callable
        As `io.images.find_images` has it.
    """
    endings = parse_endings(channels)
    found: dict[Path, Found] = {}
    covered: set[Path] = set()  # slices of series that were found already
    for given in paths:
        for path in _expand(Path(given)):
            if path in covered:
                continue
            covered.update(slices_with(path))
            chosen = [*series, *endings.values()]
            for item in _images_at(
                path, chosen, channels, progress, layouts=not endings
            ):
                known = found.get(item.image)
                if known is None or item.named:
                    found[item.image] = item
    return _with_channels(found, endings) if endings else (list(found.values()), {})


def _with_channels(
    found: Mapping[Path, Found], endings: Mapping[str, str]
) -> tuple[list[Found], dict[str, str]]:
    """Put images together that are channels of one case, by their names' endings."""
    groups, others = group_channels(found, endings)
    cases = [
        Found(
            group.channels,
            all(found[channel.image].named for channel in group.channels),
            (group.id, f"{group.channels[0].image.parent.name}_{group.id}"),
            missing=group.missing,
        )
        for group in groups
    ]
    reason = f"its name ends in none of {', '.join(endings.values())}"
    return cases, {str(path): reason for path in others}


def _images_at(
    path: Path,
    series: Collection[str],
    channels: Collection[str],
    progress: Callable[[int, int], None],
    *,
    layouts: bool,
) -> list[Found]:
    dataset = recognise_layout(path, channels) if layouts and path.is_dir() else None
    if dataset is not None and dataset.entries:
        return [
            Found(
                tuple(
                    replace(channel, image=locate(channel.image))
                    for channel in entry.channels
                ),
                False,
                (entry.id, f"{path.absolute().name}_{entry.id}"),
                entry.split,
                dataset.masks.get(entry.id),
                entry.missing,
            )
            for entry in dataset.entries
        ]
    if channels and layouts:
        raise ProjectError(
            f"{path}: expected a data set of nnU-Net, the Decathlon or BIDS to choose "
            f"the channels {', '.join(channels)} of, found none; give --channel "
            f"NAME=ENDING for each channel, as T1=_t1"
        )
    images = find_images(path, series, progress)
    if not images:
        raise ImageError(
            f"{path}: expected an image or a folder of images, found none; supported "
            "are NIfTI, Analyze, NRRD, MetaImage, GIPL, MGH and DICOM"
        )
    located = [locate(image) for image in images]
    folders = {image: series_folder(image) for image in located}
    counts = Counter(folders.values())
    return [
        Found(
            (Channel(UNNAMED, image),),
            path.is_file() or image == locate(path),
            _names(image, folders[image], counts[folders[image]]),
        )
        for image in located
    ]


def _names(image: Path, folder: Path | None, beside: int) -> tuple[str, ...]:
    """Ids that an image may get by its path alone, never by its DICOM tags.

    ``folder`` is that of a series which is known by its first file, and ``beside`` how
    many are taken from it.
    """
    if folder is None:
        plain = case_id(image)
        return plain, f"{image.parent.name}_{plain}"
    number = series_number(image)
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
