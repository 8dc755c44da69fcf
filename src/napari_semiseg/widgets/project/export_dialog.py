"""Export masks from the panel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QLineEdit,
    QWidget,
)

from napari_semiseg.core.text import count, listed
from napari_semiseg.project.exporting.export import export
from napari_semiseg.project.exporting.formats import export_formats
from napari_semiseg.widgets.common.background import in_background
from napari_semiseg.widgets.elements.forms import dialog_buttons, push_button, row_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.project.project import ExportReport, Project
    from napari_semiseg.widgets.common.session import Session

CONTENTS = {
    "best": "Accepted labels, else predictions",
    "labels": "Accepted labels only",
    "predictions": "Predictions only",
}
NAMED = 3


class ExportDialog(QDialog):
    """Asks what to export, how, and to where.

    Parameters
    ----------
    project : Project
        The project.
    parent : QWidget, optional
        The window.
    cases : sequence of str
        Ids of what is exported; by default all but the excluded cases.
    """

    def __init__(
        self,
        project: Project,
        parent: QWidget | None = None,
        cases: Sequence[str] = (),
    ) -> None:
        super().__init__(parent)
        self._cases = list(cases) or None
        of = f" of {count(len(cases), 'case')}" if cases else ""
        self.setWindowTitle(f"Export masks{of}")
        self.contents = QComboBox()
        for key, title in CONTENTS.items():
            self.contents.addItem(title, key)
        self.formats = QComboBox()
        for name, title in export_formats().items():
            self.formats.addItem(title, name)
        self.folder = QLineEdit(str(project.folder.parent / f"{project.name}_export"))
        self.folder.setAccessibleName("Folder")
        browse = push_button("Choose…", self._browse)
        form = QFormLayout(self)
        form.addRow("Masks", self.contents)
        form.addRow("Format", self.formats)
        form.addRow("Folder", row_of(self.folder, browse))
        form.addRow(dialog_buttons(self, "Export")[0])
        self.setMinimumWidth(460)

    def start(self, session: Session, project: Project) -> None:
        """Export what was chosen in the background, and report what was written."""
        what, fmt = self.contents.currentData(), self.formats.currentData()
        folder, cases = Path(self.folder.text()).expanduser(), self._cases

        def work() -> ExportReport:
            return export(project, folder, what=what, fmt=fmt, cases=cases)

        def done(report: ExportReport) -> None:
            session.say(summary(report, folder))

        in_background(session, "Exporting masks", work, done)

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, "Export to folder", self.folder.text()
        )
        if chosen:
            self.folder.setText(chosen)


def summary(report: ExportReport, folder: Path) -> str:
    """Say in a sentence or two what was written and what was not."""
    text = f"Wrote {len(report.written)} files to {folder}."
    if report.skipped:
        reasons = [f"{case} ({why})" for case, why in report.skipped.items()]
        text += f" Left out: {listed(reasons, most=NAMED)}."
    return " ".join([text, *(f"Note: {note}." for note in report.notes)])
