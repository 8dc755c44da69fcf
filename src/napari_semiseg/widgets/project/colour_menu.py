"""List the palettes of the structures in a menu."""

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
    """Append a menu of palettes; the data of a chosen action is a palette's name."""
    colours = menu.addMenu("Colours (safe for the colour-blind)")
    for name, title in TITLES.items():
        colours.addAction(title).setData(name)
    colours.triggered.connect(choose)
    return colours.menuAction()
