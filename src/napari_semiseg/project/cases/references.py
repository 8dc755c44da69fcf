"""Refer to files outside the project, and detect that files have changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

MAX_CLIMB = 4
"""A relative path that climbs higher than this is written absolute instead."""


class FileFacts(BaseModel):
    """Size (bytes) and time of change (ns), by which a changed file is detected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Look at a file; raises ``OSError`` where there is none."""
        facts = path.stat()
        return cls(size=facts.st_size, mtime_ns=facts.st_mtime_ns)


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
