"""Several images of one case on one grid: its channels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.geometry import GRID_TOLERANCE
from napari_semiseg.errors import ConfigError, ImageError, ProjectError
from napari_semiseg.io.dicom.series import Series, series_of, series_with
from napari_semiseg.io.images import case_id, series_folder

if TYPE_CHECKING:
    from napari_semiseg.core.case import Split
    from napari_semiseg.core.geometry import Geometry

UNNAMED = "image"
"""Name of the channel of a case that has one image."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One image of a case.

    Attributes
    ----------
    name : str
        What it shows, such as T1.
    image : Path
        Absolute path of its file, or of a DICOM folder.
    volume : int, optional
        Its place along the fourth axis of a file that holds several.
    """

    name: str
    image: Path
    volume: int | None = None


def describe_channels(channels: Collection[str]) -> str:
    """Put channels into words, for a message."""
    if len(channels) > 1:
        return f"the channels {', '.join(channels)}"
    return "one image a case"


def same_channels(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether cases with these channels can be used together.

    Several channels must have the same names; a single image may have any.
    """
    return one == other or len(one) == len(other) == 1


@dataclass(frozen=True, slots=True)
class CaseImages:
    """Images that were found of one case, and names of channels that were not.

    ``id`` is what their names have in common, else the name of their folder; ``split``
    is what the data set that they are from uses the case for.
    """

    id: str
    channels: tuple[Channel, ...]
    missing: tuple[str, ...] = ()
    split: Split | None = None


def parse_endings(choices: Collection[str]) -> dict[str, str]:
    """Ending of file names by the channel's name, from texts ``NAME=ENDING``.

    Empty where the choices are names or numbers of a known data set's channels.
    """
    pairs = [tuple(text.split("=", 1)) for text in choices if "=" in text]
    if not pairs:
        return {}
    found = {name.strip(): ending.strip() for name, ending in pairs}
    clear = len(pairs) == len(choices) == len(set(found.values())) == len(found)
    if not clear or "" in found or "" in found.values():
        raise ConfigError(
            f"expected channels as NAME=ENDING, each once, found "
            f"{', '.join(map(repr, choices))}; give T1=_t1 for files that end "
            f"in _t1"
        )
    return found


def group_channels(
    images: Iterable[Path], endings: Mapping[str, str]
) -> tuple[list[CaseImages], list[Path]]:
    """Sort images into cases by what their names end in.

    ``a_t1.nii.gz`` is the channel with the ending ``_t1`` of the case ``a``, and
    ``a/t1.nii.gz`` that of ``a`` too. A DICOM series is known by its number,
    description or UID as well, and its case by its folder. Returns groups by rising
    id, and images with none of the endings.
    """
    sorted_in: dict[tuple[Path, str], dict[str, Path]] = {}
    others: list[Path] = []
    for image in images:
        match = _channel(image, endings)
        if match is None:
            others.append(image)
            continue
        name, stem = match
        members = sorted_in.setdefault((image.parent, stem), {})
        if members.setdefault(name, image) != image:
            raise ProjectError(
                f"expected one image of channel {name} of a case, found "
                f"{members[name]} and {image}; give longer endings"
            )
    groups = [
        CaseImages(
            stem or holder.name,
            tuple(Channel(name, members[name]) for name in endings if name in members),
            tuple(name for name in endings if name not in members),
        )
        for (holder, stem), members in _joined(sorted_in, len(endings)).items()
    ]
    return sorted(groups, key=lambda group: (group.id, group.channels[0].image)), others


def _channel(image: Path, endings: Mapping[str, str]) -> tuple[str, str] | None:
    """Name of an image's channel, and the part of its name that names the case."""
    if series_folder(image) is not None:
        return _channel_of_series(series_with(image), endings, "")
    text = case_id(image)
    fits = [
        name
        for name, end in endings.items()
        if text.casefold().endswith(end.casefold())
    ]
    if not fits:
        series = series_of(image) if image.is_dir() else []
        return _channel_of_series(series[0], endings, image.name) if series else None
    name = max(fits, key=lambda name: len(endings[name]))
    return name, text[: -len(endings[name])].rstrip("_-. ")


def _channel_of_series(
    series: Series, endings: Mapping[str, str], stem: str
) -> tuple[str, str] | None:
    for name, end in endings.items():
        if series.answers_to(end):
            return name, stem
    return None


def _joined(
    sorted_in: dict[tuple[Path, str], dict[str, Path]], count: int
) -> dict[tuple[Path, str], dict[str, Path]]:
    """Join what folders named after channels keep apart: ``t1/a_t1``, ``t2/a_t2``."""
    whole = {key: group for key, group in sorted_in.items() if len(group) == count}
    parts = {key: group for key, group in sorted_in.items() if key not in whole}
    first: dict[str, tuple[Path, str]] = {}
    for key, members in parts.items():
        home = first.setdefault(key[1], key) if key[1] else key
        known = whole.setdefault(home, {})
        if known.keys() & members.keys():
            whole[key] = members
        else:
            known |= members
    return whole


def check_same_grid(path: Path, found: Geometry, first: Path, grid: Geometry) -> None:
    """Refuse a channel on another grid than the first one."""
    if found.shape_zyx != grid.shape_zyx:
        differs = f"shape (z, y, x) {grid.shape_zyx}", f"{found.shape_zyx}"
    elif not np.allclose(found.spacing_mm, grid.spacing_mm, rtol=1e-3):
        differs = f"voxels of {_mm(grid)}", _mm(found)
    else:
        shift = np.abs(found.corners - grid.corners).max()
        if shift <= GRID_TOLERANCE * min(grid.spacing_mm):
            return
        differs = "the same place", f"corners up to {shift:.3g} mm apart"
    raise ImageError(
        f"{path}: expected the grid of {first.name} ({differs[0]}), found "
        f"{differs[1]}; register and resample all channels of a case onto one grid"
    )


def _mm(geometry: Geometry) -> str:
    return " x ".join(f"{step:.4g}" for step in geometry.spacing_mm) + " mm"
