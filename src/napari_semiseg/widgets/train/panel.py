"""The Train tab: what to train, start and stop, and how it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_semiseg.core.case import Split
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Predicted, Started
from napari_semiseg.execution.executor import start_training
from napari_semiseg.execution.local import LocalExecutor
from napari_semiseg.project.runs.compatibility import unfit
from napari_semiseg.widgets.common.background import show_errors
from napari_semiseg.widgets.common.session import HUMAN
from napari_semiseg.widgets.train.engine_info import INSTALL, EngineInfo, has_engine
from napari_semiseg.widgets.train.form import RunChooser, TrainingForm
from napari_semiseg.widgets.train.monitor import RunMonitor, RunProgress
from napari_semiseg.widgets.train.prediction_requests import Wishes

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent

    from napari_semiseg.core.events import Event
    from napari_semiseg.execution.executor import Executor, Handle
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.common.session import Session

ACTIVE = frozenset({"preparing", "running"})
PATIENCE_MS = 10_000
NEWS_MS = 300
MODELS_OFFERED = 10


class TrainingPanel(QWidget):
    """Form, buttons, progress and curves; training is done by an executor."""

    def __init__(
        self,
        session: Session,
        info: EngineInfo | None = None,
        executor: Executor | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._executor = executor or LocalExecutor()
        self._asked = False
        self._problem: str | None = None
        self.info = info or EngineInfo(self)
        self.monitor = RunMonitor(self)
        self.wishes = Wishes(session)
        self.form = TrainingForm()
        self.progress = RunProgress()
        self.runs = RunChooser(session)
        self.reason = QLabel()
        self.reason.setWordWrap(True)
        self.start_button = QPushButton("Start")
        self.stop_button = QPushButton("Stop")
        self.resume_button = QPushButton("Resume")
        self.predict_button = QPushButton("Predict")
        self.predict_button.setToolTip(
            "Propose masks for all cases without a label, with the model in use"
        )
        self.start_button.setToolTip("Train a new model with these settings")
        self.stop_button.setToolTip("Keeps what was learnt so far; it can go on later")
        buttons = QHBoxLayout()
        for button in (self.start_button, self.stop_button, self.resume_button):
            button.setMinimumHeight(28)
            buttons.addWidget(button, 1)
        chosen = QHBoxLayout()
        chosen.addWidget(self.runs, 1)
        chosen.addWidget(self.predict_button)
        model = QFormLayout()
        model.addRow("Model in use", chosen)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.form)
        layout.addLayout(buttons)
        layout.addWidget(self.reason)
        layout.addWidget(self.progress)
        layout.addLayout(model)
        layout.addStretch()
        self._predicted: set[str] = set()
        self._known_fits: dict[tuple[Run, str, tuple[str, ...] | None], bool] = {}
        self._news = QTimer(self)
        self._news.setSingleShot(True)
        self._news.setInterval(NEWS_MS)
        self._news.timeout.connect(self._tell_news)
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(PATIENCE_MS)
        self._patience.timeout.connect(self.update_buttons)
        self._connect()
        self._show_engine()

    def _connect(self) -> None:
        self.start_button.clicked.connect(self.start)
        self.stop_button.clicked.connect(self.stop)
        self.resume_button.clicked.connect(self.resume)
        self.predict_button.clicked.connect(self.predict)
        self.info.methods_changed.connect(self._methods_known)
        self.info.devices_changed.connect(self.form.set_devices)
        self.info.failed.connect(self._engine_failed)
        self.monitor.event.connect(self._take)
        self.monitor.ended.connect(self._ended)
        self._session.project_changed.connect(self._project_changed)
        self._session.cases_changed.connect(self.update_buttons)
        self._session.runs_changed.connect(self.update_buttons)
        self._session.runs_changed.connect(self._offer_sources)
        self.form.method.currentIndexChanged.connect(self._offer_sources)

    # -- actions

    def start(self) -> None:
        """Train a new model, in a child process."""
        project = self._session.project
        if project is None or self.why_not() is not None:
            self.update_buttons()
            return
        with show_errors(self._session):
            config = self.form.value()
            self._follow(*start_training(self._executor, project, config))

    def stop(self) -> None:
        """Ask the run to end; when it does not within 10 s, end its process."""
        run = self._active_run()
        if run is None:
            return
        if run.stop_requested and not self._patience.isActive():
            if self.monitor.handle is not None:
                self.monitor.handle.terminate()
        else:
            with show_errors(self._session):
                run.request_stop()
            self._patience.start()
        self.update_buttons()

    def resume(self) -> None:
        """Go on with the newest run: to its end, or past it by the minutes asked."""
        project, run = self._session.project, self._resumable()
        if project is None or run is None:
            return
        arguments = [str(project.folder), run.id]
        if run.status == "completed":
            arguments += ["--minutes", f"{self.form.minutes.value():g}"]
        with show_errors(self._session):
            self._follow(run, self._submit("resume", arguments, run))

    def predict(self) -> None:
        """Propose masks with the model in use, in a child process."""
        project, run = self._session.project, self._model()
        if project is None or run is None:
            return
        arguments = [str(project.folder), "--run", run.id]
        with show_errors(self._session):
            self._follow(run, self._submit("predict", arguments, run), trains=False)
        self.update_buttons()

    def _submit(self, verb: str, arguments: list[str], run: Run) -> Handle:
        return self._executor.submit(verb, arguments, run.folder.log)

    def stop_following(self) -> None:
        """Let go of the run and of questions under way; training goes on."""
        self.wishes.withdraw()
        self.monitor.stop()
        self.info.stop()

    # -- state

    def why_not(self) -> str | None:
        """Say why training cannot start now; None when it can."""
        if self._session.project is None:
            return "Open a project first."
        if self._problem is not None:
            return self._problem
        if self._active_run() is not None:
            return "The model works; it goes on when napari is closed."
        human = [case for case in self._session.cases() if case.state in HUMAN]
        if not human:
            return "Label at least one case first."
        if all(case.split is not Split.TRAIN for case in human):
            return "No labelled case is used for training: change one's split."
        if not self.form.method.count():
            return "Looking for the training engine …"
        return None

    def update_buttons(self, _changed: object = None) -> None:
        """Enable what can be done now, and say why the rest cannot."""
        reason, active = self.why_not(), self._active_run()
        resumable = self._resumable()
        self.start_button.setEnabled(reason is None)
        self.reason.setText(reason or "")
        self.reason.setVisible(reason is not None)
        stopping = active is not None and active.stop_requested
        patient = self._patience.isActive()
        self.stop_button.setEnabled(
            active is not None
            and not (stopping and (patient or self.monitor.handle is None))
        )
        self.stop_button.setText(
            ("Stopping …" if patient else "End it now") if stopping else "Stop"
        )
        longer = resumable is not None and resumable.status == "completed"
        self.resume_button.setText("Train longer" if longer else "Resume")
        self.resume_button.setToolTip(
            "Goes on where a training was stopped"
            if resumable is None
            else f"Goes on with {resumable.id}"
        )
        self.resume_button.setEnabled(
            resumable is not None and active is None and self._problem is None
        )
        self.predict_button.setEnabled(
            active is None and self._problem is None and self._model() is not None
        )

    def _offer_sources(self, _changed: object = None) -> None:
        """Let a training of this method begin with the newest models that fit."""
        project, name = self._session.project, self.form.method.currentData()
        if project is None or name is None:
            self.form.set_sources(())
            return
        newest = project.runs()[: -MODELS_OFFERED - 1 : -1]
        self.form.set_sources([run for run in newest if self._fits(run, name)])

    def _fits(self, run: Run, method: str) -> bool:
        """Whether a training may begin with a run; files are read once for each."""
        project = self._session.project
        if project is None or not run.has_model:
            return False
        labelled = (case for case in self._session.cases() if case.has_label)
        channels = next((case.channel_names for case in labelled), None)
        asked = (run, method, channels)
        if asked not in self._known_fits:
            config = TrainingConfig(method=method)
            reason = unfit(run, config, project.labels, channels)
            self._known_fits[asked] = reason is None
        return self._known_fits[asked]

    def _active_run(self) -> Run | None:
        run = self._newest()
        works = run is not None and (run.status in ACTIVE or self.monitor.active)
        return run if works else None

    def _model(self) -> Run | None:
        """The run chosen as model in use, or the newest with a checkpoint."""
        project = self._session.project
        if project is None:
            return None
        runs = [run for run in project.runs() if run.has_model]
        chosen = [run for run in runs if run.id == self._session.run_id]
        return next(iter(chosen or runs[::-1]), None)

    def _resumable(self) -> Run | None:
        run = self._newest()
        usable = run is not None and run.status not in ACTIVE and run.has_model
        return run if usable else None

    def _newest(self) -> Run | None:
        if self.monitor.active:
            return self.monitor.run
        project = self._session.project
        return None if project is None else project.latest_run()

    def _follow(
        self, run: Run, handle: Handle | None = None, *, trains: bool = True
    ) -> None:
        self._watch(run, handle, trains=trains)
        self._session.runs_changed.emit()

    def _watch(
        self, run: Run, handle: Handle | None = None, *, trains: bool = True
    ) -> None:
        project = self._session.project
        labels = () if project is None else project.labels
        self.progress.clear(run, {item.name: item.colour for item in labels})
        self.monitor.follow(run, handle, trains=trains)
        going = trains and (handle is not None or run.status in ACTIVE)
        self.wishes.follow(run if going else None)

    def _project_changed(self) -> None:
        self.wishes.withdraw()
        self.monitor.stop()
        self._predicted.clear()
        self._known_fits.clear()
        self.progress.clear()
        newest = self._newest()
        if newest is not None:
            self._watch(newest)  # a new project is read by everyone anyway
        self._offer_sources()
        self.update_buttons()

    # -- what happens

    def _take(self, event: Event) -> None:
        self.progress.take(event)
        match event:
            case Finished(reason="failed") if self._interrupted():
                self.progress.interrupted(event)
            case Predicted():
                self._predicted.add(event.case)
                self._news.start()
            case Started() | Finished():
                self._news.start()
            case _:
                pass

    def _interrupted(self) -> bool:
        """Whether the run that is followed was found interrupted."""
        run = self.monitor.run
        return (
            run is not None and not self.monitor.handle and run.status == "interrupted"
        )

    def _tell_news(self) -> None:
        cases, self._predicted = self._predicted, set()
        if cases:
            self._session.cases_changed.emit(cases)
        self._session.runs_changed.emit()

    def _ended(self) -> None:
        self.wishes.follow(None)
        self._patience.stop()
        self._news.stop()
        self._tell_news()
        self.update_buttons()
        run = self.monitor.run
        if run is not None and run.status in ("failed", "interrupted"):
            how = (
                "failed"
                if self.monitor.handle or run.status == "failed"
                else run.status
            )
            self._session.say(f"Training {how}: the Train tab says why.")

    def _methods_known(self, methods: list[dict[str, Any]]) -> None:
        self._problem = None
        self.form.set_methods(methods)
        self._offer_sources()
        self.update_buttons()

    def _engine_failed(self, why: str) -> None:
        self._problem = f"The training engine does not answer: {why}"
        self.update_buttons()

    def _show_engine(self) -> None:
        found = has_engine()
        self.form.setVisible(found)
        if not found:
            self._problem = (
                f"Training needs PyTorch, which is not installed here. Close napari, "
                f"run  {INSTALL}  and start it again. Labelling works without."
            )
        elif self.info.methods:
            self.form.set_methods(self.info.methods)
            self._offer_sources()
        self.update_buttons()

    def showEvent(self, event: QShowEvent) -> None:
        """Ask the engine for methods and devices when the tab is first seen."""
        super().showEvent(event)
        if not self._asked and has_engine():
            self._asked = True
            self.info.ask()
