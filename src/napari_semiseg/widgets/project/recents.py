"""Remember the projects that were opened last, and how far they were."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from napari_semiseg.widgets.common.preferences import preferences

RECENT = "recent"
KEPT = 6


@dataclass(frozen=True, slots=True)
class Recent:
    """A project as it was when it was last open.

    Attributes
    ----------
    folder, name : str
        Where it was, and what it is called.
    labelled, cases : int
        How many cases have a label, and how many there are.
    at : float
        Unix time, s.
    """

    folder: str
    name: str
    labelled: int
    cases: int
    at: float

    @property
    def exists(self) -> bool:
        """Whether the project is still there."""
        return (Path(self.folder) / "project.toml").is_file()


def recent_projects() -> list[Recent]:
    """Projects that were opened last, the newest first; some may be gone."""
    with suppress(ValueError, TypeError):  # a file that somebody has edited
        stored = json.loads(str(preferences().value(RECENT) or "[]"))
        return [Recent(**one) for one in stored]
    return []


def remember_project(folder: Path, name: str, labelled: int, cases: int) -> None:
    """Put a project first in `recent_projects`."""
    found = Recent(str(folder.resolve()), name, labelled, cases, time.time())
    others = [one for one in recent_projects() if one.folder != found.folder]
    _store([found, *others][:KEPT])


def forget_project(folder: str) -> None:
    """Take a project out of `recent_projects`."""
    _store([one for one in recent_projects() if one.folder != folder])


def day(at: float, today: date | None = None) -> str:
    """Say on which day a time was, in few letters."""
    then = date.fromtimestamp(at)
    passed = ((today or date.today()) - then).days
    if passed < 2:
        return "yesterday" if passed == 1 else "today"
    return f"{then:%d %b}" if passed < 300 else f"{then:%b %Y}"


def short_path(folder: str) -> str:
    """Write a path with ~ for the home folder."""
    with suppress(ValueError, RuntimeError):
        return str(Path("~") / Path(folder).relative_to(Path.home()))
    return folder


def _store(found: list[Recent]) -> None:
    preferences().setValue(RECENT, json.dumps([asdict(one) for one in found]))
