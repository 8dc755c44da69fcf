"""Small parts that dialogs and forms are made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
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

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtCore import SignalInstance

    from napari_semiseg.widgets.common.actions import Action, C


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
    if run is not None:
        button.clicked.connect(run)
    return button


def plain_button(
    text: str, tip: str, run: Callable[[], object] | None = None
) -> QPushButton:
    """Make a button that can be narrow and takes the focus by the Tab key only."""
    button = QPushButton(text)
    button.setToolTip(plain(tip))
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    button.setMinimumWidth(40)
    button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    if run is not None:
        button.clicked.connect(lambda *_: run())
    return button


def action_button(action: Action[C], panel: C) -> QPushButton:
    """Make the button of an action."""
    return plain_button(action.label, action.text, lambda: action.run(panel))


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
    accept.setDefault(True)
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
