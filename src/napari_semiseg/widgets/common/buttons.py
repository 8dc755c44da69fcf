"""Push buttons that fit a narrow dock and leave the keyboard to the canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QSizePolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_semiseg.widgets.common.actions import Action, C


def plain_button(
    text: str, tip: str, run: Callable[[], object] | None = None
) -> QPushButton:
    """Make a button that can be narrow and takes the focus by the Tab key only."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    button.setMinimumWidth(40)
    button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    if run is not None:
        button.clicked.connect(lambda *_: run())
    return button


def action_button(action: Action[C], panel: C) -> QPushButton:
    """Make the button of an action."""
    return plain_button(action.label, action.text, lambda: action.run(panel))
