"""A list of keys to look things up in."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_semiseg.widgets.keys import Shortcut


class ShortcutSheet(QDialog):
    """Shows keys and what they do; closes on Escape."""

    def __init__(
        self, shortcuts: Iterable[Shortcut], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Shortcuts of the review")
        rows = "".join(
            f"<tr><td align='right'><b>{escape(item.key)}</b>&nbsp;&nbsp;</td>"
            f"<td>{escape(item.text)}</td></tr>"
            for item in shortcuts
        )
        self.table = QLabel(f"<table cellpadding='3'>{rows}</table>")
        self.table.setTextFormat(Qt.TextFormat.RichText)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table)
        layout.addWidget(buttons)
