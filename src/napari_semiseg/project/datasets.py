"""Data sets in layouts that others agreed on: nnU-Net, the Decathlon, BIDS."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_semiseg.core.case import Split
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.images import case_id, find_images

if TYPE_CHECKING:
    from pathlib import Path

CHANNEL = re.compile(r"_(\d{4})$")
"""nnU-Net's ending of an image's name, which the name of its mask does not have."""

PARTS = {"Tr": Split.TRAIN, "Ts": Split.TEST}
"""Endings of folder names in nnU-Net and Decathlon data sets."""

_NO_ENTITIES = ("desc", "label", "space", "res", "den", "atlas", "seg", "from")
_MASK_SUFFIXES = ("dseg", "mask", "probseg", "seg")


@dataclass(frozen=True, slots=True)
class Entry:
    """An image of a data set: its id there, and the part that it belongs to."""

    id: str
    image: Path
    split: Split


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a folder holds.

    Attributes
    ----------
    kind : str
        Name of the layout.
    entries : list of Entry
        Images by rising id.
    masks : dict
        Mask per id.
    """

    kind: str
    entries: list[Entry] = field(default_factory=list)
    masks: dict[str, Path] = field(default_factory=dict)


def recognised(folder: Path, channel: int | None = None) -> Dataset | None:
    """Read the layout of a folder; None where it has none that is known.

    Parameters
    ----------
    folder : Path
        The root of the data set.
    channel : int, optional
        Which channel to take where nnU-Net images have several.

    Raises
    ------
    ProjectError
        There are several channels, and none was chosen that there is.
    """
    if (folder / "imagesTr").is_dir():
        return _nnunet(folder, channel)
    if (folder / "dataset_description.json").is_file():
        return _bids(folder)
    return None


def masks_in(folder: Path) -> list[Path] | None:
    """Masks of a data set in a known layout, sorted; None in any other folder."""
    if (folder / "imagesTr").is_dir():
        parts = [folder / f"labels{part}" for part in PARTS]
        return [path for part in parts if part.is_dir() for path in find_images(part)]
    if (folder / "dataset_description.json").is_file():
        return [path for path in find_images(folder) if _is_bids_mask(case_id(path))]
    return None


def _nnunet(folder: Path, channel: int | None) -> Dataset:
    entries: list[Entry] = []
    numbered = False
    for part, split in PARTS.items():
        images = folder / f"images{part}"
        found = find_images(images) if images.is_dir() else []
        numbered = bool(found) and all(CHANNEL.search(case_id(path)) for path in found)
        if numbered:
            found = _one_channel(images, found, channel)
        entries += [
            Entry(CHANNEL.sub("", name) if numbered else name, path, split)
            for path in found
            for name in [case_id(path)]
        ]
    masks = {case_id(path): path for path in masks_in(folder) or ()}
    kind = "nnU-Net" if numbered else "Medical Segmentation Decathlon"
    return Dataset(kind, entries, masks)


def _one_channel(folder: Path, found: list[Path], channel: int | None) -> list[Path]:
    numbers = {path: int(case_id(path)[-4:]) for path in found}
    present = sorted(set(numbers.values()))
    if channel is None and len(present) == 1:
        return found
    if channel not in present:
        names = _channel_names(folder.parent / "dataset.json")
        listed = ", ".join(
            f"{number}={names[str(number)]}" if str(number) in names else str(number)
            for number in present
        )
        raise ProjectError(
            f"{folder}: expected one channel, found {listed}; choose one with --channel"
        )
    return [path for path, number in numbers.items() if number == channel]


def _channel_names(path: Path) -> dict[str, str]:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        names = described.get("channel_names") or described.get("modality") or {}
        return {str(key): str(value) for key, value in names.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _bids(folder: Path) -> Dataset:
    entries: list[Entry] = []
    masks: list[Path] = []
    for path in find_images(folder):
        inside = path.relative_to(folder).parts
        name = case_id(path)
        if _is_bids_mask(name):
            masks.append(path)
        elif inside[0].startswith("sub-") and name.startswith("sub-"):
            entries.append(Entry(name, path, Split.TRAIN))
    paired = {
        entry.id: path
        for entry in entries
        for path in masks
        if bids_mask_of(entry.id, case_id(path))
    }
    return Dataset("BIDS", entries, paired)


def bids_mask_of(image: str, mask: str) -> bool:
    """Whether a mask is one of an image by the entities of their BIDS names.

    ``sub-01_desc-manual_dseg`` is one of ``sub-01_T1w``; ``space-T1w`` names the
    image where a subject has several.
    """
    *parts, suffix = image.split("_")
    if not _is_bids_mask(mask):
        return False
    said = mask.split("_")[:-1]
    spaces = [item.partition("-")[2] for item in said if item.startswith("space-")]
    known = [item for item in said if item.partition("-")[0] not in _NO_ENTITIES]
    return known == parts and all(
        space in (suffix, "orig", "individual") for space in spaces
    )


def _is_bids_mask(name: str) -> bool:
    return name.startswith("sub-") and name.rpartition("_")[2] in _MASK_SUFFIXES
