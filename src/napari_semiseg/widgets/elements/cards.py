"""Show one number that matters on a card, with what it is about."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QWidget

from napari_semiseg.widgets.elements.forms import (
    ElidedLabel,
    plain_label,
    row_of,
    stack,
)
from napari_semiseg.widgets.elements.style import look


class NumberCard(QFrame):
    """A title with a note, a number with its unit, and what belongs to it below.

    Parameters
    ----------
    title : str
        What the number is.
    """

    def __init__(self, title: str = "") -> None:
        super().__init__()
        look(self, "card")
        self.title = look(plain_label(title), "title")
        self.note, self.unit = ElidedLabel("secondary"), ElidedLabel("secondary")
        self.title.setMinimumWidth(40)  # no text widens the panel
        self.value = look(plain_label(), "number")
        for label in (self.note, self.unit):
            label.setElideMode(Qt.TextElideMode.ElideRight)
        self.note.setAlignment(Qt.AlignmentFlag.AlignRight)
        head, self._numbers = row_of(self.title, self.note), row_of(self.value)
        self._numbers.addWidget(self.unit)
        for row in (head, self._numbers):
            row.setStretch(0, 0)
            row.setStretch(1, 1)
        self._column = stack(self, head, self._numbers)
        self._column.setSpacing(4)

    def add(self, *parts: QWidget) -> None:
        """Put parts below the number."""
        for part in parts:
            self._column.addWidget(part)
