"""Describe an action of the panel once, for its button, key, help and command."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

C = TypeVar("C")

ANNOTATE_MENU = "napari/layers/annotate"
SEGMENT_MENU = "napari/layers/segment"
FILE_MENU = "napari/file/io_utilities"


class Group(StrEnum):
    """Heading under which the shortcut sheet lists an action."""

    PAINT = "Paint"
    LOOK = "Look"
    TOOLS = "Tools"
    CASES = "Work through the cases"
    NAPARI = "In napari"


@dataclass(frozen=True, slots=True)
class Action(Generic[C]):
    """Something that the user can make the panel do.

    Attributes
    ----------
    id : str
        Unique; the command of napari is ``napari-semiseg.<id>``.
    run : callable
        Does it; called with the panel that it belongs to.
    text : str
        What it does, in the tooltip and in the shortcut sheet.
    key : str
        As napari writes it, such as ``Shift-A``; empty for none.
    group : Group
        Where the shortcut sheet lists the key.
    button : str
        Label of a button, beside which the key stands; empty for no button. The panel
        lists it under *More*, unless it has a place of its own.
    needs_case : bool
        Whether it can be done, and its button is enabled, only while a case is open.
    title : str
        Name in napari's command palette; empty for no command. A command needs an
        entry in ``napari.yaml``.
    menu : str
        Menu of napari that lists the command, if it is one; empty for none.
    tab : str
        Tab that the command brings to the front first; empty for none.
    icon : str
        Name in the icon font, such as ``brush``; empty for none.
    """

    id: str
    run: Callable[[C], object]
    text: str = ""
    key: str = ""
    group: Group = Group.CASES
    button: str = ""
    needs_case: bool = True
    title: str = ""
    menu: str = ANNOTATE_MENU
    tab: str = ""
    icon: str = ""


def by_id(actions: Iterable[Action[C]]) -> dict[str, Action[C]]:
    """Index actions by id; leave out, with a warning, an id or key that is taken."""
    known: dict[str, Action[C]] = {}
    keys: dict[str, str] = {}
    for action in actions:
        owner = keys.get(action.key) if action.key else None
        if owner is not None or action.id in known:
            warnings.warn(
                f"action {action.id!r} is left out: its id or its key {action.key!r} "
                f"belongs to {owner or action.id!r}",
                stacklevel=2,
            )
            continue
        known[action.id] = action
        keys[action.key] = action.id
    return known


def short(key: str) -> str:
    """Write a key the way it fits on a button."""
    return key.replace("Shift-", "\u21e7")
