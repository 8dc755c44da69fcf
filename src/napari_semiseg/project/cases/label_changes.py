"""Notice labels that change, by size, time of change and inode of their files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_semiseg.project.layout import Layout

Facts = tuple[int, int, int] | None


class LabelWatcher:
    """Notices labels and records of cases that were written, replaced or removed.

    Size, time of change and inode are compared; nothing is read. An atomic write always
    gives a new inode, so that two writes within one tick of the clock differ too.

    Parameters
    ----------
    layout : Layout
        Paths of the project; what is there now is taken as known.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known = self._look()

    def changed(self) -> list[str]:
        """Ids of the cases that differ from the last look, sorted."""
        found, before = self._look(), self._known
        self._known = found
        return sorted(
            name
            for name in found.keys() | before.keys()
            if found.get(name) != before.get(name)
        )

    def report_again(self, case_id: str) -> None:
        """Name this case at the next look too."""
        self._known.pop(case_id, None)

    def _look(self) -> dict[str, tuple[Facts, Facts]]:
        example = self._layout.case("case")
        label, record = example.label.name, example.json.name
        try:
            folders = [(at.name, at.path) for at in os.scandir(self._layout.cases)]
        except FileNotFoundError:
            return {}
        # Strings and not paths: a thousand cases are looked at in some milliseconds.
        return {
            name: (
                _facts(f"{path}{os.sep}{label}"),
                _facts(f"{path}{os.sep}{record}"),
            )
            for name, path in folders
        }


def _facts(path: str) -> Facts:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
