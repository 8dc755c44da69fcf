"""Read a data set in nnU-Net's raw layout: images, masks, names of the classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

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
    Image,
    case_id,
    find_images,
    read_geometry,
    read_image,
)
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases.channels import UNNAMED, Channel
from napari_semiseg.project.discovery.dataset_layouts import recognise_layout
from napari_semiseg.project.importing.match_masks import MaskFolder

if TYPE_CHECKING:
    from napari_semiseg.core.geometry import Geometry

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
        Channels per id, with or without nnU-Net's ``_0000``.
    masks : tuple of MaskFolder
        Where the masks are.
    ignore : int or None
        Value of voxels that are not annotated, beside 255.
    """

    folder: Path
    images: dict[str, tuple[Channel, ...]]
    masks: tuple[MaskFolder, ...]
    ignore: int | None

    @property
    def has_channels(self) -> bool:
        """Whether cases have several images."""
        return any(len(channels) > 1 for channels in self.images.values())

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Find images and masks; no image is read."""
        if not (folder / IMAGES[0]).is_dir() or not (folder / MASKS[0]).is_dir():
            raise ProjectError(
                f"{folder}: expected a data set with {IMAGES[0]} and {MASKS[0]}, found "
                "no such folders; give a folder in nnU-Net's raw layout"
            )
        masks = _masks_in(folder)
        return cls(folder, _images_in(folder, masks), masks, _ignored(folder))

    def scheme(self, labels: Sequence[str], labelled: Iterable[str]) -> LabelScheme:
        """Give the classes: as named, of ``dataset.json``, or of labelled masks.

        Masks of the ids in ``labelled`` are read where nothing names the classes.
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
        """First image of an id; a `ProjectError` where there is none."""
        return self._channels(name)[0].image

    def case(self, name: str) -> str:
        """Id of the case that the image of an id becomes in a project."""
        return name if self.has_channels else case_id(self.image(name))

    def read_image(self, name: str) -> Image:
        """Read the first image of an id."""
        first = self._channels(name)[0]
        return read_image(first.image, first.volume)

    def require(self, names: Iterable[str], *, masks: bool = False) -> None:
        """Refuse ids without an image, or without a mask."""
        ids = list(names)
        unmasked = [name for name in ids if masks and self._mask(name) is None]
        for what, folder, missing in (
            ("images", IMAGES[0], [name for name in ids if name not in self.images]),
            ("masks", MASKS[0], unmasked),
        ):
            if missing:
                raise ProjectError(
                    f"{self.folder / folder}: expected {what} of {len(ids)} listed "
                    f"cases, found none of {listed(missing)}; correct the list"
                )

    def read_mask(self, name: str, geometry: Geometry) -> NDArray[np.uint8]:
        """Reference mask (Z, Y, X) on the grid of its image; 255 where unknown."""
        self.require([name], masks=True)
        path = self._mask(name)
        assert path is not None
        labels = read_labels(path, geometry)
        if self.ignore is not None:
            labels = np.where(labels == self.ignore, np.uint8(UNANNOTATED), labels)
        return labels

    def check(self, names: Iterable[str], scheme: LabelScheme) -> dict[str, set[int]]:
        """Read masks as training and scores will; returns the values in each, by id."""
        found = {}
        for name in names:
            mask = self._read_mask(name)
            scheme.check(mask, str(self._mask(name)))
            found[name] = _values(mask)
        return found

    def check_image(self, name: str) -> None:
        """Read all channels of an id; a `SemisegError` where one cannot be used."""
        for channel in self._channels(name):
            read_image(channel.image, channel.volume)

    def _channels(self, name: str) -> tuple[Channel, ...]:
        self.require([name])
        return self.images[name]

    def _read_mask(self, name: str) -> NDArray[np.uint8]:
        first = self._channels(name)[0]
        geometry, _ = read_geometry(first.image, first.volume)
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
) -> dict[str, tuple[Channel, ...]]:
    """Channels by id."""
    known = recognise_layout(folder)
    if known is not None and known.has_channels:
        most = max(len(entry.channels) for entry in known.entries)
        for entry in known.entries:
            if entry.missing or len(entry.channels) == 1:
                lacking = " and no ".join(entry.missing) or "other"
                raise ProjectError(
                    f"{entry.channels[0].image}: expected {most} channels of "
                    f"'{entry.id}', found no {lacking}; complete the case, or take it "
                    f"out of the data set"
                )
        return {entry.id: entry.channels for entry in known.entries}
    images: dict[str, tuple[Channel, ...]] = {}
    masked = {case_id(path) for mask_folder in masks for path in mask_folder.paths}
    for part in (folder / name for name in IMAGES):
        for path in find_images(part) if part.is_dir() else ():
            stem = case_id(path)
            name = stem if stem in masked else stem.removesuffix(FIRST_CHANNEL)
            other = images.setdefault(name, (Channel(UNNAMED, path),))[0].image
            if other != path:
                raise ProjectError(
                    f"expected one image of '{name}', found {other} and {path}; "
                    "remove one of them"
                )
    return images


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
