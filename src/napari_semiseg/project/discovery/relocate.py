"""Find images that have moved."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.io.dicom.series import EVERY_SERIES
from napari_semiseg.io.images import content_sha256, find_images
from napari_semiseg.project.cases.references import reference
from napari_semiseg.project.discovery.find_images import locate

if TYPE_CHECKING:
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.cases.record import ChannelRecord


def find_moved(
    cases: Iterable[Case], folder: str | Path
) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """Look for missing images in a folder, by file name and content.

    Returns the images of each case that has moved, one per channel, and the reason for
    each case that was not found, by id.
    """
    by_name: dict[str, list[Path]] = {}
    for image in map(locate, find_images(Path(folder), [EVERY_SERIES])):
        by_name.setdefault(image.name, []).append(image)
    found: dict[str, list[Path]] = {}
    missed: dict[str, str] = {}
    for case in cases:
        if all(image.exists() for image, _ in _hashed(case)):
            continue
        images = []
        for image, sha256 in _hashed(case):
            candidates = [image] if image.exists() else by_name.get(image.name, [])
            same = (item for item in candidates if content_sha256(item) == sha256)
            moved = next(same, None)
            if moved is not None:
                images.append(moved)
            elif candidates:
                missed[case.id] = (
                    "an image of this name was found, but it is another one"
                )
            else:
                missed[case.id] = f"no image named {image.name} was found"
        if case.id not in missed:
            found[case.id] = images
    return found, missed


def moved_channels(
    channels: Iterable[ChannelRecord], images: Iterable[Path], project: Path
) -> tuple[ChannelRecord, ...]:
    """Channels of a record once their images lie elsewhere."""
    return tuple(
        channel.model_copy(update={"image": reference(image, project)})
        for channel, image in zip(channels, images, strict=True)
    )


def _hashed(case: Case) -> list[tuple[Path, str]]:
    """Each image of a case with the hash it had when it was added."""
    pairs = zip(case.channels, case.record.channels, strict=True)
    return [(channel.image, record.sha256) for channel, record in pairs]
