"""Recognise data sets of nnU-Net, the Medical Segmentation Decathlon and BIDS."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from napari_semiseg.core.case import Split
from napari_semiseg.errors import ImageError, ProjectError
from napari_semiseg.io.images import case_id, find_images
from napari_semiseg.io.nifti import count_volumes
from napari_semiseg.project.cases.channels import UNNAMED, CaseImages, Channel

CHANNEL = re.compile(r"_(\d{4})$")
"""nnU-Net's ending of an image's name, which the name of its mask does not have."""

PARTS = {"Tr": Split.TRAIN, "Ts": Split.TEST}
"""Endings of folder names in nnU-Net and Decathlon data sets."""

_NO_ENTITIES = ("desc", "label", "space", "res", "den", "atlas", "seg", "from")
_MASK_SUFFIXES = ("dseg", "mask", "probseg", "seg")


@dataclass(frozen=True, slots=True)
class DatasetLayout:
    """What a folder holds: name of the layout, cases, and mask per id."""

    kind: str
    entries: list[CaseImages] = field(default_factory=list)
    masks: dict[str, Path] = field(default_factory=dict)

    @property
    def has_channels(self) -> bool:
        """Whether any case has several images."""
        return any(len(entry.channels) > 1 for entry in self.entries)


def recognise_layout(
    folder: Path, channels: Collection[str] = ()
) -> DatasetLayout | None:
    """Read the layout of a folder; None where it has none that is known.

    ``channels`` are names or numbers of those to take where there are several; all by
    default. In BIDS they are the suffixes of images to take together, as T1w.
    """
    if (folder / "imagesTr").is_dir():
        parts = {folder / f"images{part}": split for part, split in PARTS.items()}
        return _nnunet(folder, parts, channels)
    if (folder / "dataset_description.json").is_file():
        return _bids(folder, channels)
    if folder.absolute().name in ("imagesTr", "imagesTs"):
        found = _nnunet(folder.absolute().parent, {folder: None}, channels)
        return found if found.has_channels else None
    return None


def masks_in(folder: Path) -> list[Path] | None:
    """Masks of a data set in a known layout, sorted; None in any other folder."""
    if (folder / "imagesTr").is_dir():
        parts = [folder / f"labels{part}" for part in PARTS]
        return [path for part in parts if part.is_dir() for path in find_images(part)]
    if (folder / "dataset_description.json").is_file():
        return [path for path in find_images(folder) if _is_bids_mask(case_id(path))]
    return None


def _nnunet(
    folder: Path, parts: Mapping[Path, Split | None], choices: Collection[str]
) -> DatasetLayout:
    """Images of nnU-Net, or of the Decathlon, whose files may hold several volumes."""
    masks = {case_id(path): path for path in masks_in(folder) or ()}
    names = _channel_names(folder / "dataset.json")
    entries: list[CaseImages] = []
    numbered = False
    for images, split in parts.items():
        found = find_images(images) if images.is_dir() else []
        cases = _numbered(found, names, masks)
        numbered |= bool(cases)
        if cases:
            entries += _by_number(images, cases, names, choices, split)
        else:
            entries += [_by_volume(path, names, choices, split) for path in found]
    kind = "nnU-Net" if numbered else "Medical Segmentation Decathlon"
    return DatasetLayout(kind, entries, masks)


def _numbered(
    found: list[Path], names: Mapping[int, str], masks: Collection[str]
) -> dict[str, dict[int, Path]]:
    """Channels by number of each case; none where the numbers are parts of names."""
    ids = [case_id(path) for path in found]
    if not all(CHANNEL.search(name) for name in ids) or set(ids) & set(masks):
        return {}
    cases: dict[str, dict[int, Path]] = {}
    for name, path in zip(ids, found, strict=True):
        cases.setdefault(CHANNEL.sub("", name), {})[int(name[-4:])] = path
    largest = max(
        (number for members in cases.values() for number in members), default=0
    )
    return cases if not names or largest <= max(names) else {}


def _by_number(
    folder: Path,
    cases: Mapping[str, Mapping[int, Path]],
    names: Mapping[int, str],
    choices: Collection[str],
    split: Split | None,
) -> list[CaseImages]:
    present = sorted({number for members in cases.values() for number in members})
    chosen = _chosen(
        folder, {one: names.get(one, str(one)) for one in present}, choices
    )
    entries = []
    for name, members in sorted(cases.items()):
        channels, missing = _found_and_missing(chosen, members)
        entries.append(CaseImages(name, channels, missing, split))
    return entries


def _by_volume(
    path: Path,
    names: Mapping[int, str],
    choices: Collection[str],
    split: Split | None,
) -> CaseImages:
    """Image of the Decathlon; its channels lie along the fourth axis."""
    count = 1
    if len(names) > 1:
        with suppress(ImageError):  # reported when the image is checked
            count = count_volumes(path)
    if count == 1:
        return CaseImages(case_id(path), (Channel(UNNAMED, path),), split=split)
    here = {number: names.get(number, str(number)) for number in range(count)}
    channels = tuple(
        Channel(name, path, number)
        for number, name in _chosen(path, here, choices).items()
    )
    return CaseImages(case_id(path), channels, split=split)


def _found_and_missing(
    chosen: Mapping[int, str], members: Mapping[int, Path]
) -> tuple[tuple[Channel, ...], tuple[str, ...]]:
    """Channels of a case out of those chosen, and names of those it lacks."""
    found = tuple(
        Channel(name, members[number])
        for number, name in chosen.items()
        if number in members
    )
    missing = tuple(name for number, name in chosen.items() if number not in members)
    # A case is reported by an image that it has, though it was not chosen.
    return found or (Channel(UNNAMED, next(iter(members.values()))),), missing


def _chosen(
    where: Path, names: Mapping[int, str], choices: Collection[str]
) -> dict[int, str]:
    """Channels that a user asked for, by number; all without a choice."""
    if not choices:
        return dict(names)
    by_text = {name.casefold(): number for number, name in names.items()}
    by_text |= {str(number): number for number in names}
    unknown = [text for text in choices if text.casefold() not in by_text]
    if unknown:
        listed = ", ".join(
            str(number) if name == str(number) else f"{number}={name}"
            for number, name in names.items()
        )
        raise ProjectError(
            f"{where}: expected channels out of {listed}, found '{unknown[0]}'; choose "
            f"with --channel"
        )
    numbers = dict.fromkeys(by_text[text.casefold()] for text in choices)
    return {number: names[number] for number in numbers}


def _channel_names(path: Path) -> dict[int, str]:
    """Names by number in ``dataset.json``; empty where there are none."""
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        names = described.get("channel_names") or described.get("modality") or {}
        return {int(key): str(value) for key, value in names.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _bids(folder: Path, choices: Collection[str]) -> DatasetLayout:
    images: dict[str, Path] = {}
    masks: list[Path] = []
    for path in find_images(folder):
        inside = path.relative_to(folder).parts
        name = case_id(path)
        if _is_bids_mask(name):
            masks.append(path)
        elif inside[0].startswith("sub-") and name.startswith("sub-"):
            images[name] = path
    if choices:
        entries = _by_suffix(folder, images, choices)
    else:
        entries = [
            CaseImages(name, (Channel(UNNAMED, path),), split=Split.TRAIN)
            for name, path in images.items()
        ]
    paired = {
        entry.id: path
        for entry in entries
        for path in masks
        if bids_mask_of(entry.id, case_id(path))
    }
    return DatasetLayout("BIDS", entries, paired)


def _by_suffix(
    folder: Path, images: Mapping[str, Path], choices: Collection[str]
) -> list[CaseImages]:
    """Images of one subject and session that differ in their suffix alone."""
    present = sorted({name.rpartition("_")[2] for name in images})
    chosen = _chosen(folder, dict(enumerate(present)), choices)
    numbers = {suffix: number for number, suffix in chosen.items()}
    cases: dict[str, dict[int, Path]] = {}
    for name, path in images.items():
        entities, _, suffix = name.rpartition("_")
        if suffix in numbers:
            id_ = entities if len(chosen) > 1 else name
            cases.setdefault(id_, {})[numbers[suffix]] = path
    entries = []
    for id_, members in cases.items():
        channels, missing = _found_and_missing(chosen, members)
        entries.append(CaseImages(id_, channels, missing, Split.TRAIN))
    return entries


def bids_mask_of(image: str, mask: str) -> bool:
    """Whether a mask is one of an image by the entities of their BIDS names.

    ``sub-01_desc-manual_dseg`` is one of ``sub-01_T1w``; ``space-T1w`` names the
    image where a subject has several.
    """
    *parts, suffix = image.split("_")
    several = "-" in suffix  # a case of several channels has no suffix
    if not _is_bids_mask(mask):
        return False
    entities = mask.split("_")[:-1]
    spaces = [item.partition("-")[2] for item in entities if item.startswith("space-")]
    known = [item for item in entities if item.partition("-")[0] not in _NO_ENTITIES]
    return known == ([*parts, suffix] if several else parts) and all(
        several or space in (suffix, "orig", "individual") for space in spaces
    )


def _is_bids_mask(name: str) -> bool:
    return name.startswith("sub-") and name.rpartition("_")[2] in _MASK_SUFFIXES
