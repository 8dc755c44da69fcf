"""Ask why a case needs a second look, and flag it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLineEdit, QWidget

from napari_semiseg.project.review import flags
from napari_semiseg.widgets.elements.forms import dialog_buttons, markup_label, stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.project.project import Project


class FlagDialog(QDialog):
    """Asks why a case needs a second look.

    Parameters
    ----------
    name : str
        The case, or how many they are.
    present : str or None
        Comment of the flag that is there already.
    """

    def __init__(
        self, name: str, present: str | None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Flag for a second look")
        self.remove = False
        self.comment = QLineEdit(present or "")
        self.comment.setPlaceholderText("For example: motion, ask the radiologist")
        self.comment.setMaxLength(flags.MAX_COMMENT)
        self.comment.setMinimumWidth(360)
        label = markup_label(f"Why does <b>{escape(name)}</b> need a second look?")
        label.setBuddy(self.comment)
        buttons, _ = dialog_buttons(self, "Flag")
        self.remove_button = buttons.addButton(
            "Remove flag", QDialogButtonBox.ButtonRole.DestructiveRole
        )
        self.remove_button.setVisible(present is not None)
        self.remove_button.clicked.connect(self._remove)
        stack(self, label, self.comment, buttons)

    def _remove(self) -> None:
        self.remove = True
        self.accept()


def ask_flag(parent: QWidget, project: Project, ids: Sequence[str]) -> bool:
    """Ask for a comment and flag cases with it, or take their flags away.

    Returns
    -------
    bool
        False when the user cancelled.
    """
    comments = [project.case(case_id).record.flag for case_id in ids]
    present = next((text for text in comments if text is not None), None)
    name = ids[0] if len(ids) == 1 else f"{len(ids)} cases"
    dialog = FlagDialog(name, present, parent)
    agreed = bool(dialog.exec() == QDialog.DialogCode.Accepted)
    if agreed:
        for case_id in ids:
            if dialog.remove:
                flags.unflag(project, case_id)
            else:
                flags.flag(project, case_id, dialog.comment.text())
    dialog.deleteLater()
    return agreed
