"""Fold napari's column of layers while a case is reviewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDockWidget, QMainWindow

from napari_semiseg.widgets.common.preferences import choose, setting

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCKS = ("layer controls", "layer list")
"""Object names of napari's docks."""


class LeftColumn:
    """Hides napari's layer docks, and brings those back that could be seen.

    Once the user has asked for them with `toggle`, they stay, until `toggle` folds them
    again; that is remembered.
    """

    def __init__(self) -> None:
        self._window: QMainWindow | None = None
        self._folded: list[str] = []

    def fold(self, window: QMainWindow | None) -> None:
        """Give the room of the docks to the image, unless the user keeps them."""
        self._window = window
        if self._folded or setting("keep_layers"):
            return
        shown = [dock for dock in self._docks(DOCKS) if not dock.isHidden()]
        self._folded = [dock.objectName() for dock in shown]
        for dock in shown:
            dock.hide()

    def unfold(self) -> None:
        """Bring the docks back."""
        names, self._folded = self._folded, []
        for dock in self._docks(names):
            dock.show()

    def toggle(self) -> None:
        """Show the docks from now on, or fold them from now on."""
        if self._window is None:
            return
        choose("keep_layers", not setting("keep_layers"))
        self.unfold()
        self.fold(self._window)

    def leave(self) -> None:
        """Bring the docks back and forget the window, which may go."""
        self.unfold()
        self._window = None

    def _docks(self, names: Iterable[str]) -> list[QDockWidget]:
        window = self._window
        found = [window.findChild(QDockWidget, name) for name in names if window]
        return [dock for dock in found if dock is not None]
