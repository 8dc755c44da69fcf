"""Whether the images of cases are still where, and what, they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.io.dicom import EVERY_SERIES
from napari_semiseg.io.images import content_sha256, files_of
from napari_semiseg.project.adding import collect, file_facts

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_semiseg.project.cases import Case


def find_moved(
    cases: Iterable[Case], folder: str | Path
) -> tuple[dict[str, Path], dict[str, str]]:
    """Look for missing images in a folder, by file name and content.

    Returns
    -------
    found : dict
        Image by case id.
    missed : dict
        Reason by case id.
    """
    by_name: dict[str, list[Path]] = {}
    for item in collect([folder], [EVERY_SERIES]):
        by_name.setdefault(item.image.name, []).append(item.image)
    found: dict[str, Path] = {}
    missed: dict[str, str] = {}
    for case in cases:
        if case.image.exists():
            continue
        candidates = by_name.get(case.image.name, [])
        same = (
            item for item in candidates if content_sha256(item) == case.record.sha256
        )
        moved = next(same, None)
        if moved is not None:
            found[case.id] = moved
        elif candidates:
            missed[case.id] = "an image of this name was found, but it is another one"
        else:
            missed[case.id] = f"no image named {case.image.name} was found"
    return found, missed


def check(cases: Iterable[Case]) -> dict[str, str]:
    """Say by case id what is wrong with an image."""
    problems = {}
    for case in cases:
        if not case.image.exists():
            problems[case.id] = (
                f"{case.image} is missing; point the project to its new folder"
            )
        elif not _untouched(case) and (
            content_sha256(case.image) != case.record.sha256
        ):
            problems[case.id] = f"{case.image} has changed since it was added"
    return problems


def _untouched(case: Case) -> bool:
    """Whether the image's size and time of change are as when it was added."""
    facts = file_facts(case.image)
    return files_of(case.image) == [case.image] and any(
        entry.action == "add"
        and all(entry.details.get(key) == facts[key] for key in facts)
        for entry in case.record.history
    )
