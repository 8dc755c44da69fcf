"""Have the labels checked by models that have not seen them, from the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QInputDialog, QWidget

from napari_semiseg.errors import ProjectError
from napari_semiseg.execution.follow import wait_for
from napari_semiseg.project.review.label_audit import LabelAudit, audit_folder
from napari_semiseg.widgets.common.background import (
    ProgressReport,
    in_background,
    show_errors,
)
from napari_semiseg.widgets.elements.questions import Questions

if TYPE_CHECKING:
    from pathlib import Path

    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.execution.executor import Executor, Handle
    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session

TITLE = "Checking the labels"
ABOUT = (
    "Trains up to 4 models, each without a part of the labels, by the method and on "
    "the device of the Train tab.\nThe queue then names the slices in which a label "
    "contradicts the model that has not seen it.\n\nMinutes for each model:"
)
MINUTES, LEAST, MOST = 5.0, 0.1, 24 * 60.0
LOG = "log.txt"


class LabelCheck(QObject):
    """Runs ``semiseg audit`` in a process, which goes on when napari closes.

    Signals
    -------
    changed()
        It has begun, or has ended.
    found()
        There are slices to check.
    """

    changed = Signal()
    found = Signal()

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session, self._window = session, parent
        self._handle: Handle | None = None
        self._stopped = False

    @property
    def running(self) -> bool:
        """Whether labels are being checked."""
        return self._handle is not None

    def ask_start(self, executor: Executor, config: TrainingConfig) -> None:
        """Ask for the minutes, and check the labels with these settings."""
        project = self._session.project
        if project is None:
            return
        minutes, agreed = QInputDialog.getDouble(
            self._window, "Check the labels", ABOUT, MINUTES, LEAST, MOST, 1
        )
        if agreed:
            self._start(project, executor, config, minutes)

    def ask_stop(self) -> None:
        """Offer to stop; what was trained is kept."""
        text = "What was trained is kept, and is not trained again the next time."
        if Questions(lambda: self._window).confirm("Stop checking the labels", text):
            self._stopped = True
            if self._handle is not None:
                self._handle.terminate()

    def _start(
        self, project: Project, executor: Executor, config: TrainingConfig, each: float
    ) -> None:
        words = [str(project.folder), "--minutes", f"{each:g}"]
        words += ["--method", config.method, "--device", config.device]
        log = audit_folder(project) / LOG
        progress = ProgressReport(TITLE, self._session.say)
        with show_errors(self._session):
            log.unlink(missing_ok=True)  # of the last time
            handle = executor.submit("audit", words, log)
            self._handle, self._stopped = handle, False
            self.changed.emit()

            in_background(
                self._session,
                TITLE,
                lambda: self._wait(handle, log, progress),
                lambda _: self._tell(project),
                self._ended,
                progress=progress,
            )

    def _wait(self, handle: Handle, log: Path, progress: ProgressReport) -> None:
        session = self._session
        try:
            wait_for(log, handle, say=progress.note, stop=lambda: session.closed)
        except ProjectError:
            if not self._stopped:
                raise

    def _ended(self) -> None:
        self._handle = None
        self.changed.emit()

    def _tell(self, project: Project) -> None:
        """Say what came of it, unless another project is open by now."""
        if project is not self._session.project:
            return
        if self._stopped:
            self._session.say("Stopped; checking again goes on from there.")
            return
        audit = LabelAudit.read(project)
        if any(map(audit.slices, self._session.cases())):
            self._session.say("Checked the labels: the queue names the slices.")
            self.found.emit()
        else:
            self._session.say("Checked the labels: none is doubted.")
