"""Check that the images of cases are where, and what, they were; find moved ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.errors import ImageError
from napari_semiseg.io.dicom.series import EVERY_SERIES
from napari_semiseg.io.images import content_sha256, files_of, find_images
from napari_semiseg.project.cases.history import Added
from napari_semiseg.project.cases.references import FileFacts, reference
from napari_semiseg.project.discovery.find_images import locate

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def image_problems(cases: Iterable[Case]) -> dict[str, str]:
    """Say by case id what is wrong with an image."""
    problems = {}
    for case in cases:
        for image, sha256 in dict.fromkeys(_hashed(case)):
            problem = _problem(case, image, sha256)
            if problem:
                problems[case.id] = problem
    return problems


def _problem(case: Case, image: Path, sha256: str) -> str:
    if not image.exists():
        return f"{image} is missing; point the project to its new folder"
    try:
        same = _untouched(case, image) or content_sha256(image) == sha256
    except ImageError as error:
        return str(error)
    return "" if same else f"{image} has changed since it was added"


def _hashed(case: Case) -> list[tuple[Path, str]]:
    """Each image of a case with the hash it had when it was added."""
    pairs = zip(case.channels, case.record.channels, strict=True)
    return [(channel.image, record.sha256) for channel, record in pairs]


def _untouched(case: Case, image: Path) -> bool:
    """Whether an image's size and time of change are as when it was added."""
    if files_of(image) != [image]:
        return False
    added = (entry for entry in case.record.history if isinstance(entry, Added))
    return any(FileFacts.of(image) in entry.files for entry in added)
