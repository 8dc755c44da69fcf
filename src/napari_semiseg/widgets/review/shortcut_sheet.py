"""List keys and what they do, and let the user choose others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QWidget,
)

from napari_semiseg.widgets.common.keys import read_key, refusal
from napari_semiseg.widgets.common.preferences import choose_key
from napari_semiseg.widgets.common.scrolling import VerticalScroll
from napari_semiseg.widgets.elements.actions import Action, Group, short
from napari_semiseg.widgets.elements.forms import plain_label, stack, wrapped_label
from napari_semiseg.widgets.elements.style import look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qtpy.QtGui import QKeyEvent

    from napari_semiseg.widgets.elements.actions import C

COLUMNS = ((Group.PAINT, Group.LOOK, Group.NAPARI), (Group.TOOLS, Group.CASES))
NAPARI_KEYS = (
    ("[  ]", "Smaller, larger brush"),
    ("\u2190  \u2192", "Previous, next slice"),
    ("Ctrl-Z", "Undo; Ctrl-Shift-Z redoes"),
    ("Space", "Hold to pan while painting"),
)
"""Keys of napari itself that are worth knowing."""
HINT = "Click a key to choose another; Backspace is none, Escape leaves it."
NONE = (Qt.Key.Key_Backspace, Qt.Key.Key_Delete)
HELD = (Qt.Key.Key_Shift, Qt.Key.Key_Control, Qt.Key.Key_Alt, Qt.Key.Key_Meta)
WIDTH, HEIGHT = 820, 640


class KeyField(QPushButton):
    """Shows a key; once clicked, takes the next one that is pressed.

    Signals
    -------
    asked(str)
        A key as Qt writes it, or an empty text for none.
    """

    asked = Signal(str)

    def __init__(self, action: Action[C]) -> None:
        super().__init__()
        look(self, "doubt").setFixedWidth(72)
        self.setAccessibleName(f"Key: {action.text}")
        self.setToolTip(HINT)
        self.setCheckable(True)
        self.setAutoDefault(False)
        self.toggled.connect(self._listen)
        self.show_key(action.key)

    def show_key(self, key: str) -> None:
        """Show a key, or that there is none."""
        self.key = key
        self.setChecked(False)
        self.setText(short(key) or "\u2013")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Take a key while this listens."""
        key = event.key()
        if not self.isChecked():
            super().keyPressEvent(event)
        elif key == Qt.Key.Key_Escape:
            self.show_key(self.key)
        elif key not in HELD:
            pressed = QKeySequence(event.keyCombination()).toString()
            self.setChecked(False)
            self.asked.emit("" if key in NONE else pressed)

    def _listen(self, on: bool) -> None:
        self.setText("press\u2026" if on else short(self.key) or "\u2013")


class ShortcutSheet(QDialog):
    """Shows keys and what they do, in groups; closes on Escape.

    Parameters
    ----------
    actions : mapping of str to Action
        With the keys that they have.
    structures : iterable of str
        Names of what the digits from 0 choose.
    others : mapping of str to str
        Keys that are not the panel's, and what they do.
    changed : callable
        Called after the user has chosen a key; keeps ``actions`` up to date.
    refused : iterable of str
        Choices from before that could not be kept.
    """

    def __init__(
        self,
        actions: Mapping[str, Action[C]],
        structures: Iterable[str],
        others: Mapping[str, str],
        changed: Callable[[], object],
        refused: Iterable[str] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys of the review")
        self._actions, self._others, self._changed = actions, others, changed
        self.fields: dict[str, KeyField] = {}
        fixed = {
            Group.PAINT: [
                (str(digit), f"Paint {name}")
                for digit, name in enumerate([*structures][:10])
            ],
            Group.NAPARI: NAPARI_KEYS,
        }
        body = QWidget()
        columns = QHBoxLayout(body)
        for groups in COLUMNS:
            grid = QGridLayout()
            grid.setColumnStretch(1, 1)
            grid.setVerticalSpacing(3)
            for group in groups:
                title = look(plain_label(group), "title")
                grid.addWidget(title, grid.rowCount(), 0, 1, 2)
                for key, text in fixed.get(group, ()):
                    cap = plain_label(short(key))
                    cap.setAlignment(Qt.AlignmentFlag.AlignCenter)
                    self._add(grid, cap, text)
                for action in actions.values():
                    if action.text and action.group == group:
                        self._add(grid, self._field(action), action.text)
            grid.setRowStretch(grid.rowCount(), 1)
            columns.addLayout(grid, 1)
        self.message = wrapped_label("\n".join(refused) or HINT)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        for button in buttons.buttons():
            button.setToolTip("Keep the keys as they are now")
        scroll = VerticalScroll(body)
        stack(self, scroll, self.message, buttons, stretched=scroll)
        self.resize(WIDTH, HEIGHT)

    def take(self, action: str, key: str) -> None:
        """Give an action a key, or say why it cannot have it."""
        try:
            requested = read_key(key)
            reason = refusal(action, requested, self._actions, self._others)
        except ValueError as error:
            reason = str(error)
        if reason:
            self.message.setText(f"{self._actions[action].text}: {reason}.")
        else:
            choose_key(action, requested)
            self._changed()
            self.message.setText(HINT)
        for name, field in self.fields.items():
            field.show_key(self._actions[name].key)

    def _field(self, action: Action[C]) -> KeyField:
        field = self.fields[action.id] = KeyField(action)
        field.asked.connect(partial(self.take, action.id))
        return field

    def _add(self, grid: QGridLayout, key: QWidget, text: str) -> None:
        row = grid.rowCount()
        grid.addWidget(key, row, 0)
        grid.addWidget(wrapped_label(text), row, 1)
