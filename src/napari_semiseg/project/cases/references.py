"""Refer to files outside the project, and detect that files have changed."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from napari_semiseg.errors import ImageError
from napari_semiseg.io.images import content_sha256, files_of

MAX_CLIMB = 4
"""A relative path that climbs higher than this is written absolute instead."""


class FileFacts(BaseModel):
    """Size (bytes) and time of change (ns), by which a changed file is detected.

    Of an image of several files the sums of both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, *files: Path) -> Self:
        """Look at files; raises ``OSError`` where there is none."""
        facts = [file.stat() for file in files]
        return cls(
            size=sum(one.st_size for one in facts),
            mtime_ns=sum(one.st_mtime_ns for one in facts),
        )


def image_problem(image: Path, sha256: str, known: Collection[FileFacts]) -> str:
    """Say what is wrong with an image; empty where it is the one of this hash.

    Files whose size and time of change are among those ``known`` are not read.
    """
    if not image.exists():
        return f"{image} is missing; point the project to its new folder"
    try:
        facts = FileFacts.of(*files_of(image))
        same = facts in known or _sha256(image, facts) == sha256
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{image} cannot be read ({error.strerror})"
    if same:
        return ""
    return (
        f"{image} has changed since it was added; put the original back, or take it as "
        f"it is now by semiseg add PROJECT with this path"
    )


@lru_cache(maxsize=4096)
def _sha256(image: Path, _facts: FileFacts) -> str:
    """Hash of an image, read anew when its files have changed."""
    return content_sha256(image)


def reference(image: Path, project: Path) -> str:
    """Write the path of an image as the records of a project have it."""
    try:
        relative = Path(os.path.relpath(image, project))
    except ValueError:  # another drive
        return image.as_posix()
    shared = Path(os.path.commonpath([image, project]))
    climbs = relative.parts.count(os.pardir)
    if climbs > MAX_CLIMB or shared == Path(shared.anchor):
        return image.as_posix()
    return relative.as_posix()


def resolve(text: str, project: Path) -> Path:
    """Invert `reference`."""
    return Path(os.path.normpath(project / text))
