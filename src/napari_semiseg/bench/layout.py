"""A folder in nnU-Net's raw layout: images, masks and the names of the classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_semiseg.core.labels import (
    BACKGROUND,
    UNANNOTATED,
    LabelScheme,
    voxel_counts,
)
from napari_semiseg.core.words import listed
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.io.atomic import read_json
from napari_semiseg.io.images import (
    case_id,
    find_images,
    read_geometry,
    read_image,
)
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.datasets import recognised
from napari_semiseg.project.masks import MaskFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.io.images import Image
    from napari_semiseg.project.channels import Channel

IMAGES = ("imagesTr", "imagesTs")
MASKS = ("labelsTr", "labelsTs")
DESCRIPTION = "dataset.json"
IGNORE = "ignore"
FIRST = "_0000"
"""nnU-Net's ending of an image, which its id and its mask do not have."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
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
        Value of voxels that nobody has annotated, beside 255.
    channels : tuple of Channel
        Those of the first case where cases have several; else none.
    """

    folder: Path
    images: dict[str, Path]
    masks: tuple[MaskFolder, ...]
    ignore: int | None
    channels: tuple[Channel, ...] = ()

    @property
    def volume(self) -> int | None:
        """Which volume of a file is the first channel; None where files hold one."""
        return self.channels[0].volume if self.channels else None

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Find what there is; no image is read.

        Raises
        ------
        SemisegError
            The folder has not that layout, an id has two images, or lacks a channel.
        """
        if not (folder / IMAGES[0]).is_dir() or not (folder / MASKS[0]).is_dir():
            raise ProjectError(
                f"{folder}: expected a data set with {IMAGES[0]} and {MASKS[0]}, found "
                "no such folders; give a folder in nnU-Net's raw layout"
            )
        images, channels = _images_in(folder)
        masks = tuple(
            MaskFolder(folder / name) for name in MASKS if (folder / name).is_dir()
        )
        ignore = _ignored(_described(folder))
        return cls(folder, images, masks, ignore, channels)

    def scheme(self, labels: Sequence[str], labelled: Iterable[str]) -> LabelScheme:
        """Give the classes: as told, by ``dataset.json``, or those of the masks.

        Parameters
        ----------
        labels : sequence of str
            ``1=left atrium``; may be empty.
        labelled : iterable of str
            Ids whose masks are looked at where nothing names the classes.

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
            geometry, _ = read_geometry(self.image(name), self.volume)
            mask = self.read_mask(name, geometry)
            present |= set(np.flatnonzero(voxel_counts(mask)).tolist())
        return LabelScheme.parse(
            f"{value}=class {value}"
            for value in sorted(present - {BACKGROUND, UNANNOTATED})
        )

    def image(self, name: str) -> Path:
        """Image of an id.

        Raises
        ------
        ProjectError
            There is none.
        """
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
        wanted = list(names)
        missing = [name for name in wanted if name not in self.images]
        if missing:
            raise ProjectError(
                f"{self.folder / IMAGES[0]}: expected images of {len(wanted)} listed "
                f"cases, found none of {listed(missing)}; correct the list"
            )
        missing = [name for name in wanted if self._mask(name) is None] if masks else []
        if missing:
            raise ProjectError(
                f"{self.folder / MASKS[0]}: expected masks of {len(wanted)} listed "
                f"cases, found none of {listed(missing)}; correct the list"
            )

    def read_mask(self, name: str, geometry: Geometry) -> NDArray[np.uint8]:
        """Reference mask (Z, Y, X) on the grid of its image; 255 where unknown.

        Raises
        ------
        SemisegError
            There is none, or it lies on another grid.
        """
        path = self._mask(name)
        if path is None:
            self.require([name], masks=True)
            raise AssertionError(name)
        labels = read_labels(path, geometry)
        if self.ignore is not None:
            labels = np.where(labels == self.ignore, np.uint8(UNANNOTATED), labels)
        return labels

    def check(self, names: Iterable[str], scheme: LabelScheme) -> None:
        """Read masks as a training or a score will do, and refuse what cannot be used.

        Raises
        ------
        SemisegError
            A mask lies on another grid or holds unknown values.
        """
        for name in names:
            geometry, _ = read_geometry(self.image(name), self.volume)
            scheme.check(self.read_mask(name, geometry), str(self._mask(name)))

    def _mask(self, name: str) -> Path | None:
        return next((path for item in self.masks if (path := item.find(name))), None)


def _images_in(folder: Path) -> tuple[dict[str, Path], tuple[Channel, ...]]:
    """Images by id, and the channels of the first case where it has several."""
    known = recognised(folder)
    entries = [entry for entry in known.entries if entry.channels] if known else []
    if known is not None and entries:
        names = entries[0].channels
        odd = (one for one in known.entries if one.lacks or not one.channels)
        broken = next(odd, None)
        if broken is not None:
            raise ProjectError(
                f"{broken.image}: expected {len(names)} channels of '{broken.id}', "
                f"found no {' and no '.join(broken.lacks) or 'other'}; complete the "
                f"case, or take it out of the data set"
            )
        return {entry.id: entry.image for entry in entries}, names
    images: dict[str, Path] = {}
    for part in (folder / name for name in IMAGES):
        for path in find_images(part) if part.is_dir() else ():
            name = case_id(path).removesuffix(FIRST)
            other = images.setdefault(name, path)
            if other != path:
                raise ProjectError(
                    f"expected one image of '{name}', found {other} and {path}; "
                    "remove one of them"
                )
    return images, ()


def _described(folder: Path) -> dict[int, str]:
    """Name per value as ``dataset.json`` says; empty where there is none."""
    path = folder / DESCRIPTION
    if not path.exists():
        return {}
    content = read_json(path)
    labels: Any = content.get("labels") if isinstance(content, dict) else None
    try:
        # nnU-Net writes name: value; the Decathlon before it wrote value: name.
        if all(str(key).isdigit() for key in labels):
            found = {int(key): str(name) for key, name in labels.items()}
        else:
            found = {int(value): str(name) for name, value in labels.items()}
    except (TypeError, ValueError, AttributeError):
        found = {}
    if not found or not set(found) - {BACKGROUND}:
        raise ConfigError(
            f"{path}: expected 'labels' with a whole number per class, found "
            f"{labels!r}; regions of several values are not supported"
        )
    return found


def _ignored(described: dict[int, str]) -> int | None:
    values = [value for value, name in described.items() if name == IGNORE]
    return values[0] if values else None
