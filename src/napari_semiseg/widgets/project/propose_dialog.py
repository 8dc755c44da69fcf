"""Let another program make the first proposals, from the panel."""

from __future__ import annotations

from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from napari_semiseg.core.cancellation import CancellationToken
from napari_semiseg.core.text import count, listed
from napari_semiseg.errors import ConfigError
from napari_semiseg.project.importing.propose import MINUTES, propose
from napari_semiseg.widgets.common.background import (
    ProgressReport,
    in_background,
    show_errors,
    warn,
)
from napari_semiseg.widgets.common.session import WAITING
from napari_semiseg.widgets.elements.forms import (
    dialog_buttons,
    push_button,
    row_of,
    wrapped_label,
)
from napari_semiseg.widgets.elements.questions import Questions

if TYPE_CHECKING:
    from napari_semiseg.project.importing.propose import ProposeReport
    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session

TITLE = "Masks of another program"
EXAMPLE = "TotalSegmentator -i {image} -o {mask} --ml"
LONGEST_MINUTES = 24 * 60
NAMED = 3


class ProposeDialog(QDialog):
    """Asks for the command and what its masks mean."""

    def __init__(self, waiting: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(TITLE)
        cases = f"{count(waiting, 'case')} without label and draft"
        about = wrapped_label(
            f"A program that segments one image: it is run on {cases}, and its masks "
            "are proposals. {image} and {mask} are replaced by the paths. Or a folder "
            "of masks that it has made, such as predictions of nnU-Net. Or the "
            "labelled scans, registered to each."
        )
        self.command = QLineEdit()
        self.command.setPlaceholderText(EXAMPLE)
        self.masks = QLineEdit()
        self.masks.setPlaceholderText("masks named like the cases")
        self.atlas = QCheckBox("Register the labelled scans")
        self.atlas.setToolTip("They vote, each where it looks like the scan")
        self.structures = QLineEdit()
        self.structures.setPlaceholderText("those of the project")
        self.structures.setToolTip(
            "Class of each value in its mask, as 51=1, 52=2; or of each file, as "
            "heart=1, where it writes a folder"
        )
        self.minutes = QSpinBox()
        self.minutes.setRange(1, LONGEST_MINUTES)
        self.minutes.setValue(int(MINUTES))
        self.minutes.setSuffix(" min a case")
        form = QFormLayout(self)
        form.addRow(about)
        form.addRow("Command", self.command)
        choose = push_button("Choose…", self._choose)
        form.addRow("Or folder", row_of(self.masks, choose))
        form.addRow("Or atlas", self.atlas)
        form.addRow("Values", self.structures)
        form.addRow("At most", self.minutes)
        buttons, start = dialog_buttons(self, "Propose")
        form.addRow(buttons)
        self._start = start
        self.command.textChanged.connect(self._keep_to_one)
        self.masks.textChanged.connect(self._keep_to_one)
        self.atlas.toggled.connect(self._keep_to_one)
        self._keep_to_one()
        self.setMinimumWidth(460)

    def _keep_to_one(self, *_: object) -> None:
        """Offer the other sources only while none is given."""
        given = {
            self.command: bool(self.command.text()),
            self.masks: bool(self.masks.text()),
            self.atlas: self.atlas.isChecked(),
        }
        for field, is_given in given.items():
            field.setEnabled(is_given or not any(given.values()))
        self.structures.setDisabled(self.atlas.isChecked())
        self._start.setEnabled(any(given.values()))

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of masks")
        if chosen and self.masks.isEnabled():
            self.masks.setText(chosen)

    def start(self, session: Session, project: Project, owner: QWidget) -> None:
        """Run the command in the background, for as long as the project is open."""
        closed = Event()
        owner.destroyed.connect(closed.set)
        token = CancellationToken(
            lambda: closed.is_set() or session.project is not project
        )

        def say(text: str) -> None:
            session.say(text)
            session.runs_changed.emit()

        progress = ProgressReport(TITLE, say)
        command, masks = self.command.text() or None, self.masks.text() or None
        atlas, minutes = self.atlas.isChecked(), float(self.minutes.value())
        with show_errors(session):
            structures = {} if atlas else read_values(self.structures.text())
            in_background(
                session,
                TITLE,
                lambda: propose(
                    project,
                    command,
                    masks=masks,
                    atlas=atlas,
                    structures=structures,
                    minutes=minutes,
                    cancellation=token,
                    progress=progress,
                ),
                partial(_tell, session),
                session.runs_changed.emit,
                progress=progress,
            )


def ask_propose(session: Session, parent: QWidget) -> None:
    """Ask for a command and run it; while one runs, offer to stop it."""
    project = session.project
    if project is None:
        return
    for run in project.runs():
        if not run.is_training and run.status == "running":
            text = f"{run.method} is at work. What it has done so far is kept."
            if Questions(lambda: parent).confirm("Stop it", text):
                run.request_stop()
            return
    waiting = sum(case.state in WAITING for case in session.cases())
    dialog = ProposeDialog(waiting, parent)
    if dialog.exec() == QDialog.DialogCode.Accepted:
        dialog.start(session, project, parent)
    dialog.deleteLater()


def read_values(text: str) -> dict[str, int]:
    """Read ``51=1, 52=2``.

    Raises
    ------
    ConfigError
        It reads otherwise.
    """
    found = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, value = (word.strip() for word in part.rpartition("="))
        if not name or not value.isdecimal():
            raise ConfigError(
                f"expected values as 51=1, 52=2, found {part!r}; or leave them empty"
            )
        found[name] = int(value)
    return found


def _tell(session: Session, report: ProposeReport) -> None:
    """Say what came of it."""
    text = f"{count(len(report.proposed), 'case')} proposed in {report.run}."
    if report.skipped:
        reasons = [f"{case} ({why})" for case, why in report.skipped.items()]
        warn(session, f"{text} Left out: {listed(reasons, most=NAMED)}.")
    else:
        session.say(text)
