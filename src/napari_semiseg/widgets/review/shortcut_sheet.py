"""List keys and what they do."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QVBoxLayout, QWidget

from napari_semiseg.widgets.elements.actions import Group, short
from napari_semiseg.widgets.elements.forms import markup_label

if TYPE_CHECKING:
    from collections.abc import Iterable

COLUMNS = ((Group.PAINT, Group.LOOK), (Group.TOOLS, Group.CASES, Group.NAPARI))


class Shortcut(NamedTuple):
    """A key as napari writes it, what it does, and where it is listed."""

    key: str
    text: str
    group: Group


NAPARI_SHORTCUTS = tuple(
    Shortcut(key, text, Group.NAPARI)
    for key, text in (
        ("[  ]", "Smaller, larger brush"),
        ("\u2190  \u2192", "Previous, next slice"),
        ("Ctrl-Z", "Undo; Ctrl-Shift-Z redoes"),
        ("Space", "Hold to pan while painting"),
    )
)
"""Keys of napari itself that are worth knowing."""


class ShortcutSheet(QDialog):
    """Shows keys and what they do, in groups; closes on Escape."""

    def __init__(
        self, shortcuts: Iterable[Shortcut], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Shortcuts of the review")
        listed = [*shortcuts, *NAPARI_SHORTCUTS]
        columns = "".join(
            "<td>" + "".join(_table(group, listed) for group in groups)
            for groups in COLUMNS
        )
        self.table = markup_label(f"<table cellspacing='12'><tr>{columns}</tr></table>")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table)
        layout.addWidget(buttons)


def _table(group: Group, shortcuts: Iterable[Shortcut]) -> str:
    rows = "".join(
        f"<tr><td align='right'><b>{escape(short(item.key))}</b>&nbsp;&nbsp;</td>"
        f"<td>{escape(item.text)}</td></tr>"
        for item in shortcuts
        if item.group == group
    )
    return f"<h4>{group}</h4><table cellpadding='1'>{rows}</table>" if rows else ""
