"""Follow a run from its log in a thread, and show how far it is."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Qt, QThreadPool, QTimer, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QProgressBar, QWidget
from superqt.utils import QSignalThrottler

from napari_semiseg.core.events import (
    Decided,
    Finished,
    Learned,
    Planned,
    Predicted,
    Staged,
    Started,
    Stepped,
    Warned,
)
from napari_semiseg.core.text import as_sentence, count, duration
from napari_semiseg.errors import STOPPED
from napari_semiseg.execution.follow import follow_process
from napari_semiseg.execution.processor_wait import ProcessorWait
from napari_semiseg.widgets.common.background import named
from napari_semiseg.widgets.common.next_step import Phase, TrainingState
from napari_semiseg.widgets.elements.forms import (
    ElidedLabel,
    Fold,
    push_button,
    row_of,
    stack,
    wrapped_label,
)
from napari_semiseg.widgets.elements.plots import Curves
from napari_semiseg.widgets.elements.style import look
from napari_semiseg.widgets.train.quality import QualityCard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_semiseg.core.events import Event
    from napari_semiseg.execution.executor import Handle
    from napari_semiseg.project.runs.run import Run

MESSAGES_SHOWN = 3
RECENT_S = 600
"""So long the header says that a training has ended."""
BAR_HEIGHT = 6
LOOK_MS = 1000
"""Between two looks at what a training waits for."""
STEP_MS = 100
"""At most so often a step is shown; a log is read faster than it was written."""


class RunMonitor(QObject):
    """Turns the events of one run into Qt signals of the GUI thread.

    Signals
    -------
    logged(object)
        An event of the log, in order, from the log's beginning. Its time is of this
        computer's clock: that at which it arrives, or, where the log held it already,
        its own, but at least a second ago.
    waited(float, bool)
        Each second: seconds since the run's process was started, or since it is
        followed, and whether other programs keep the processor from it.
    ended()
        The run's process is gone, or following it was stopped.
    """

    logged = Signal(object)
    waited = Signal(float, bool)
    ended = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.run: Run | None = None
        self.trains = True
        self.handle: Handle | None = None
        self._worker: Any = None
        self._stopped = threading.Event()
        self._wait = ProcessorWait(None)
        self._since, self._step = 0.0, 0
        self._clock = QTimer(self)
        self._clock.setInterval(LOOK_MS)
        self._clock.timeout.connect(self._tell_wait)

    @property
    def active(self) -> bool:
        """Whether a run is being followed."""
        return self._worker is not None

    def follow(
        self, run: Run, handle: Handle | None = None, *, trains: bool = True
    ) -> None:
        """Follow a run, after leaving another one.

        ``trains`` is False for a process that only predicts with the run's model.
        """
        self.stop()
        self.run, self.handle, self.trains = run, handle, trains
        title = f"Semiseg: training {run.id}, which goes on when napari closes"
        stopped = threading.Event()

        def stop() -> bool:  # a worker's ``quit()`` cannot reach into a generator
            return stopped.is_set() or bool(worker.abort_requested)

        worker = create_worker(
            named(title, _follow, run, handle),
            trains=trains,
            stop=stop,
            _start_thread=False,
            _progress={"desc": f"Training {run.id}"},
        )
        worker.yielded.connect(self._yielded)
        worker.finished.connect(self._finished)
        self._worker, self._stopped, self._step = worker, stopped, 0
        self._wait = ProcessorWait(run.pid if handle is None else handle.pid)
        self._since = time.time() if handle is None else handle.started
        self._clock.start()
        pool = QThreadPool.globalInstance()
        pool.releaseThread()  # it waits most of the time: one core has one thread
        worker.finished.connect(lambda: pool.reserveThread())
        worker.start()

    def stop(self) -> None:
        """Stop following. The training itself goes on."""
        self._clock.stop()
        if self._worker is not None:
            self._stopped.set()
            self._worker.yielded.disconnect(self._yielded)
            self._worker.finished.disconnect(self._finished)
            self._worker = None

    def _tell_wait(self) -> None:
        bar = self._worker.pbar
        bar.update(self._step - bar.n)
        self.waited.emit(max(0.0, time.time() - self._since), self._wait.starved)

    def _yielded(self, event: Event) -> None:
        if self._worker is None:  # it was on its way when following was stopped
            return
        if isinstance(event, Planned):
            self._worker.pbar.total = event.steps
        elif isinstance(event, Stepped):
            self._step = event.step
        self.logged.emit(event)

    def _finished(self) -> None:
        self._clock.stop()
        self._worker = None
        self.ended.emit()


def _follow(
    run: Run, handle: Handle | None, *, trains: bool, stop: Callable[[], bool]
) -> Iterator[Event]:
    """Yield the events of a run by this computer's clock, see `RunMonitor`."""
    start, known = time.time(), threading.Event()
    followed = follow_process(
        run, handle, trains=trains, stop=stop, caught_up=known.set
    )
    for event in followed:
        if isinstance(event, Started) and handle and event.session == handle.session:
            known.set()
        at = time.time() if known.is_set() else min(event.at, start - 1)
        yield event.model_copy(update={"at": at})


class RunProgress(QWidget):
    """Progress bar, time left, quality, curves and messages of one run.

    Parameters
    ----------
    controls, pictures : QWidget, optional
        Shown below the bar, and below the curve of the quality.
    parent : QWidget, optional
        Of this one.

    Signals
    -------
    state_changed(TrainingState)
        The same in few words, for the header.
    """

    state_changed = Signal(object)

    def __init__(
        self,
        controls: QWidget | None = None,
        pictures: QWidget | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.bar = look(QProgressBar(), "bar")
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(BAR_HEIGHT)
        self.text = ElidedLabel("secondary")
        self.text.setElideMode(Qt.TextElideMode.ElideRight)
        self.quality = QualityCard()
        self.losses = Curves("Loss terms")
        self.messages = wrapped_label()
        self._log: str | None = None
        self._log_button = push_button(
            "Open log", self._open_log, "What the training process printed"
        )
        self.headline = ElidedLabel("headline")
        self.times = ElidedLabel("secondary")
        self.times.setElideMode(Qt.TextElideMode.ElideRight)
        self.times.setAlignment(Qt.AlignmentFlag.AlignRight)
        tip = "Losses and log of the training"
        self.details = Fold("Details", tip, self.losses, self._log_button)
        head = row_of(self.headline, self.times)
        head.setStretch(0, 3)
        head.setStretch(1, 2)
        column = stack(self, head, self.bar, self.text, margin=0)
        column.setSpacing(8)
        for part in (controls, self.messages, self.quality, pictures, self.details):
            if part is not None:
                column.addWidget(part)
        self._trained = ""
        self._step: Stepped | None = None
        self._message, self._ticking = "", False
        self._state = TrainingState()
        self._shown: TrainingState | None = None
        self._redraw = QSignalThrottler(parent=self)
        self._redraw.setTimeout(STEP_MS)
        self._redraw.triggered.connect(self._show_step)
        self.clear()

    def clear(self, run: Run | None = None, awaited: Phase = Phase.IDLE) -> None:
        """Show nothing yet of a run; ``awaited`` is what its new process will do."""
        self._awaited, self._since = awaited, time.time()
        self._steps, self._step = 0, None
        self._recent: list[str] = []
        self._predicts_since = 0.0
        self._proposed = 0, 0
        self._log = None if run is None else str(run.folder.log)
        self._log_button.setVisible(run is not None)
        self.details.setVisible(run is not None)
        self.bar.setRange(0, 0)
        self.bar.setVisible(run is not None)
        self._show_times("")
        self._say("" if run is None else "Starting")
        self._tell(Phase.IDLE, "")
        self._ticking = run is not None
        self.losses.clear()
        self.losses.hide()
        self.quality.clear()
        self.messages.hide()

    def show_event(self, event: Event) -> None:
        """Show one event; of many steps in a row the last one."""
        self.quality.show_event(event)
        if event.at >= self._since:  # not of an earlier session
            self._awaited = Phase.IDLE
        match event:
            case Started():
                self._show_step()
                self._ticking, self._predicts_since = True, 0.0
                self.bar.setRange(0, 0)
                self._say("Starting")
                self._tell(Phase.TRAINING, "Training starts")
            case Staged():
                self._staged(event)
            case Planned():
                self._steps = event.steps
                self._say(
                    f"{count(event.steps, 'step')} on {event.device}, "
                    f"about {duration(event.steps * event.seconds_per_step)}"
                )
            case Stepped():
                self._stepped(event)
            case Learned():
                self._add_message(event.sentence)
                self.losses.mark(event.step)
            case Predicted():
                self._predicted(event)
            case Decided() | Warned():
                self._add_message(event.sentence)
            case Finished():
                self._finished(event)
            case _:
                pass

    def show_wait(self, seconds: float, starved: bool) -> None:
        """Add the seconds so far, and what it waits for.

        ``seconds`` count to the first step; those to the first prediction begin anew.
        """
        if self._awaited is not Phase.IDLE:
            self._ticking, self._predicts_since = True, 0.0
            self._say("Starting")
            self._tell(self._awaited, f"{self._awaited} starts".capitalize())
        words = [self._message]
        if self._ticking:
            since = self._predicts_since
            words.append(duration(time.time() - since if since else seconds))
        busy = self._state.phase in (Phase.TRAINING, Phase.PROPOSING)
        if starved:
            words.append("waiting for the processor, which other programs use")
        if self._message:
            self.text.setText(", ".join(words))
        waits = replace(self._state, text="Waiting for the processor")
        self._show_state(waits if starved and busy else self._state)

    def show_end(self, code: int | None) -> None:
        """Show that the process is gone, with its exit code where that is known."""
        self._show_step()
        if self._state.phase is Phase.PROPOSING:
            failed = code not in (None, 0, STOPPED)
            done, total = self._proposed
            words = f"{done} of {count(total, 'scan')} proposed"
            phase = Phase.TROUBLE if failed else Phase.DONE
            self._tell(phase, "Proposing failed" if failed else words, self._state.part)
            self._say(f"{self._trained}, {words}".lstrip(", "))
        self._ticking = False
        self._say(self._message)
        self.bar.hide()
        self._show_times("")

    def _show_times(self, text: str) -> None:
        self.times.setText(text)
        self.times.setVisible(bool(text))

    def _say(self, text: str) -> None:
        self._message = text
        self.text.setText(text)

    def _tell(self, phase: Phase, words: str, part: float = 0.0) -> None:
        self._state = TrainingState(phase, words, part)
        what, _, rest = words.partition(" \u00b7 ")
        scan = "Scan " if phase is Phase.PROPOSING else ""
        self.headline.setText(f"{scan}{rest}" if rest else what)
        self.headline.setVisible(bool(words))
        self._show_state(self._state)

    def _show_state(self, state: TrainingState) -> None:
        if state == self._shown:
            return
        if self._shown is None or state.phase is not self._shown.phase:
            self.bar.setProperty("kind", str(state.phase))
            self.bar.style().unpolish(self.bar)
            self.bar.style().polish(self.bar)
        self._shown = state
        self.state_changed.emit(state)

    def _tell_recent(self, event: Event, phase: Phase, words: str, part: float) -> None:
        """Tell what has just ended; of a log of yesterday that nothing is going on."""
        recent = time.time() - event.at < RECENT_S
        self._tell(*((phase, words, part) if recent else (Phase.IDLE, "")))

    def _staged(self, event: Staged) -> None:
        self._show_step()
        if event.stage == "Predicting":
            self._predicts_since = event.at
            self._predicting(event, event.done, event.total)
            return
        self._progress(event.stage, event.done, event.total)
        what, *_ = event.stage.split()
        of = f" {event.done} of {event.total}" if event.total > 1 else ""
        self._tell(Phase.TRAINING, f"{what}{of}")

    def _stepped(self, event: Stepped) -> None:
        self._steps, self._ticking, self._step = event.steps, False, event
        self.losses.add(event.step, event.losses)
        self._redraw.throttle()

    def _show_step(self) -> None:
        event, self._step = self._step, None
        if event is None:
            return
        self.bar.setRange(0, event.steps)
        self.bar.setValue(event.step)
        left, whole = event.seconds_left, event.seconds + event.seconds_left
        spent = f"{duration(event.seconds)} of {duration(whole)}"
        self._say(f"Step {event.step:,} of {event.steps:,}, {spent}")
        ends = time.strftime("%H:%M", time.localtime(event.at + left))
        self._show_times(f"ends {ends}")
        part = event.step / max(event.steps, 1)
        self._tell(Phase.TRAINING, f"Training \u00b7 {duration(left)} left", part)
        self.losses.show()

    def _predicted(self, event: Predicted) -> None:
        self._show_step()
        if event.training_step is not None:
            self._add_message(event.sentence)
            return
        self._predicting(event, event.done, event.total)

    def _predicting(self, event: Staged | Predicted, done: int, total: int) -> None:
        """Say which case is predicted, and once one is done how long the rest takes."""
        self._proposed = done, total
        if done == total:
            self._ticking = False
            self._say(f"{self._trained}, predicted {count(total, 'case')}".lstrip(", "))
            words = f"{count(total, 'scan')} proposed"
            self._tell_recent(event, Phase.DONE, words, 1.0)
            self._show_times("")
            return
        left = ""
        if done and self._predicts_since:
            seconds = (event.at - self._predicts_since) * (total - done) / done
            left = f"{duration(seconds)} left"
        self._ticking = not done
        self._progress("Predicting", done, total)
        self._say(f"Predicting case {done + 1} of {total}")
        self._show_times(left)
        words = f"Proposing \u00b7 {done + 1} of {total}"
        self._tell_recent(event, Phase.PROPOSING, words, done / total)

    def _progress(self, stage: str, done: int, total: int) -> None:
        self.bar.show()
        self.bar.setRange(0, total if total > 1 else 0)
        self.bar.setValue(done)
        self._say(f"{stage}: {done} of {total}" if total > 1 else stage)

    def _finished(self, event: Finished) -> None:
        self._show_step()
        self._ticking = False
        self._show_end(event)
        spent = duration(event.seconds)
        words = {
            "completed": f"Trained {count(event.step, 'step')} in {spent}",
            "cancelled": f"Stopped at step {event.step:,} after {spent}",
            "failed": "Training failed",
        }
        self._trained = words[event.reason]
        self._say(self._trained)
        phase = Phase.TROUBLE if event.reason == "failed" else Phase.DONE
        short = {"completed": "Trained", "cancelled": "Stopped"}
        brief = short.get(event.reason, self._trained)
        at = time.strftime("%H:%M", time.localtime(event.at))
        dice = self.quality.dice
        quality = "" if dice is None else f", Dice {dice:.2f}"
        self._tell_recent(event, phase, f"{brief} {at}{quality}", 1.0)
        if event.error:
            self._add_message(as_sentence(event.error))

    def show_interruption(self, event: Finished) -> None:
        """Show that a run was interrupted, in place of the output it left."""
        self._ticking = False
        self.messages.hide()
        self._show_end(event)
        self._say(f"Interrupted at step {event.step:,}; it can go on")
        self._tell(Phase.TROUBLE, "Training interrupted")

    def _show_end(self, event: Finished) -> None:
        self.bar.setRange(0, max(1, self._steps))
        self.bar.setValue(event.step)
        self.bar.hide()
        self._show_times("")

    def _add_message(self, message: str) -> None:
        self._recent = [*self._recent, message][-MESSAGES_SHOWN:]
        self.messages.setText("\n".join(self._recent))
        self.messages.show()

    def _open_log(self) -> None:
        if self._log is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(self._log))
