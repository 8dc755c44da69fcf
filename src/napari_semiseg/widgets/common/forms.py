"""Small parts that dialogs and forms are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable


def push_button(
    text: str, run: Callable[..., object] | None = None, tip: str = ""
) -> QPushButton:
    """Make a button; ``run`` may take whether it is checked."""
    button = QPushButton(text)
    button.setToolTip(tip)
    if run is not None:
        button.clicked.connect(run)
    return button


def wrapped_label(text: str = "") -> QLabel:
    """Make a text of several lines."""
    label = QLabel(text)
    label.setWordWrap(True)
    return label


def row_of(stretched: QWidget, *others: QWidget) -> QHBoxLayout:
    """Put widgets side by side, the first with the room that is left."""
    row = QHBoxLayout()
    row.addWidget(stretched, 1)
    for other in others:
        row.addWidget(other)
    return row
