"""Put header, start page, tabs and footer line into one dock."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtGui import QAction, QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QDialog,
    QDockWidget,
    QFileDialog,
    QMainWindow,
    QMenu,
    QSizePolicy,
    QStackedWidget,
    QTabWidget,
    QWidget,
)

from napari_semiseg.core.case import CaseState
from napari_semiseg.core.text import count
from napari_semiseg.widgets.canvas.case_view import CaseView
from napari_semiseg.widgets.canvas.linked_canvases import CANVAS_WIDTH
from napari_semiseg.widgets.cohort.panel import CohortPanel
from napari_semiseg.widgets.common.background import in_background, show_errors, warn
from napari_semiseg.widgets.common.compat import canvas_widget, viewer_itself
from napari_semiseg.widgets.common.next_step import Do, Phase, TrainingState
from napari_semiseg.widgets.common.preferences import choose, setting
from napari_semiseg.widgets.common.scrolling import VerticalScroll
from napari_semiseg.widgets.common.session import Session, case_to_mark
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import ElidedLabel, row_of, stack
from napari_semiseg.widgets.elements.style import Style
from napari_semiseg.widgets.elements.toast import Toast
from napari_semiseg.widgets.progress.panel import ProgressPanel
from napari_semiseg.widgets.project.checkup import check_open_project
from napari_semiseg.widgets.project.colour_menu import add_colour_menu
from napari_semiseg.widgets.project.create_project import CreateProjectDialog
from napari_semiseg.widgets.project.export_dialog import ExportDialog
from napari_semiseg.widgets.project.guide import (
    LOAD,
    MARK,
    REVIEW,
    SAMPLE_MINUTES,
    TRAIN,
    TRAINING,
    Guide,
    make_sample_project,
)
from napari_semiseg.widgets.project.header import Header
from napari_semiseg.widgets.project.propose_dialog import ask_propose
from napari_semiseg.widgets.project.readers_dialog import ask_reader
from napari_semiseg.widgets.project.recents import forget_project, remember_project
from napari_semiseg.widgets.project.start_page import StartPage
from napari_semiseg.widgets.review.actions import review_actions
from napari_semiseg.widgets.review.panel import ReviewPanel
from napari_semiseg.widgets.review.queue import waits
from napari_semiseg.widgets.train.panel import TrainingPanel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari
    from qtpy.QtGui import (
        QDragEnterEvent,
        QDragLeaveEvent,
        QDropEvent,
        QResizeEvent,
        QShowEvent,
    )

    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.discovery.add_images import AddReport
    from napari_semiseg.widgets.common.next_step import NextStep
    from napari_semiseg.widgets.project.guide import Step
    from napari_semiseg.widgets.project.recents import Recent

PROJECT_FILE = "project.toml"
SAMPLE_FOLDER = "semiseg-sample"
HEIGHT = 640
WIDTHS = ((1600, 380), (1280, 320), (0, 300))
"""Pixels across of the panel, in windows from so many pixels across."""
WIDE = 640
"""Pixels across of the panel with all columns of the cohort."""
COUNTED = 340
"""Pixels across from which the tabs say how much waits there."""
LOW = 400
"""Pixels down of the panel above or below the image."""
FOOTER, MARGIN, MESSAGE_MS = 20, 12, 12_000
TABS = ("Cohort", "Review", "Train", "Progress")
HINT = "Enter opens \u00b7 Space ticks \u00b7 Ctrl+A: all"
"""What the footer says below the table while there is no message."""
SHOWN_IN = {
    Do.ADD: "Cohort",
    Do.REVIEW: "Review",
    Do.TRAIN: "Train",
    Do.PREDICT: "Train",
}
"""Tab in which a step is taken."""


class SemisegDock(QWidget):
    """Everything of one project in one dock.

    Attributes
    ----------
    session : Session
        What the tabs share.
    cohort, training, review, progress
        The tabs' panels.
    case_view : CaseView
        The layers of the open case.
    """

    def __init__(
        self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer_itself(napari_viewer)
        self.session = Session()
        self.case_view = CaseView(
            self.session,
            self.viewer,
            likely_next=self._likely_next,
            first_place=lambda case_id: self.review.place_of(case_id),
            parent=self,
        )
        self.cohort = CohortPanel(self.session)
        self.training = TrainingPanel(self.session)
        self.review = ReviewPanel(self.session, self.case_view, review_actions())
        self.progress = ProgressPanel(self.session, self._note_view)
        self.start_page = StartPage()
        self.guide = Guide(self.session)
        self.tabs = QTabWidget()
        self.tabs.setUsesScrollButtons(False)
        self.tabs.tabBar().setAccessibleName("Parts of the panel")
        self.tabs.setElideMode(Qt.TextElideMode.ElideRight)
        panels = (
            VerticalScroll(self.cohort),
            self.review,
            VerticalScroll(self.training),
            VerticalScroll(self.progress),
        )
        for panel, title in zip(panels, TABS, strict=True):
            self.tabs.addTab(panel, title)
        for part in (self.training, self.progress, self.start_page):
            part.setMaximumWidth(WIDE)  # in a dock below the image
        self._pages = QStackedWidget()
        self._pages.addWidget(VerticalScroll(self.start_page))
        self._pages.addWidget(self.tabs)
        self.status = ElidedLabel("secondary")
        footer = QWidget()
        footer.setFixedHeight(FOOTER)
        line = row_of(self.status)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.review.state_line, 1)
        footer.setLayout(line)
        self._message = ""
        self._message_ends = QTimer(self)
        self._message_ends.setSingleShot(True)
        self._message_ends.setInterval(MESSAGE_MS)
        self.header = self._header()
        policy = QSizePolicy.Policy
        # Else napari puts an empty half below it.
        self.setSizePolicy(policy.Preferred, policy.Expanding)
        layout = stack(
            self,
            self.header,
            self.guide,
            self._pages,
            footer,
            self.review.finish,
            stretched=self._pages,
        )
        layout.setContentsMargins(MARGIN, 2, MARGIN, 4)
        layout.setSpacing(2)
        self.setAcceptDrops(True)
        self._window: QMainWindow | None = None
        self._width = 0
        self._docked = False
        self._trained = TrainingState()
        self._toast: Toast | None = None
        self._connections = Connections(self)
        self._style = Style(self, self.viewer, self._connections)
        self._connect()
        self._show_project()
        self._show_message("")

    def _header(self) -> Header:
        projects, more = QMenu(self), QMenu(self)
        projects.addAction("New project…", self.ask_create)
        projects.addAction("Open project…", self.ask_open)
        closing = projects.addAction("Close project", self.session.close_project)
        more.addAction("Accept several…", lambda: self.progress.accept_several())
        more.addAction(
            "Masks of another program…", lambda: ask_propose(self.session, self)
        )
        more.addAction("Second reader…", self.ask_reader)
        more.addAction("Export masks…", lambda: self.ask_export())
        more.addAction("Export the model…", self.ask_export_model)
        more.addAction("Check the labels…", lambda: self.training.check_labels())
        more.addAction("Find moved images…", self.ask_relocate)
        more.addAction(
            "Check the project…", lambda: check_open_project(self.session, self)
        )
        add_colour_menu(more, self._palette_chosen)
        entries = (closing, *more.actions())
        self._project_actions = [one for one in entries if one is not None]
        more.addSeparator()
        wheel = QAction("Wheel scrolls slices", more)
        wheel.setCheckable(True)
        wheel.triggered.connect(partial(choose, "wheel_scrolls"))
        more.aboutToShow.connect(lambda: wheel.setChecked(setting("wheel_scrolls")))
        more.addAction(wheel)
        more.addAction("All keys", self.review.show_shortcuts)
        more.addAction("First steps", self.guide.bring_back)
        return Header(projects, more)

    def _connect(self) -> None:
        session = self.session
        self.destroyed.connect(partial(setattr, session, "closed", True))
        self.guide.step_requested.connect(self._guided)
        self.header.step_requested.connect(self._take_step)
        self.header.training_requested.connect(lambda: self.show_tab("Train"))
        self._message_ends.timeout.connect(lambda: self._show_message(""))
        self._connections.add(self._show_message, session.status_changed)
        self._connections.add(self._offer, session.offered)
        self._connections.add(self._show_project, session.project_changed)
        self._connections.add(self._hide_toast, session.project_changed)
        self._connections.add(self._note_recent, session.cases_changed)
        self._connections.add(
            self._show_step, session.cases_changed, session.runs_changed
        )
        self._connections.add(self._case_opened, session.case_opened)
        self.cohort.width_requested.connect(self._toggle_width)
        self.cohort.verbs.look_requested.connect(self.progress.accept_several)
        self.cohort.verbs.propose_requested.connect(self.predict_rest)
        self.cohort.verbs.export_requested.connect(self.ask_export)
        find = QShortcut(QKeySequence(QKeySequence.StandardKey.Find), self)
        find.activated.connect(self._find)
        self.tabs.currentChanged.connect(self._show_step)
        self.tabs.currentChanged.connect(lambda _: self._show_message(self._message))
        self.review.step_changed.connect(self._show_step)
        self.review.export_asked.connect(lambda: self.ask_export())
        self.training.state_changed.connect(self._show_training)
        self.training.label_check.found.connect(partial(self.show_queue, "audit"))
        self.progress.predict_requested.connect(lambda: self.predict_rest())
        self.start_page.create_requested.connect(self.ask_create)
        self.start_page.open_requested.connect(self.ask_open)
        self.start_page.recent_requested.connect(self._open_recent)
        self.start_page.sample_requested.connect(self.open_sample)

    def sizeHint(self) -> QSize:
        """As wide as suits the window, not higher than a small screen."""
        return QSize(self._preferred_width(), HEIGHT)

    def _preferred_width(self) -> int:
        room = self.window().width()
        return next(width for least, width in WIDTHS if room >= least)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Show counts in the tabs where there is room."""
        super().resizeEvent(event)
        if (self.width() < COUNTED) is not (event.oldSize().width() < COUNTED):
            self._show_step()

    def _fit_width(self) -> None:
        """Take the width that suits the window, once for each kind of window.

        Above or below the image it is the height that is chosen.
        """
        dock, width = self.parentWidget(), self._preferred_width()
        if width != self._width and isinstance(dock, QDockWidget) and self._window:
            self._width = width
            areas = Qt.DockWidgetArea
            if self._window.dockWidgetArea(dock) in (
                areas.TopDockWidgetArea,
                areas.BottomDockWidgetArea,
            ):
                self._window.resizeDocks([dock], [LOW], Qt.Orientation.Vertical)
            else:
                self._window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)
            if (layout := self._window.layout()) is not None:
                layout.invalidate()  # else it waits for the next change
                layout.activate()

    def _moved(self, _area: object = None) -> None:
        """Take the size that suits the side of the image that it was moved to."""
        self._width = 0
        QTimer.singleShot(0, self._fit_width)

    def _toggle_width(self) -> None:
        """Make room for all columns of the cohort, or for the image."""
        dock, usual = self.parentWidget(), self._preferred_width()
        if isinstance(dock, QDockWidget) and self._window:
            most = max(usual, min(WIDE, self.window().width() - CANVAS_WIDTH))
            width = most if self.width() < (usual + most) / 2 else usual
            self._window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)

    def _find(self) -> None:
        if self.session.project is not None:
            self.show_tab("Cohort")
            self.cohort.go_to_search()

    # -- projects

    def open_project(self, folder: Path | str) -> bool:
        """Open a project; show what is wrong and return False."""
        folder = Path(folder)
        if folder.name == PROJECT_FILE:
            folder = folder.parent
        with show_errors(self.session):
            self.session.open_project(folder)
        project = self.session.project
        return project is not None and project.folder.resolve() == folder.resolve()

    def ask_open(self) -> None:
        """Let the user choose a project folder."""
        chosen = QFileDialog.getExistingDirectory(self, "Open a project folder")
        if chosen:
            self.open_project(chosen)

    def ask_create(self, images: Sequence[Path] = ()) -> None:
        """Let the user describe a new project; add ``images`` to it."""
        dialog = CreateProjectDialog(self, images)
        if dialog.exec() != QDialog.DialogCode.Accepted:
            return
        with show_errors(self.session):
            created = self.session.create_project(
                dialog.folder, dialog.classes.value(), dialog.name.text().strip()
            )
            if created and dialog.images:
                plain = all(path.is_file() for path in dialog.images)
                take = self.cohort.add_images if plain else self.cohort.ask_import
                take(dialog.images)

    def open_sample(self) -> None:
        """Make the sample cohort's project in the home folder, or open it again."""
        folder = Path.home() / SAMPLE_FOLDER / "ventricles"
        if (folder / PROJECT_FILE).is_file():
            self.open_project(folder)
            return
        self.start_page.setEnabled(False)
        in_background(
            self.session,
            "Making the sample cohort",
            lambda: make_sample_project(folder),
            lambda made: self.open_project(made),
            lambda: self.start_page.setEnabled(True),
        )

    def _palette_chosen(self, action: QAction) -> None:
        self.recolour(action.data())

    def recolour(self, palette: str) -> None:
        """Draw the structures of the project in the colours of a palette."""
        project, case_id = self.session.project, self.session.case_id
        if project is None or not self.session.leave():
            return
        with show_errors(self.session):
            project.recolour(palette)
            self.session.open_project(project.folder)
            if case_id is not None:
                self.session.case_requested.emit(case_id)

    def _guided(self, step: Step) -> None:
        """Begin a step of the guide."""
        if step is LOAD:
            self.open_sample()
        elif step in (MARK, TRAINING):
            case_id = case_to_mark(self.session.cases())
            if case_id is not None:
                self.session.case_requested.emit(case_id)
        elif step is TRAIN:
            self.training.form.minutes.setValue(SAMPLE_MINUTES)
            self.show_tab("Train")
        elif step is REVIEW:
            self.show_tab("Review")
            self.review.open_next()
        else:
            self.ask_create()

    def ask_reader(self) -> None:
        """Ask for masks of a second reader, and show how well the readers agree."""
        ask_reader(self.session, self, lambda: self.show_queue("readers"))

    def ask_export(self, cases: Sequence[str] = ()) -> None:
        """Ask what to export to where, then do it in the background."""
        project = self.session.project
        if project is None:
            self.session.say("Open a project first.")
            return
        dialog = ExportDialog(project, self, cases)
        if dialog.exec() == QDialog.DialogCode.Accepted:
            dialog.start(self.session, project)
        dialog.deleteLater()

    def ask_export_model(self) -> None:
        """Ask for a folder, and write the model in use there to be run elsewhere."""
        if (run := self.training.model()) is None:
            self.session.say("Train a model first.")
            return
        title = f"Folder for the model of {run.id}"
        if chosen := QFileDialog.getExistingDirectory(self, title):
            self.training.export_model(run, chosen)

    def ask_relocate(self) -> None:
        """Let the user say where images have moved to."""
        project = self.session.project
        chosen = QFileDialog.getExistingDirectory(self, "Folder the images are in now")
        if project is not None and chosen:
            in_background(
                self.session,
                "Looking for the images",
                lambda: project.relocate(chosen),
                self._relocated,
            )

    def _relocated(self, report: AddReport) -> None:
        self.session.cases_changed.emit(None)
        text = f"Found {count(len(report.added), 'moved image')} again."
        if report.skipped:
            case_id, reason = next(iter(report.skipped.items()))
            text += f" {len(report.skipped)} are still missing, as {case_id}: {reason}"
        self.session.say(text)

    def _checked(self, problems: dict[str, str]) -> None:
        if problems:
            case_id, problem = next(iter(problems.items()))
            text = (
                f"{count(len(problems), 'image')} cannot be used as is, as {case_id}: "
                f"{problem}. More > Find moved images points to another folder."
            )
            warn(self.session, text)

    def _open_recent(self, recent: Recent) -> None:
        """Open a project that was open before; ask where it is when it has moved."""
        folder = recent.folder
        if not recent.exists:
            asked = f"Where is {recent.name} now?"
            folder = QFileDialog.getExistingDirectory(self, asked)
        if folder and self.open_project(folder) and folder != recent.folder:
            forget_project(recent.folder)

    def _note_recent(self, _: object = None) -> None:
        """Note how far the project is, for the start page."""
        project, cases = self.session.project, self.session.cases()
        if project is not None:
            labelled = sum(case.state is CaseState.LABELLED for case in cases)
            remember_project(project.folder, project.name, labelled, len(cases))

    def _show_project(self) -> None:
        project = self.session.project
        name = "Semiseg" if project is None else project.name
        self.header.show_project(name, "" if project is None else str(project.folder))
        for action in self._project_actions:
            action.setEnabled(project is not None)
        self.header.setVisible(project is not None)
        if project is not None:
            self._note_recent()
            in_background(
                self.session,
                "Checking the images",
                project.check_images,
                self._checked,
                quiet=True,
            )
        else:
            self.start_page.refresh()
        self._pages.setCurrentIndex(0 if project is None else 1)
        self._show_message(self._message)
        self._show_step()

    def show_tab(self, title: str) -> None:
        """Bring the tab of this title to the front."""
        self.tabs.setCurrentIndex(TABS.index(title))

    def show_queue(self, strategy: str) -> None:
        """Show the queue in the order of a strategy."""
        self.show_tab("Review")
        self.review.queue_box.choose(strategy)

    def _show_message(self, text: str) -> None:
        """Show a message in the footer for a while, then what is saved."""
        self._message = text
        cases, tab = self.session.cases(), TABS[self.tabs.currentIndex()]
        if tab == "Cohort" and cases:
            text = text or HINT
        elif tab != "Review":
            text = text or _kept(cases)
        self.status.setText(text)
        self.status.setVisible(bool(text))
        self.review.state_line.setVisible(not text and tab == "Review")
        self._message_ends.start()

    def _offer(self, text: str, button: str, undo: Callable[[], object]) -> None:
        """Show over the canvas what was done, and offer to take it back."""
        if self._toast is None:
            canvas = canvas_widget(self.viewer.window._qt_viewer)
            self._toast = Toast(canvas.window(), canvas, self.viewer)
            self._connections.at_close(self._toast.deleteLater)
        self._show_message("")
        self._toast.show_message(text, button, undo)

    def _hide_toast(self) -> None:
        """Offer to take nothing back that was done in another project."""
        if self._toast is not None:
            self._toast.hide()

    def _show_step(self, _changed: object = None) -> None:
        """Name the next step in the header, and in the tabs how much waits there."""
        here = self.tabs.currentWidget() is self.review
        step = self.review.next_step() if here else None
        self.review.finish.setVisible(here and self.case_view.mask is not None)
        step = step or self.session.next_step()
        there = self.tabs.currentIndex() == TABS.index("Train")
        if there and step.do is Do.TRAIN:
            step = replace(step, elsewhere=True)
        self.training.show_next(step.do is Do.TRAIN)
        self.header.show_step(step)
        cases = self.session.cases()
        waiting = sum(map(waits, cases))
        active = self._trained.phase in (Phase.TRAINING, Phase.PROPOSING)
        marks = [str(len(cases)), str(waiting), "\u25cf" if active else "", ""]
        if self.width() < COUNTED:
            marks[:2] = "", ""
        for index, (title, mark) in enumerate(zip(TABS, marks, strict=True)):
            shown = f"{title} {mark}" if mark not in ("", "0") else title
            if self.tabs.tabText(index) != shown:
                self.tabs.setTabText(index, shown)

    def _show_training(self, state: TrainingState) -> None:
        before, self._trained = self._trained, state
        self.header.show_training(state)
        if state.phase is not before.phase:
            self._show_step()

    def _take_step(self, step: NextStep) -> None:
        """Do what the button of the header names."""
        if step.do in SHOWN_IN:
            self.show_tab(SHOWN_IN[step.do])
        if step.case is not None:
            self.session.case_requested.emit(step.case)
            return
        does: dict[Do, Callable[[], object]] = {
            Do.CREATE: self.ask_create,
            Do.ADD: self.cohort.ask_files,
            Do.CHECK: lambda: check_open_project(self.session, self),
            Do.PREDICT: self.predict_rest,
            Do.REVIEW: self.review.open_next,
            Do.SEVERAL: self.progress.accept_several,
            Do.SLICE: self.case_view.next_doubtful_slice,
            Do.PAINT: lambda: self.review.brush.set_mode("paint"),
            Do.FILL: self.review.fill_between,
            Do.REFINE: self.review.refine,
            Do.APPLY: self.review.tool_panel.apply_button.setFocus,
            Do.ACCEPT: self.review.buttons["accept_and_next"].setFocus,
            Do.EXPORT: self.ask_export,
        }
        if step.do in does:
            with show_errors(self.session):
                does[step.do]()

    def _case_opened(self, case_id: str | None) -> None:
        if case_id is not None:
            self.show_tab("Review")
            if self._trained.phase is Phase.DONE:
                self._show_training(TrainingState())

    def predict_rest(self, cases: Sequence[str] = ()) -> None:
        """Predict cases, or all without a label, and show how that goes."""
        self.show_tab("Train")
        self.training.predict(cases)

    def _note_view(self) -> None:
        """Note in its history that the open case was looked at."""
        if self.case_view.case is not None:
            self.case_view.annotation.note_view()

    def _likely_next(self) -> list[str]:
        """List cases that are probably opened next: in the queue, then in the table."""
        here = self.session.case_id
        queued = [name for name in self.review.queue.cases() if name != here][:1]
        below = self.cohort.table.after(here)
        return list(dict.fromkeys([*queued, *([below] if below else [])]))

    # -- drag and drop, closing

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()
            self.start_page.show_drop(True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """Forget what was dragged over the panel."""
        self.start_page.show_drop(False)

    def dropEvent(self, event: QDropEvent) -> None:
        """Open a dropped project, add dropped images."""
        self.start_page.show_drop(False)
        urls = event.mimeData().urls()
        self.drop([Path(url.toLocalFile()) for url in urls if url.isLocalFile()])
        event.acceptProposedAction()

    def drop(self, paths: Sequence[Path]) -> None:
        """Open a project folder; add anything else to the open or a new project.

        Of folders and of several files it is shown first what they would become.
        """
        if not paths:
            return
        if paths[0].name == PROJECT_FILE or (paths[0] / PROJECT_FILE).is_file():
            self.open_project(paths[0])
        elif self.session.project is None:
            self.ask_create(paths)
        elif len(paths) == 1 and paths[0].is_file():
            self.cohort.add_images(paths)
        else:
            self.cohort.ask_import(paths)

    def showEvent(self, event: QShowEvent) -> None:
        """Watch the window, to ask before it closes over unsaved edits."""
        super().showEvent(event)
        window = self.window()
        if window is not self._window and isinstance(window, QMainWindow):
            window.installEventFilter(self)
            self._window = window
        dock = self.parentWidget()
        if isinstance(dock, QDockWidget):
            with suppress(TypeError, RuntimeError):
                dock.dockLocationChanged.disconnect(self._moved)
            dock.dockLocationChanged.connect(self._moved)
        QTimer.singleShot(0, self._fit_width)  # once the window has laid it out

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep the window open over unsaved edits; shut down with it."""
        if watched is self._window:
            kind = event.type()
            if kind == QEvent.Type.Resize:
                QTimer.singleShot(0, self._fit_width)
            if kind == QEvent.Type.Close and not self.session.leave():
                event.ignore()
                return True
            if kind == QEvent.Type.Hide and not event.spontaneous():
                self.shut_down()
        return bool(super().eventFilter(watched, event))

    def event(self, event: QEvent) -> bool:
        """Shut down when napari takes the panel out of its dock."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self.shut_down()
        return bool(super().event(event))

    def undock(self) -> None:
        """Take the panel out of its dock, to be docked again as it is."""
        self._docked = False
        self.viewer.window.remove_dock_widget(self.parentWidget())

    def shut_down(self) -> None:
        """Save unsaved edits as a draft and leave the viewer; training goes on."""
        if self._docked:
            self._docked = False
            if self._window is not None:
                self._window.removeEventFilter(self)
                self._window = None
            Connections.close_below(self.training)
            if self.case_view.dirty:
                self.case_view.annotation.save_draft()
            for dialog in self.findChildren(QDialog):
                dialog.close()
            Connections.close_below(self)
            self.session.closed = True


def _kept(cases: Sequence[Case]) -> str:
    """Say how many labels there are, and how many drafts are none yet."""
    labels = sum(case.has_label for case in cases)
    drafts = sum(case.has_draft for case in cases)
    words = f", {count(drafts, 'draft')} not accepted yet" if drafts else ""
    return f"{count(labels, 'label')}{words}" if cases else ""


def find_panel(viewer: Any) -> SemisegDock | None:
    """Return the panel that is docked in a viewer's window, or None."""
    window = viewer.window
    if hasattr(window, "dock_widgets"):
        docked = list(window.dock_widgets.values())
    else:  # napari before 0.6.2
        docked = [dock.inner_widget() for dock in window._dock_widgets.values()]
    return next((one for one in docked if isinstance(one, SemisegDock)), None)


class DockablePanel(QWidget):
    """Give napari the panel that a viewer has, or a new one, to be docked.

    napari finds a panel by the name that it was docked under. ``napari -w`` and the
    Plugins menu differ in it, so each asks for a panel of its own.
    """

    def __new__(  # type: ignore[misc]
        cls, napari_viewer: napari.viewer.Viewer
    ) -> SemisegDock:
        """Return the panel of the viewer, out of its dock where it has one."""
        panel = find_panel(viewer_itself(napari_viewer))
        if panel is None:
            return SemisegDock(napari_viewer)
        panel.undock()
        return panel

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        """Tell napari what to give; `__new__` takes it."""
