"""The page on the project folder names all that there is in one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from napari_semiseg.project.cases.history import HistoryEntry
from napari_semiseg.project.layout import Folder, SubPath

PAGE = Path(__file__).parents[2] / "docs" / "folder-format.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", Folder.__subclasses__())
def test_the_page_mentions_every_file(folder: type[Folder]) -> None:
    names = [item.name for item in vars(folder).values() if isinstance(item, SubPath)]
    assert names
    said = [name for name in names if re.search(rf"[`/]{re.escape(name)}[`/]", TEXT)]
    assert said == names


def test_the_page_lists_every_kind_of_history_entry_and_no_other() -> None:
    kinds, _ = get_args(HistoryEntry)
    (table,) = re.findall(r"^\| `action` \|.*\n((?:\|.*\n)+)", TEXT, flags=re.M)
    first = "".join(row.split("|")[1] for row in table.splitlines())
    listed = re.findall(r"`(\w+)`", first)
    assert sorted(listed) == sorted(
        kind.model_fields["action"].default for kind in get_args(kinds)
    )
