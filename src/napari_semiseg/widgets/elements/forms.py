"""Small parts that dialogs and forms are made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible, QElidingLabel

from napari_semiseg.widgets.elements.style import look

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtCore import SignalInstance
    from qtpy.QtGui import QShowEvent


ELIDED_MARGIN = 6
"""Pixels that a label keeps free around an elided text."""
WORD_JOINER = "\u2060"
"""Has no width; behind what begins a tag or an entity, it makes that plain text."""
_MARKUP = re.compile(r"<(?=\s*[A-Za-z/!?])|&(?=lt;)")


def plain(text: str) -> str:
    """Keep Qt from reading markup in a text where no format can be set.

    So in tool tips, notifications and what napari shows of layers. Names, comments
    and messages come from others: as markup they could load files.
    """
    return _MARKUP.sub(lambda found: found.group() + WORD_JOINER, text)


def plain_label(text: str = "") -> QLabel:
    """Make a label that shows its text as it is, whoever wrote it."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


def markup_label(text: str = "", *, wrapped: bool = False) -> QLabel:
    """Make a label of rich text; what others wrote in it must be escaped."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.RichText)
    return _wrapping(label) if wrapped else label


def push_button(
    text: str, run: Callable[..., object] | SignalInstance | None = None, tip: str = ""
) -> QPushButton:
    """Make a button; ``run`` may take whether it is checked."""
    button = QPushButton(text)
    button.setToolTip(plain(tip))
    button.setMinimumWidth(40)  # no text widens the panel
    button.setAutoDefault(False)  # Enter in a field of a dialog does not press it
    if run is not None:
        button.clicked.connect(run)
    return button


class Fold(QCollapsible):
    """What is seldom needed, under a line that shows or hides it."""

    def __init__(self, title: str, tip: str, *parts: QWidget) -> None:
        super().__init__(title)
        self.toggleButton().setToolTip(tip)
        if (around := self.layout()) is not None:
            around.setContentsMargins(0, 0, 0, 0)
        for part in parts:
            self.addWidget(part)

    def showEvent(self, event: QShowEvent) -> None:
        """Draw the arrows in the theme's colour, which is known by now."""
        super().showEvent(event)
        self._draw_arrows()

    def changeEvent(self, event: QEvent) -> None:
        """Draw the arrows in the colour of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._draw_arrows()

    def _draw_arrows(self) -> None:
        self.setCollapsedIcon("\u25b6")
        self.setExpandedIcon("\u25bc")


class ElidedLabel(QElidingLabel):
    """A plain line that is shortened in the middle and never widens the panel.

    The tool tip has all of it.
    """

    def __init__(self, look: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.setEllipsesWidth(ELIDED_MARGIN)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setProperty("look", look)

    def setText(self, text: str | None) -> None:
        """Show a text, and all of it in the tool tip."""
        super().setText(text or "")
        self.setToolTip(plain(text or ""))


def wrapped_label(text: str = "") -> QLabel:
    """Make a plain text of several lines."""
    return _wrapping(plain_label(text))


def _wrapping(label: QLabel) -> QLabel:
    """Wrap a text in whatever width there is: a long name in it asks for no more."""
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


def dialog_buttons(dialog: QDialog, text: str) -> tuple[QDialogButtonBox, QPushButton]:
    """Make *Cancel* and a default button that accepts; returns both, and the latter."""
    box = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
    accept = box.addButton(text, QDialogButtonBox.ButtonRole.AcceptRole)
    look(accept, "primary").setDefault(True)
    box.accepted.connect(dialog.accept)
    box.rejected.connect(dialog.reject)
    return box, accept


def row_of(*parts: QWidget | None) -> QHBoxLayout:
    """Put widgets side by side; None takes the room that is left, else the first."""
    row = QHBoxLayout()
    _fill(row, parts, None if None in parts else parts[0])
    return row


def stack(
    owner: QWidget,
    *parts: QWidget | QLayout | None,
    stretched: QWidget | None = None,
    margin: int | None = None,
) -> QVBoxLayout:
    """Fill a widget with parts from top to bottom.

    Parameters
    ----------
    owner : QWidget
        Gets the layout.
    parts : widgets, layouts and None
        What it holds; None takes the room that is left.
    stretched : QWidget, optional
        The part that does so instead.
    margin : int, optional
        Pixels at each side; by default those of the style.
    """
    column = QVBoxLayout(owner)
    if margin is not None:
        column.setContentsMargins(margin, margin, margin, margin)
    _fill(column, parts, stretched)
    return column


def _fill(
    layout: QHBoxLayout | QVBoxLayout,
    parts: tuple[QWidget | QLayout | None, ...],
    stretched: QWidget | None,
) -> None:
    for part in parts:
        if part is None:
            layout.addStretch()
        elif isinstance(part, QLayout):
            layout.addLayout(part)
        else:
            layout.addWidget(part, int(part is stretched))
