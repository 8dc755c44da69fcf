"""Read a data set in nnU-Net's raw layout: images, masks, names of the classes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_semiseg.core.labels import (
    BACKGROUND,
    UNANNOTATED,
    LabelScheme,
    voxel_counts,
)
from napari_semiseg.core.text import listed
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.io.atomic import read_json
from napari_semiseg.io.images import (
    case_id,
    find_images,
    read_geometry,
    read_image,
)
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases.channels import Channel
from napari_semiseg.project.discovery.dataset_layouts import recognised
from napari_semiseg.project.importing.match_masks import MaskFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.io.images import Image

IMAGES = ("imagesTr", "imagesTs")
MASKS = ("labelsTr", "labelsTs")
DESCRIPTION = "dataset.json"
IGNORE = "ignore"
FIRST_CHANNEL = "_0000"
"""nnU-Net's ending of an image, which its id and its mask do not have."""


@dataclass(frozen=True, slots=True, eq=False)
class RawDataset:
    """Images and masks by id; ``labelsTs`` and ``imagesTs`` count where they are.

    Attributes
    ----------
    folder : Path
        The data set.
    images : dict
        Image per id, with or without nnU-Net's ``_0000``; the first of several
        channels.
    masks : tuple of MaskFolder
        Where the masks are.
    ignore : int or None
        Value of voxels that are not annotated, beside 255.
    channels : dict
        All channels of each id where cases have several; else none.
    """

    folder: Path
    images: dict[str, Path]
    masks: tuple[MaskFolder, ...]
    ignore: int | None
    channels: dict[str, tuple[Channel, ...]] = field(default_factory=dict)

    @property
    def volume(self) -> int | None:
        """Which volume of a file is the first channel; None where files hold one."""
        return next((first.volume for first, *_ in self.channels.values()), None)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Find images and masks; no image is read.

        Raises
        ------
        SemisegError
            The folder has not that layout, there is no mask, an id has two images, or
            lacks a channel.
        """
        if not (folder / IMAGES[0]).is_dir() or not (folder / MASKS[0]).is_dir():
            raise ProjectError(
                f"{folder}: expected a data set with {IMAGES[0]} and {MASKS[0]}, found "
                "no such folders; give a folder in nnU-Net's raw layout"
            )
        masks = _masks_in(folder)
        images, channels = _images_in(folder, masks)
        return cls(folder, images, masks, _ignored(folder), channels)

    def scheme(self, labels: Sequence[str], labelled: Iterable[str]) -> LabelScheme:
        """Give the classes: as named, of ``dataset.json``, or of labelled masks.

        Parameters
        ----------
        labels : sequence of str
            ``1=left atrium``; may be empty.
        labelled : iterable of str
            Ids whose masks are read where nothing names the classes.

        Raises
        ------
        SemisegError
            A class is named wrongly, or there is none.
        """
        if labels:
            return LabelScheme.parse(labels)
        described = _described(self.folder)
        if described:
            return LabelScheme.parse(
                f"{value}={name}"
                for value, name in sorted(described.items())
                if value not in (BACKGROUND, self.ignore)
            )
        present: set[int] = set()
        for name in labelled:
            present |= _values(self._read_mask(name))
        return LabelScheme.parse(
            f"{value}=class {value}"
            for value in sorted(present - {BACKGROUND, UNANNOTATED})
        )

    def image(self, name: str) -> Path:
        """Image of an id; a `ProjectError` where there is none."""
        self.require([name])
        return self.images[name]

    def case(self, name: str) -> str:
        """Id of the case that the image of an id becomes in a project."""
        return name if self.channels else case_id(self.image(name))

    def read_image(self, name: str) -> Image:
        """Image of an id, or its first channel."""
        return read_image(self.image(name), self.volume)

    def require(self, names: Iterable[str], *, masks: bool = False) -> None:
        """Refuse ids without an image, or without a mask.

        Raises
        ------
        ProjectError
            Names those that are missing.
        """
        ids = list(names)
        for what, folder, missing in (
            ("images", IMAGES[0], [name for name in ids if name not in self.images]),
            (
                "masks",
                MASKS[0],
                [name for name in ids if masks and not self._mask(name)],
            ),
        ):
            if missing:
                raise ProjectError(
                    f"{self.folder / folder}: expected {what} of {len(ids)} listed "
                    f"cases, found none of {listed(missing)}; correct the list"
                )

    def read_mask(self, name: str, geometry: Geometry) -> NDArray[np.uint8]:
        """Reference mask (Z, Y, X) on the grid of its image; 255 where unknown.

        Raises
        ------
        SemisegError
            There is none, or it is on another grid.
        """
        self.require([name], masks=True)
        path = self._mask(name)
        assert path is not None
        labels = read_labels(path, geometry)
        if self.ignore is not None:
            labels = np.where(labels == self.ignore, np.uint8(UNANNOTATED), labels)
        return labels

    def check(self, names: Iterable[str], scheme: LabelScheme) -> dict[str, set[int]]:
        """Read masks as training and scores will; returns the values in each, by id.

        Raises
        ------
        SemisegError
            A mask is on another grid or holds unknown values.
        """
        found = {}
        for name in names:
            mask = self._read_mask(name)
            scheme.check(mask, str(self._mask(name)))
            found[name] = _values(mask)
        return found

    def check_image(self, name: str) -> None:
        """Read all channels of an id; a `SemisegError` where one cannot be used."""
        single = (Channel("", self.image(name)),)
        for channel in self.channels.get(name, single):
            read_image(channel.image, channel.volume)

    def _read_mask(self, name: str) -> NDArray[np.uint8]:
        geometry, _ = read_geometry(self.image(name), self.volume)
        return self.read_mask(name, geometry)

    def _mask(self, name: str) -> Path | None:
        return next((path for item in self.masks if (path := item.find(name))), None)


def refuse_inside(data: Path, out: Path) -> None:
    """Refuse a folder for results inside the data set with a ``ConfigError``."""
    for part in (data / name for name in (*IMAGES, *MASKS)):
        if out.resolve().is_relative_to(part.resolve()):
            raise ConfigError(
                f"expected --out beside the images and masks, found {out} in {part}; "
                f"choose another folder, as {data / 'bench'}"
            )


def _values(mask: NDArray[np.uint8]) -> set[int]:
    return set(np.flatnonzero(voxel_counts(mask)).tolist())


def _masks_in(folder: Path) -> tuple[MaskFolder, ...]:
    training, test = (folder / name for name in MASKS)
    found = [MaskFolder(training)]
    if test.is_dir():
        with suppress(ProjectError):  # it is empty: all masks are in the other one
            found.append(MaskFolder(test))
    return tuple(found)


def _images_in(
    folder: Path, masks: Iterable[MaskFolder]
) -> tuple[dict[str, Path], dict[str, tuple[Channel, ...]]]:
    """Images by id, and all channels by id where cases have several."""
    known = recognised(folder)
    if known is not None and known.has_channels:
        entries = {entry.id: entry for entry in known.entries}
        most = max(len(entry.channels) for entry in known.entries)
        for entry in known.entries:
            if entry.missing or len(entry.channels) == 1:
                lacking = " and no ".join(entry.missing) or "other"
                raise ProjectError(
                    f"{entry.channels[0].image}: expected {most} channels of "
                    f"'{entry.id}', found no {lacking}; complete the case, or take it "
                    f"out of the data set"
                )
        images = {name: entry.channels[0].image for name, entry in entries.items()}
        return images, {name: entry.channels for name, entry in entries.items()}
    images = {}
    masked = {case_id(path) for mask_folder in masks for path in mask_folder.paths}
    for part in (folder / name for name in IMAGES):
        for path in find_images(part) if part.is_dir() else ():
            stem = case_id(path)
            name = stem if stem in masked else stem.removesuffix(FIRST_CHANNEL)
            other = images.setdefault(name, path)
            if other != path:
                raise ProjectError(
                    f"expected one image of '{name}', found {other} and {path}; "
                    "remove one of them"
                )
    return images, {}


def _described(folder: Path) -> dict[int, str]:
    """Name per value in ``dataset.json``; empty where there is none."""
    path = folder / DESCRIPTION
    if not path.exists():
        return {}
    instead = "name the classes with --label VALUE=NAME"
    try:
        labels = _labels_in(path)
    except ProjectError as error:
        raise ConfigError(f"{error}, or {instead}") from error
    found = _by_value(labels)
    if not set(found) - {BACKGROUND} or len(found) < len(labels):
        raise ConfigError(
            f"{path}: expected 'labels' with a whole number per class, found "
            f"{labels!r}; regions of several values are not supported: {instead}"
        )
    return found


def _ignored(folder: Path) -> int | None:
    """Value that ``dataset.json`` gives to voxels that are not annotated."""
    try:
        named = _by_value(_labels_in(folder / DESCRIPTION))
    except ProjectError:  # `_described` reports it
        return None
    return next((value for value, name in named.items() if name == IGNORE), None)


def _labels_in(path: Path) -> Any:
    content = read_json(path)
    return content.get("labels") if isinstance(content, dict) else None


def _by_value(labels: Any) -> dict[int, str]:
    """Name per value; values that are no whole numbers are left out."""
    if not isinstance(labels, dict):
        return {}
    # nnU-Net writes name: value; the Decathlon before it wrote value: name.
    named = not all(str(key).isdigit() for key in labels)
    found = {}
    for key, entry in labels.items():
        name, value = (key, entry) if named else (entry, key)
        with suppress(TypeError, ValueError):
            found[int(value)] = str(name)
    return found
