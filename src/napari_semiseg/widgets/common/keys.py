"""The shortcuts of the review, and their binding to napari's keys."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A key as napari writes it, and what it does in words."""

    key: str
    text: str


ACCEPT = Shortcut("A", "Accept: the whole volume counts as annotated")
ACCEPT_NEXT = Shortcut("N", "Accept and open the next case of the queue")
ACCEPT_PAINTED = Shortcut(
    "Shift-A", "Accept only what is painted, and slices that are done"
)
WORST = Shortcut("W", "Next most doubtful slice")
SKIP = Shortcut("Shift-S", "Skip: the case goes to the end of the queue, open the next")
FLAG = Shortcut("Shift-F", "Flag the case for a second look, with a comment")
DONE = Shortcut("D", "This slice is done: what is not painted is background")
UNKNOWN = Shortcut("Shift-E", "Paint as not annotated: nobody has looked there")
VEIL = Shortcut("H", "Show or hide the veil over what is not annotated")
BETWEEN = Shortcut("I", "Fill the mask in between slices that are done")
FOLLOW = Shortcut("Shift-J", "Fill in between, following the image")
ALONG = Shortcut("Shift-I", "Fill in between, following the prediction")
BOUNDARY = Shortcut("J", "Move the boundary by millimetres")
APPLY = Shortcut("U", "Use the tool: apply its preview; Ctrl+Z undoes it in one step")
LOCK = Shortcut("K", "Lock or unlock the structure in hand")
BACK = Shortcut("Shift-N", "Back to the case that was open before")
MASK = Shortcut("T", "Show or hide the mask")
CHANNEL = Shortcut("Shift-T", "Next image of the case, such as from T1 to FLAIR")
PLANE = Shortcut("Q", "Axial, coronal, sagittal")
VIEWS = Shortcut("R", "Show or hide distance and uncertainty")
CONTRAST = Shortcut("Shift-C", "Next range of grey values")
SOLID = Shortcut("Shift-Q", "Show the mask in three dimensions, or go back")
SAVE = Shortcut("S", "Save the draft now")
FILL = Shortcut("G", "Fill from the prediction where nothing is annotated")
PAINT = Shortcut("P", "Paint")
ERASE = Shortcut("E", "Erase")
BUCKET = Shortcut("F", "Fill a region")
PAN = Shortcut("Z", "Pan and zoom")

PAINTING, LOOK, TOOLS, WORK = "Paint", "Look", "Tools", "Work through the cases"
GROUPS = {
    **dict.fromkeys((PAINT, ERASE, BUCKET, PAN, UNKNOWN, LOCK), PAINTING),
    **dict.fromkeys((MASK, PLANE, CHANNEL, VIEWS, VEIL, CONTRAST, SOLID, WORST), LOOK),
    **dict.fromkeys((BETWEEN, FOLLOW, ALONG, BOUNDARY, APPLY, FILL), TOOLS),
}
"""Where the sheet lists a key; with the cases when it is not here."""

BUILT_IN = (
    Shortcut("[  ]", "Smaller, larger brush"),
    Shortcut("\u2190  \u2192", "Previous, next slice"),
    Shortcut("Ctrl-Z", "Undo; Ctrl-Shift-Z redoes"),
    Shortcut("Space", "Hold to pan while painting"),
)
"""Keys of napari itself that are worth knowing."""


def short(key: str) -> str:
    """Write a key the way it fits on a button."""
    return key.replace("Shift-", "\u21e7")


class Keys:
    """Binds keys and gives back what was bound to them before.

    Parameters
    ----------
    provider : napari viewer or layer
        Anything with ``keymap`` and ``bind_key``.
    """

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._bound: list[tuple[str, Any]] = []

    def bind(self, key: str, action: Callable[[], object]) -> None:
        """Bind a key, whatever was bound to it."""

        def press(_: Any) -> None:
            action()

        before = self._provider.bind_key(key, None)
        self._provider.bind_key(key, press, overwrite=True)
        self._bound.append((key, before))

    def release(self) -> None:
        """Give every key back."""
        for key, before in reversed(self._bound):
            self._provider.bind_key(key, before, overwrite=True)
        self._bound.clear()


class ClassKeys:
    """Digits that choose a class, on the layers of a case only.

    There they take the place of napari's digits for the tools, which keep their
    letters.
    """

    def __init__(self) -> None:
        self._bound: list[Keys] = []

    def bind(
        self,
        layers: Iterable[Any],
        values: Iterable[int],
        choose: Callable[[int], object],
    ) -> None:
        """Let 0 to 9 choose these values, in their order."""
        numbered = list(enumerate(values))[:10]
        for layer in layers:
            bound = Keys(layer)
            for digit, value in numbered:
                bound.bind(str(digit), partial(choose, value))
            self._bound.append(bound)

    def release(self) -> None:
        """Give the digits back."""
        for bound in self._bound:
            bound.release()
        self._bound.clear()
