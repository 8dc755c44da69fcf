"""Ask about unsaved work; tests inject answers of their own."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QInputDialog, QLabel, QMessageBox, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Leave(StrEnum):
    """What to do with unsaved edits."""

    SAVE = "save"
    DISCARD = "discard"
    STAY = "stay"


class Questions:
    """Asks by message boxes over a window.

    Parameters
    ----------
    window : callable
        Window over which to ask, or None.
    """

    def __init__(self, window: Callable[[], QWidget | None]) -> None:
        self._window = window

    def leave(self, case_id: str) -> Leave:
        """Ask whether to save or discard unsaved edits of a case."""
        box = self._box(
            "Unsaved edits",
            f"The mask of {case_id} has edits that are not saved.",
            "A draft keeps them for later; training and export do not use it.",
        )
        save = box.addButton("Save draft", QMessageBox.ButtonRole.AcceptRole)
        discard = box.addButton("Discard", QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton("Stay", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(save)
        box.setEscapeButton(stay)
        box.exec()
        clicked = box.clickedButton()
        box.deleteLater()
        if clicked is save:
            return Leave.SAVE
        return Leave.DISCARD if clicked is discard else Leave.STAY

    def confirm(self, title: str, text: str) -> bool:
        """Ask for a yes or a cancel; cancel is the default."""
        box = self._box(title, title, text)
        box.setStandardButtons(
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.Cancel
        )
        box.setDefaultButton(QMessageBox.StandardButton.Cancel)
        answer = box.exec()
        box.deleteLater()
        return bool(answer == QMessageBox.StandardButton.Yes)

    def choose(self, title: str, text: str, answers: Sequence[str]) -> str | None:
        """Let the user choose one of the answers; None is a cancel, the default."""
        box = self._box(title, title, text)
        role = QMessageBox.ButtonRole.AcceptRole
        buttons = [box.addButton(answer, role) for answer in answers]
        cancel = box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(cancel)
        box.setEscapeButton(cancel)
        box.exec()
        clicked = box.clickedButton()
        box.deleteLater()
        pairs = zip(buttons, answers, strict=True)
        return next((answer for button, answer in pairs if button is clicked), None)

    def pick(self, title: str, names: Sequence[str]) -> str | None:
        """Let the user pick one name out of many; None is a cancel."""
        dialog = QInputDialog(self._window())
        dialog.setWindowTitle(title)
        dialog.setLabelText("Which one is to be edited again?")
        dialog.setComboBoxItems(list(names))
        ok = dialog.exec()
        dialog.deleteLater()
        return dialog.textValue() if ok else None

    def _box(self, title: str, text: str, detail: str) -> QMessageBox:
        box = QMessageBox(self._window())
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle(title)
        box.setText(text)
        box.setInformativeText(detail)
        for label in box.findChildren(QLabel):
            label.setTextFormat(Qt.TextFormat.PlainText)
        return box
