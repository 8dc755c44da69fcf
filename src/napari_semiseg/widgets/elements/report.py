"""A dialog that shows what was found, and offers what can be done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QScrollArea, QWidget

from napari_semiseg.widgets.elements.forms import (
    markup_label,
    push_button,
    stack,
    wrapped_label,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class ReportDialog(QDialog):
    """Shows text with markup, to scroll and to copy, beside which work goes on.

    Parameters
    ----------
    head : str
        A sentence above it.
    actions : iterable of (str, str, callable)
        Text and tip of a button, and what it does once the dialog is closed.
    """

    def __init__(
        self,
        title: str,
        text: str,
        parent: QWidget | None = None,
        *,
        head: str = "",
        actions: Iterable[tuple[str, str, Callable[[], object]]] = (),
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.text = markup_label(text, wrapped=True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(self.text)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.buttons.rejected.connect(self.reject)
        for words, tip, run in actions:
            button = push_button(words, tip=tip)
            button.clicked.connect(lambda *_, run=run: (self.close(), run()))
            self.buttons.addButton(button, QDialogButtonBox.ButtonRole.ActionRole)
        above = [wrapped_label(head)] if head else []
        stack(self, *above, scroll, self.buttons, stretched=scroll)
