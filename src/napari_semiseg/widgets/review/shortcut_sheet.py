"""A list of keys to look things up in."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QVBoxLayout, QWidget

from napari_semiseg.widgets.common.keys import (
    BUILT_IN,
    GROUPS,
    LOOK,
    PAINTING,
    TOOLS,
    WORK,
    short,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_semiseg.widgets.common.keys import Shortcut


NAPARI = "In napari"
COLUMNS = ((PAINTING, LOOK), (TOOLS, WORK, NAPARI))


class ShortcutSheet(QDialog):
    """Shows keys and what they do, in groups; closes on Escape."""

    def __init__(
        self, shortcuts: Iterable[Shortcut], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Shortcuts of the review")
        groups: dict[str, list[Shortcut]] = {}
        for item in shortcuts:
            groups.setdefault(group_of(item), []).append(item)
        columns = "".join(
            "<td>" + "".join(_table(name, groups.get(name, ())) for name in names)
            for names in COLUMNS
        )
        self.table = QLabel(f"<table cellspacing='12'><tr>{columns}</tr></table>")
        self.table.setTextFormat(Qt.TextFormat.RichText)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table)
        layout.addWidget(buttons)


def group_of(item: Shortcut) -> str:
    """Heading under which a key is listed."""
    if item.key.isdigit():
        return PAINTING
    return NAPARI if item in BUILT_IN else GROUPS.get(item, WORK)


def _table(name: str, items: Iterable[Shortcut]) -> str:
    rows = "".join(
        f"<tr><td align='right'><b>{escape(short(item.key))}</b>&nbsp;&nbsp;</td>"
        f"<td>{escape(item.text)}</td></tr>"
        for item in items
    )
    return f"<h4>{name}</h4><table cellpadding='1'>{rows}</table>" if rows else ""
