"""Start, stop and watch trainings: the Train tab."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QFrame, QWidget
from superqt.utils import QSignalDebouncer

from napari_semiseg.core.case import Split
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Pictured, Predicted, Started
from napari_semiseg.engine.methods.registry import method_specs
from napari_semiseg.execution.executor import start_training, submit_for
from napari_semiseg.execution.follow import wait_for
from napari_semiseg.execution.local import LocalExecutor
from napari_semiseg.execution.place import executor_at
from napari_semiseg.execution.stop import take_back
from napari_semiseg.project.runs.compatibility import why_incompatible
from napari_semiseg.widgets.common.background import in_background, show_errors, warn
from napari_semiseg.widgets.common.next_step import Phase
from napari_semiseg.widgets.common.preferences import setting
from napari_semiseg.widgets.common.session import HUMAN
from napari_semiseg.widgets.elements.buttons import KeyButton
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    markup_label,
    plain,
    plain_label,
    row_of,
    stack,
    wrapped_label,
)
from napari_semiseg.widgets.elements.style import look
from napari_semiseg.widgets.train.changes import ChangesCard
from napari_semiseg.widgets.train.devices import INSTALL, DeviceQuery, has_torch
from napari_semiseg.widgets.train.form import RunChooser, TrainingForm
from napari_semiseg.widgets.train.label_check import LabelCheck
from napari_semiseg.widgets.train.monitor import RunMonitor, RunProgress
from napari_semiseg.widgets.train.pictures import PicturesCard
from napari_semiseg.widgets.train.prediction_requests import PredictionRequests
from napari_semiseg.widgets.train.sentence import (
    ASIDE,
    kind_of_scan,
    to_set_aside,
    what_is_learnt,
    what_is_left_out,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtGui import QShowEvent

    from napari_semiseg.core.events import Event
    from napari_semiseg.engine.methods.registry import MethodSpec
    from napari_semiseg.execution.executor import Executor, Handle
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.common.session import Session

STOP_MS = 10_000
"""How long a run may take to stop before its process can be ended."""
UPDATE_MS = 300
MODELS_OFFERED = 10
BUTTON_HEIGHT, MORE = 34, 10
"""Pixels, and minutes that a button adds to a training."""
START, STOP = "Start training", "Stop and keep"


class TrainingPanel(QWidget):
    """Form, buttons, progress and curves; an executor does the training.

    Parameters
    ----------
    session : Session
        Whose project is trained.
    executor : Executor, optional
        Runs trainings and predictions; by default in child processes.
    methods : sequence of MethodSpec, optional
        Training methods that are offered; by default all that are installed.
    parent : QWidget, optional
        Of the panel.

    Signals
    -------
    state_changed(TrainingState)
        How far the training is, or that there is none.
    """

    state_changed = Signal(object)

    def __init__(
        self,
        session: Session,
        executor: Executor | None = None,
        methods: Sequence[MethodSpec] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._own_executor = executor
        self._problem: str | None = None
        self._asked = ""
        self._devices: DeviceQuery | None = None
        self.form = TrainingForm(method_specs() if methods is None else methods)
        if not has_torch():
            self._problem = (
                f"Training needs PyTorch, which is not installed here. Close napari, "
                f"run  {INSTALL}  and start it again, or choose another computer at "
                f"Run on. Labelling works without."
            )
        self.monitor = RunMonitor(self)
        self.requests = PredictionRequests(session, self)
        self.pictures = PicturesCard()
        self.changes = ChangesCard(session)
        self.label_check = LabelCheck(session, self)
        self.runs = RunChooser(session)
        self.sentence = look(markup_label(wrapped=True), "sentence")
        self.left_out = look(wrapped_label(), "secondary")
        self.aside = QCheckBox(f"Keep {ASIDE} labels aside to check it")
        self.aside.setToolTip(
            "It does not learn from them: they show how well it does. The column Use "
            "of the cohort says Check, and changes that"
        )
        self.aside.setChecked(True)
        self.reason = wrapped_label()
        self._predicted: set[str] = set()
        self._more = 0
        self._known_fits: dict[tuple[Run, str, tuple[str, ...] | None], bool] = {}
        self._changes = QSignalDebouncer(parent=self)
        self._changes.setTimeout(UPDATE_MS)
        self._stopping = QTimer(self)
        self._stopping.setSingleShot(True)
        self._stopping.setInterval(STOP_MS)
        self._build()
        self._connect()
        self._offer_sources()
        self.update_buttons()

    def _build(self) -> None:
        self.start_button = KeyButton(START, "", "play", "primary", self.start)
        self.start_button.setToolTip("Train a new model with these settings")
        self.stop_button = KeyButton(STOP, "", "stop", run=self.stop)
        self.stop_button.setToolTip("Keeps what was learnt so far; it can go on later")
        self.resume_button = KeyButton("Resume", "", "plus", run=self.resume)
        self.predict_button = KeyButton(
            "Propose", "", "creation", run=lambda: self.predict()
        )
        self.predict_button.setToolTip(
            "Propose masks for all cases without a label, with the model in use"
        )
        for button in (self.start_button, self.stop_button):
            button.setMinimumHeight(BUTTON_HEIGHT)
        self.more_button = KeyButton("", "", "plus", run=self.train_more)
        self.more_button.setToolTip("Goes on for longer once it is done")
        self.controls = QWidget()
        row = row_of(self.stop_button, self.more_button)
        row.setContentsMargins(0, 0, 0, 0)
        self.controls.setLayout(row)
        self.progress = RunProgress(self.controls, self.pictures)
        self.model_card = look(QFrame(), "card")
        title = look(plain_label("Model in use"), "title")
        actions = row_of(self.predict_button, self.resume_button)
        stack(self.model_card, title, self.runs, actions)
        self.plan = QWidget()
        plan = (
            self.sentence,
            self.left_out,
            self.aside,
            self.form,
            self.start_button,
        )
        stack(self.plan, *plan, margin=0).setSpacing(10)
        parts = (
            self.plan,
            self.reason,
            self.changes,
            self.progress,
            self.model_card,
            None,
        )
        column = stack(self, *parts, margin=0)
        column.setSpacing(10)
        column.setContentsMargins(0, 10, 0, 4)

    def _connect(self) -> None:
        self.progress.state_changed.connect(self.state_changed)
        self.monitor.logged.connect(self._show_event)
        self.monitor.waited.connect(self.progress.show_wait)
        self.monitor.ended.connect(self._ended)
        self.form.method.currentIndexChanged.connect(self._offer_sources)
        self.form.valueChanged.connect(self._show_plan)
        self.form.place.valueChanged.connect(self.update_buttons)
        self.aside.toggled.connect(self._show_plan)
        self.label_check.changed.connect(self.update_buttons)
        self._changes.triggered.connect(self._announce_changes)
        self._stopping.timeout.connect(self.update_buttons)
        session, connections = self._session, Connections(self)
        connections.add(self._project_changed, session.project_changed)
        connections.add(
            self.update_buttons, session.cases_changed, session.runs_changed
        )
        connections.add(self._offer_sources, session.runs_changed)
        connections.add(self._show_corrections, session.cases_changed)
        # Training goes on when the panel closes.
        connections.at_close(self.monitor.stop)
        connections.at_close(self.requests.withdraw)

    def _submit(
        self, work: Callable[[Executor], tuple[Run, Handle]], *, trains: bool = True
    ) -> None:
        """Let an executor begin a verb, and follow it.

        Another computer is asked in a thread, since it may take seconds to answer.
        """
        project, place = self._session.project, self.form.place.value()
        if project is None:
            return
        if not place or self._own_executor is not None:
            with show_errors(self._session):
                self._follow(*work(self._here()), trains=trains)
            return

        def begin() -> tuple[Run, Handle]:
            return work(executor_at(place, project))

        def started(found: tuple[Run, Handle]) -> None:
            if self._session.project is project:
                self._follow(*found, trains=trains)

        def answered() -> None:
            self._asked = ""
            self.update_buttons()

        self._asked = place
        self.update_buttons()
        in_background(self._session, f"Asking {place}", begin, started, answered)

    def _here(self) -> Executor:
        """What runs verbs on this computer."""
        low_priority = setting("low_priority")
        return self._own_executor or LocalExecutor(low_priority=low_priority)

    # -- actions

    def start(self) -> None:
        """Train a new model."""
        project = self._session.project
        if project is None or self.why_not() is not None:
            self.update_buttons()
            return
        with show_errors(self._session):
            config = self.form.value()
            self._set_aside(project)
            self._submit(lambda executor: start_training(executor, project, config))

    def _set_aside(self, project: Project) -> None:
        """Keep some labels aside to check the training, where that is wanted."""
        ids = self._kept_aside()

        def use_for(split: Split) -> None:
            for name in ids:
                project.set_split(name, split)
            self._session.cases_changed.emit(set(ids))

        if ids:
            use_for(Split.VALIDATION)
            text = f"{len(ids)} labels only check the training"
            self._session.offer(text, "Undo", partial(use_for, Split.TRAIN))

    def _kept_aside(self) -> list[str]:
        found = to_set_aside(self._session.cases())
        self.aside.setVisible(bool(found))
        return found if self.aside.isChecked() else []

    def stop(self) -> None:
        """Ask the run to end; when it does not within 10 s, end its process."""
        project, run = self._session.project, self._active_run()
        if run is None:
            return
        handle, again = self.monitor.handle, run.stop_requested
        if again and self._stopping.isActive():
            return
        if again and handle is not None and handle.place:
            self._ask(handle.place, handle.terminate)
        elif again and handle is not None:
            with show_errors(self._session):
                handle.terminate()
        else:
            with show_errors(self._session):
                run.request_stop()
            self._stopping.start()
        waiting = run.waiting
        if waiting is not None and project is not None:
            self._ask(waiting.place, partial(take_back, project, run, lost=again))
        self.update_buttons()

    def _ask(self, place: str, work: Callable[[], object]) -> None:
        """Ask another computer, in a thread: it may take seconds to answer."""

        def answered(_: object) -> None:
            self._session.runs_changed.emit()

        in_background(self._session, f"Asking {place}", work, answered)

    def resume(self, more: int = MORE) -> None:
        """Go on with the newest run: to its end, or past it by ``more`` minutes."""
        project, run = self._session.project, self._resumable()
        if project is None or run is None:
            return
        arguments = [run.id]
        if run.status == "completed":
            arguments += ["--minutes", str(more)]
        self._submit(
            lambda executor: (
                run,
                submit_for(executor, "resume", project, run, *arguments),
            )
        )

    def train_more(self) -> None:
        """Let the training that runs go on for some minutes once it is done."""
        self._more += MORE
        self.update_buttons()

    def predict(self, cases: Sequence[str] = ()) -> None:
        """Propose masks with the model in use; by default for all without a label."""
        project, run = self._session.project, self.model()
        reason = self._why_no_proposals()
        if project is None or run is None or reason is not None:
            self._session.say(reason or "")
            return
        named = [word for name in cases for word in ("--case", name)]
        words = ["--run", run.id, *named]
        self._submit(
            lambda executor: (
                run,
                submit_for(executor, "predict", project, run, *words),
            ),
            trains=False,
        )
        self.update_buttons()

    def export_model(self, run: Run, folder: str) -> None:
        """Write the model of a run into a folder, as ONNX with its pipeline and card.

        A process does it: the window holds no PyTorch.
        """
        project, session = self._session.project, self._session
        if project is None:
            return
        words = [str(project.folder), folder, "--run", run.id]
        with show_errors(session):
            handle = self._here().submit("export-model", words, run.folder.log)
            in_background(
                session,
                "Exporting the model",
                lambda: wait_for(run.folder.log, handle),
                lambda _: session.say(f"Wrote the model of {run.id} to {folder}."),
            )

    def check_labels(self) -> None:
        """Check the labels by models that have not seen them; or offer to stop that."""
        if self.label_check.running:
            self.label_check.ask_stop()
        elif (reason := self.why_not()) is not None:
            warn(self._session, reason)
        else:
            with show_errors(self._session):
                self.label_check.ask_start(self._here(), self.form.value())

    # -- state

    def why_not(self) -> str | None:
        """Say why training cannot start now; None if it can."""
        if self._session.project is None:
            return "Open a project first."
        if (reason := self._why_busy()) is not None:
            return reason
        if self.label_check.running:
            return "The labels are being checked: More > Check the labels stops that."
        human = [case for case in self._session.cases() if case.state in HUMAN]
        if not human:
            return "Label at least one case first."
        if all(case.split is not Split.TRAIN for case in human):
            return "No labelled case is used for training: change one's split."
        return None

    def _why_no_proposals(self) -> str | None:
        """Say why masks cannot be proposed now; None if they can."""
        return "Train a model first." if self.model() is None else self._why_busy()

    def _why_busy(self) -> str | None:
        """Say why neither training nor prediction can start now; None if they can."""
        if self._problem is not None and not self.form.place.value():
            return self._problem
        if self._asked:
            return f"Waits for an answer of {self._asked}."
        if self._active_run() is not None:
            return "A training or prediction runs; it goes on when napari is closed."
        return None

    def update_buttons(self, _changed: object = None) -> None:
        """Enable what can be done now, and say why the rest cannot."""
        reason, active = self.why_not(), self._active_run()
        self.start_button.setEnabled(reason is None)
        self.plan.setVisible(active is None)
        self.controls.setVisible(active is not None)
        more = f"{self._more} min more after it" if self._more else f"{MORE} min more"
        self.more_button.set_step(more, "")
        stopped = active is not None and active.stop_requested
        self.more_button.setVisible(self.monitor.trains and not stopped)
        self.model_card.setVisible(active is None)
        self._show_plan()
        self.reason.setText(reason or "")
        self.reason.setVisible(reason is not None and active is None)
        stopping = active is not None and active.stop_requested
        waiting = self._stopping.isActive()
        reachable = self.monitor.handle is not None or (
            active is not None and active.waiting is not None
        )
        can_end = not waiting and reachable
        self.stop_button.setEnabled(active is not None and (not stopping or can_end))
        self.stop_button.setText(
            ("Stopping …" if waiting else "End it now") if stopping else STOP
        )
        self.predict_button.setEnabled(self._why_no_proposals() is None)
        resumable, busy = self._resumable(), self._why_busy() is not None
        self.resume_button.setEnabled(resumable is not None and not busy)
        longer = resumable is not None and resumable.status == "completed"
        self.resume_button.set_step(f"{MORE} min more" if longer else "Resume", "")
        self.resume_button.setToolTip(
            "Goes on where a training was stopped"
            if resumable is None
            else plain(f"Goes on with {resumable.id}")
        )

    def show_next(self, is_next: bool) -> None:
        """Make *Start* the blue button while to train is the next step."""
        look(self.start_button, "primary" if is_next else "quiet")

    def _show_plan(self) -> None:
        """Say what a training would do with the settings of now."""
        project, form = self._session.project, self.form
        cases = self._session.cases()
        names = [] if project is None else [item.name for item in project.labels]
        source, aside = form.source.currentData(), self._kept_aside()
        after = form.unlabelled_after
        self.sentence.setText(
            what_is_learnt(cases, names, source, unlabelled_after=after, aside=aside)
        )
        left_out = what_is_left_out(cases)
        self.left_out.setText(left_out)
        self.left_out.setVisible(bool(left_out))
        self.start_button.set_step(f"{START}, {form.budget}", "")

    def _offer_sources(self, _changed: object = None) -> None:
        """Let a training of this method begin with the newest models that fit."""
        project, name = self._session.project, self.form.method.currentData()
        newest = [] if project is None else project.runs()[: -MODELS_OFFERED - 1 : -1]
        self.form.set_sources([run for run in newest if self._fits(run, name)])
        self._show_plan()

    def _fits(self, run: Run, method: str) -> bool:
        """Tell whether a training may begin with a run; reads files once for each."""
        project = self._session.project
        if project is None or not run.has_model:
            return False
        labelled = (case for case in self._session.cases() if case.has_label)
        channels = next((case.channel_names for case in labelled), None)
        key = (run, method, channels)
        if key not in self._known_fits:
            config = TrainingConfig(method=method)
            reason = why_incompatible(run, config, project.labels, channels)
            self._known_fits[key] = reason is None
        return self._known_fits[key]

    def _active_run(self) -> Run | None:
        run = self._newest()
        active = run is not None and (run.is_under_way or self.monitor.active)
        return run if active else None

    def model(self) -> Run | None:
        """Return the run in use, by default the newest with a checkpoint."""
        project = self._session.project
        runs = [] if project is None else [r for r in project.runs() if r.has_model]
        chosen = [run for run in runs if run.id == self._session.run_id]
        return next(iter(chosen or runs[::-1]), None)

    def _resumable(self) -> Run | None:
        run = self._newest()
        usable = run is not None and not run.is_under_way and run.has_model
        return run if usable else None

    def _newest(self) -> Run | None:
        if self.monitor.active:
            return self.monitor.run
        project = self._session.project
        return None if project is None else project.latest_run()

    # -- following a run

    def _follow(
        self, run: Run, handle: Handle | None = None, *, trains: bool = True
    ) -> None:
        self._show_run(run, handle, trains=trains)
        self._session.runs_changed.emit()

    def _show_run(
        self, run: Run, handle: Handle | None = None, *, trains: bool = True
    ) -> None:
        begins = handle is not None or run.status in ("queued", "preparing")
        awaited = Phase.TRAINING if trains else Phase.PROPOSING
        self.progress.clear(run, awaited if begins else Phase.IDLE)
        self.pictures.clear()
        self.changes.clear()
        self.monitor.follow(run, handle, trains=trains)
        goes_on = trains and (handle is not None or run.is_under_way)
        self.requests.follow(run if goes_on else None)

    def _project_changed(self) -> None:
        self.requests.withdraw()
        self.monitor.stop()
        self._predicted.clear()
        self._known_fits.clear()
        self.progress.clear()
        self.pictures.clear()
        self.changes.clear()
        newest = self._newest()
        if newest is not None:
            self._show_run(newest)  # a new project is read by everyone anyway
        self._offer_sources()
        self.update_buttons()

    def _show_event(self, event: Event) -> None:
        self.progress.show_event(event)
        if isinstance(event, Finished) and event.reason == "failed":
            run, handle = self.monitor.run, self.monitor.handle
            if run is not None and handle is None and run.status == "interrupted":
                self.progress.show_interruption(event)
        if isinstance(event, Predicted):
            self._predicted.add(event.case)
        if isinstance(event, Pictured):
            self._show_pictures(event)
        if isinstance(event, Predicted | Started | Finished):
            self._changes.throttle()

    def _show_pictures(self, event: Pictured) -> None:
        project, run = self._session.project, self.monitor.run
        if project is not None and run is not None:
            cases = {case.id: case for case in self._session.cases()}
            title = kind_of_scan(cases.get(event.case))
            self.pictures.show_pictures(run, event, project.labels, title)

    def _show_corrections(self, _cases: object = None) -> None:
        """Draw how well the predictions of the run that is shown were corrected."""
        run = self.monitor.run
        if run is not None:
            self.progress.quality.set_corrections(
                (item.step, item.dice)
                for item in self._session.corrections()
                if item.run == run.id
                and item.step is not None
                and item.dice is not None
            )
        self.changes.show_button()

    def _announce_changes(self) -> None:
        cases, self._predicted = self._predicted, set()
        if cases:
            self._session.cases_changed.emit(cases)
        self._session.runs_changed.emit()

    def _ended(self) -> None:
        more, self._more = self._more, 0
        self.requests.follow(None)
        self._stopping.stop()
        self._changes.cancel()
        self._announce_changes()
        self.update_buttons()
        run, handle = self.monitor.run, self.monitor.handle
        self.progress.show_end(None if handle is None else handle.poll())
        self._show_corrections()
        self.changes.refresh()
        if more and run is not None and run.status == "completed":
            self.resume(more)
        elif run is not None and run.status in ("failed", "interrupted"):
            how = run.status if handle is None else "failed"
            self._session.say(f"Training {how}: the Train tab says why.")

    # -- the engine

    def showEvent(self, event: QShowEvent) -> None:
        """Look for devices when the tab is first seen, and for what has changed."""
        super().showEvent(event)
        if self._active_run() is None:
            self.changes.read()
        if self._devices is None and has_torch():
            self._devices = DeviceQuery(self)
            self._devices.found.connect(self.form.set_devices)
            self._devices.failed.connect(self._engine_failed)
            self._devices.start()

    def _engine_failed(self, why: str) -> None:
        self._problem = f"The training engine does not answer: {why}"
        self.update_buttons()
