"""The palettes of the structures, as a menu."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QAction
    from qtpy.QtWidgets import QMenu

TITLES = {
    "okabe-ito": "Okabe and Ito",
    "bright": "Tol, bright",
    "vibrant": "Tol, vibrant",
}


def add_colour_menu(menu: QMenu, choose: Callable[[QAction], object]) -> QAction:
    """Add a menu of the palettes, all safe for the colour-blind.

    Parameters
    ----------
    menu : QMenu
        Gets the new one at its end.
    choose : callable
        Called with an action that has the name of a palette as its data.
    """
    colours = menu.addMenu("Colours (safe for the colour-blind)")
    for name, title in TITLES.items():
        colours.addAction(title).setData(name)
    colours.triggered.connect(choose)
    return colours.menuAction()
