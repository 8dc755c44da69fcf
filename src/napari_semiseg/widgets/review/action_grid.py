"""The buttons of the review, in a grid that fits a narrow dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QPushButton, QSizePolicy, QWidget

from napari_semiseg.widgets.common import keys
from napari_semiseg.widgets.common.keys import short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_semiseg.widgets.common.keys import Shortcut

COLUMNS = 12
ROWS = (
    (
        (keys.PLANE, "Plane"),
        (keys.MASK, "Mask"),
        (keys.VEIL, "Veil"),
        (keys.VIEWS, "Maps"),
    ),
    ((keys.WORST, "Next worst slice"), (keys.FILL, "Use prediction")),
    ((keys.DONE, "Slice done"), (keys.ACCEPT_PAINTED, "Accept painted")),
    ((keys.ACCEPT, "Accept"), (keys.ACCEPT_NEXT, "Accept && next")),
    ((keys.BACK, "Back"), (keys.SKIP, "Skip"), (keys.FLAG, "Flag\u2026")),
    ((keys.SAVE, "Save draft"),),
)


class ActionGrid(QWidget):
    """Buttons with their keys; the last row also discards the draft.

    Parameters
    ----------
    actions : mapping of Shortcut to callable
        What each button does.
    discard : callable
        Forgets what is not accepted.
    """

    def __init__(
        self,
        actions: Mapping[Shortcut, Callable[[], object]],
        discard: Callable[[], object],
    ) -> None:
        super().__init__()
        self.buttons: dict[Shortcut, QPushButton] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        self.discard = plain_button("Discard draft", "Forget what is not accepted")
        self.discard.clicked.connect(_call(discard))
        for row, items in enumerate(ROWS):
            last = row == len(ROWS) - 1
            span = COLUMNS // (len(items) + last)
            for column, (shortcut, text) in enumerate(items):
                button = plain_button(f"{text} ({short(shortcut.key)})", shortcut.text)
                button.clicked.connect(_call(actions[shortcut]))
                self.buttons[shortcut] = button
                grid.addWidget(button, row, column * span, 1, span)
            if last:
                grid.addWidget(self.discard, row, COLUMNS - span, 1, span)
        for column in range(COLUMNS):
            grid.setColumnStretch(column, 1)
        self.buttons[keys.ACCEPT_NEXT].setStyleSheet("font-weight: bold")


def plain_button(text: str, tip: str) -> QPushButton:
    """A button that can be narrow and takes the focus by the Tab key only."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    button.setMinimumWidth(40)
    button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return button


def _call(action: Callable[[], object]) -> Callable[[], object]:
    """Leave out the state that a button's click hands over."""
    return lambda *_: action()
