from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QThreadPool

from fake_workers import FakeHandle
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import (
    Decided,
    Event,
    Finished,
    Learned,
    Planned,
    Predicted,
    Staged,
    Started,
    Stepped,
    Warned,
)
from napari_semiseg.execution.follow import follow_process
from napari_semiseg.project.runs.run import Run
from napari_semiseg.widgets.common.background import in_background
from napari_semiseg.widgets.common.next_step import Phase, TrainingState
from napari_semiseg.widgets.train.monitor import RunMonitor, RunProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session

WAIT_MS = 20_000
CHILD = """
import sys, time
from pathlib import Path
log, lines, gate = Path(sys.argv[1]), sys.argv[2].split("|"), Path(sys.argv[3])
for number, line in enumerate(lines):
    if line == "GATE":
        while not gate.exists():
            time.sleep(0.02)
        continue
    with log.open("a") as file:
        file.write(line + chr(10))
"""


class Child:
    """A process that writes events, and waits at "GATE" until `open_gate`."""

    def __init__(self, run: Run, gate: Path, events: list[Event | str]) -> None:
        self.session = uuid.uuid4().hex
        lines = [
            event if isinstance(event, str) else self._mine(event).to_line()
            for event in events
        ]
        self._gate = gate
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                CHILD,
                str(run.folder.events),
                "|".join(lines),
                str(gate),
            ]
        )
        self.pid = self._process.pid
        self.started = time.time()
        self.poll = self._process.poll
        self.terminate = self._process.terminate

    def _mine(self, event: Event) -> Event:
        """Give the start of a session the mark that the process was given."""
        if isinstance(event, Started):
            return event.model_copy(update={"session": self.session})
        return event

    def open_gate(self) -> None:
        self._gate.touch()

    def close(self) -> None:
        self.open_gate()
        self._process.wait(10)


@pytest.fixture
def start_child(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(run: Run, events: list[Event | str]) -> Child:
        children.append(Child(run, tmp_path / f"gate{len(children)}", events))
        return children[-1]

    yield start
    for child in children:
        child.close()


@pytest.fixture
def run(project: Project) -> Run:
    return Run.create(project, TrainingConfig(minutes=1))


@pytest.fixture
def monitor(qtbot: QtBot) -> Iterator[RunMonitor]:
    made = RunMonitor()
    yield made
    made.stop()


def stepped(step: int) -> Stepped:
    return Stepped(
        step=step,
        steps=10,
        losses={"supervised": 1 / step, "consistency": 0.1},
        learning_rate=0.1,
        seconds=step,
        seconds_left=10 - step,
    )


def started(run: Run) -> Started:
    return Started(run=run.id, method="ug_mcl", pid=os.getpid())


def finished(run: Run, reason: str = "completed", error: str | None = None) -> Finished:
    return Finished(run=run.id, reason=reason, step=10, seconds=10, error=error)


def predicted(case_id: str) -> Predicted:
    return Predicted(case=case_id, uncertainty=0.1, done=1, total=1)


def collect(monitor: RunMonitor) -> list[Event]:
    seen: list[Event] = []
    monitor.logged.connect(seen.append)
    return seen


def test_events_arrive_in_order_and_predictions_after_the_end_too(
    qtbot: QtBot,
    monitor: RunMonitor,
    run: Run,
    start_child: Callable[..., Child],
) -> None:
    events = [started(run), stepped(1), stepped(2), finished(run), "GATE"]
    child = start_child(run, [*events, predicted("case_1")])
    seen = collect(monitor)
    monitor.follow(run, child)
    qtbot.waitUntil(lambda: len(seen) == 4, timeout=WAIT_MS)
    assert monitor.active
    with qtbot.waitSignal(monitor.ended, timeout=WAIT_MS):
        child.open_gate()
    assert [event.type for event in seen] == [
        "started",
        "stepped",
        "stepped",
        "finished",
        "predicted",
    ]
    assert not monitor.active


def test_a_resumed_run_is_followed_past_its_first_end(
    qtbot: QtBot,
    monitor: RunMonitor,
    run: Run,
    start_child: Callable[..., Child],
) -> None:
    for event in (started(run), stepped(5), finished(run, "cancelled")):
        run.append(event)
    child = start_child(run, ["GATE", started(run), stepped(10), finished(run)])
    seen = collect(monitor)
    monitor.follow(run, child)
    qtbot.waitUntil(lambda: len(seen) == 3, timeout=WAIT_MS)
    with qtbot.waitSignal(monitor.ended, timeout=WAIT_MS):
        child.open_gate()
    assert [event.type for event in seen][3:] == ["started", "stepped", "finished"]


@pytest.mark.parametrize("ahead_s", [-3600, 0, 3600])
def test_a_clock_an_hour_off_elsewhere_changes_nothing(
    ahead_s: float,
    qtbot: QtBot,
    monitor: RunMonitor,
    run: Run,
    told: tuple[RunProgress, list[TrainingState]],
    start_child: Callable[..., Child],
) -> None:
    def there(event: Event) -> Event:
        return event.model_copy(update={"at": time.time() + ahead_s})

    for event in (started(run), stepped(1), finished(run, "cancelled")):
        run.append(there(event))
    later = [there(started(run)), there(stepped(4)), there(finished(run))]
    child = start_child(run, ["GATE", *later])
    view, states = told
    times: dict[str, str] = {}
    view.state_changed.connect(lambda one: times.update({one.text: view.times.text()}))
    monitor.logged.connect(view.show_event)
    view.clear(run, Phase.TRAINING)
    seen = collect(monitor)
    monitor.follow(run, child)
    qtbot.waitUntil(lambda: len(seen) == 3, timeout=WAIT_MS)
    view.show_wait(2, starved=False)
    assert states[-1].text == "Training starts"
    before = time.time()
    times.clear()
    with qtbot.waitSignal(monitor.ended, timeout=WAIT_MS):
        child.open_gate()
    ends = [time.strftime("ends %H:%M", time.localtime(t + 6)) for t in hours(before)]
    assert times["Training \u00b7 6 s left"] in ends
    assert states[-1].phase is Phase.DONE
    assert states[-1].text in [
        time.strftime("Trained %H:%M", time.localtime(t)) for t in hours(before)
    ]


def hours(before: float) -> tuple[float, float]:
    """Times between which something happened, in Unix seconds."""
    return before, time.time()


def test_stopping_to_follow_leaves_the_process_alone(
    qtbot: QtBot,
    monitor: RunMonitor,
    run: Run,
    start_child: Callable[..., Child],
) -> None:
    child = start_child(run, [started(run), "GATE"])
    seen = collect(monitor)
    monitor.follow(run, child)
    qtbot.waitUntil(lambda: len(seen) == 1, timeout=WAIT_MS)
    worker = monitor._worker
    monitor.stop()
    qtbot.waitUntil(lambda: not worker.is_running, timeout=WAIT_MS)
    assert child.poll() is None


def test_cancelling_in_napari_ends_the_thread_even_without_events(
    qtbot: QtBot,
    monitor: RunMonitor,
    run: Run,
    start_child: Callable[..., Child],
) -> None:
    child = start_child(run, [started(run), "GATE"])
    seen = collect(monitor)
    monitor.follow(run, child)
    qtbot.waitUntil(lambda: len(seen) == 1, timeout=WAIT_MS)
    with qtbot.waitSignal(monitor.ended, timeout=WAIT_MS):
        monitor._worker.quit()
    assert child.poll() is None


def test_a_run_that_ended_long_ago_is_replayed(
    qtbot: QtBot, monitor: RunMonitor, run: Run
) -> None:
    for event in (started(run), stepped(10), finished(run)):
        run.append(event)
    run.claim(2**22 - 1)
    seen = collect(monitor)
    with qtbot.waitSignal(monitor.ended, timeout=WAIT_MS):
        monitor.follow(run)
    assert len(seen) == 3


def test_watching_ends_when_asked_although_nothing_happens(run: Run) -> None:
    begun = time.monotonic()
    events = follow_process(
        run, poll_s=0.05, stop=lambda: time.monotonic() - begun > 0.3
    )
    assert list(events) == []


def test_progress_tells_step_and_time_left(qtbot: QtBot, run: Run) -> None:
    view = RunProgress()
    qtbot.addWidget(view)
    view.clear(run)
    view.show_event(started(run))
    view.show_event(Staged(stage="Preparing labelled cases", done=2, total=5))
    assert view.text.text() == "Preparing labelled cases: 2 of 5"
    view.show_event(Planned(device="cpu", steps=10, seconds_per_step=30, parameters=7))
    assert "about 5 min" in view.text.text()
    view.show_event(stepped(4))
    assert view.text.text() == "Step 4 of 10, 4 s of 10 s"
    assert view.headline.text() == "6 s left"
    assert (view.bar.value(), view.bar.maximum()) == (4, 10)
    view.show_event(finished(run))
    assert view.text.text() == "Trained 10 steps in 10 s"
    view.show_event(predicted("case_1"))
    assert view.text.text() == "Trained 10 steps in 10 s, predicted 1 case"


def test_a_log_of_many_steps_is_read_without_drawing_each(
    qtbot: QtBot, run: Run
) -> None:
    view, states = RunProgress(), []
    qtbot.addWidget(view)
    view.clear(run)
    view.state_changed.connect(states.append)
    view.show_event(started(run))
    for step in range(1, 1001):
        view.show_event(stepped(step))
    assert len(view.losses.values["supervised"][0]) == 1000
    qtbot.waitUntil(lambda: view.text.text().startswith("Step 1,000 of"))
    assert len(states) < 100
    view.show_event(stepped(1001))
    view.show_event(finished(run))
    assert view.text.text().startswith("Trained")
    qtbot.wait(300)  # no step comes late
    assert view.text.text().startswith("Trained")


def test_time_runs_until_the_first_step_and_a_busy_processor_is_told(
    qtbot: QtBot, run: Run
) -> None:
    view, busy = RunProgress(), "waiting for the processor, which other programs use"
    qtbot.addWidget(view)
    view.show_wait(3, starved=True)
    assert view.text.text() == ""
    view.clear(run)
    view.show_wait(3, starved=False)
    assert view.text.text() == "Starting, 3 s"
    view.show_event(Staged(stage="Planning", done=0, total=1))
    view.show_wait(75, starved=True)
    assert view.text.text() == f"Planning, 75 s, {busy}"
    view.show_event(stepped(4))
    view.show_wait(80, starved=False)
    assert view.text.text() == "Step 4 of 10, 4 s of 10 s"
    view.show_wait(81, starved=True)
    assert view.text.text() == f"Step 4 of 10, 4 s of 10 s, {busy}"
    view.show_event(finished(run))
    view.show_wait(90, starved=False)
    assert view.text.text() == "Trained 10 steps in 10 s"


def test_a_followed_process_is_looked_at_until_it_ends(
    monitor: RunMonitor, run: Run, qtbot: QtBot, start_child
) -> None:
    child = start_child(run, [started(run), "GATE"])
    with qtbot.waitSignal(monitor.waited, timeout=20_000) as blocker:
        monitor.follow(run, child)
    seconds, starved = blocker.args
    assert 0 <= seconds < 60
    assert isinstance(starved, bool)
    monitor.stop()
    assert not monitor._clock.isActive()


def test_curves_hold_the_values_of_the_events(qtbot: QtBot, run: Run) -> None:
    view = RunProgress()
    qtbot.addWidget(view)
    view.clear(run)
    for step in (1, 2, 4):
        view.show_event(stepped(step))
    assert view.losses.values["supervised"] == ([1, 2, 4], [1, 0.5, 0.25])
    view.losses.draw()
    x, y = view.losses._items["supervised"].getOriginalDataset()
    assert list(x) == [1, 2, 4]
    assert list(y) == [1, 0.5, 0.25]
    view.clear(run)
    assert view.losses.values == {}


def test_warnings_and_errors_are_shown_the_last_three(qtbot: QtBot, run: Run) -> None:
    view = RunProgress()
    qtbot.addWidget(view)
    for number in range(4):
        view.show_event(Warned(message=f"warning {number}"))
    assert view.messages.text() == "Warning 1\nWarning 2\nWarning 3"
    view.show_event(finished(run, "failed", "out of memory: choose a smaller patch"))
    assert view.text.text() == "Training failed"
    assert view.messages.text().endswith("Out of memory: choose a smaller patch")


def test_a_job_that_only_predicts_ends_without_a_failure(
    qtbot: QtBot,
    monitor: RunMonitor,
    run: Run,
    start_child: Callable[..., Child],
) -> None:
    for event in (started(run), finished(run, "cancelled")):
        run.append(event)
    child = start_child(run, [predicted("case_1")])
    seen = collect(monitor)
    with qtbot.waitSignal(monitor.ended, timeout=WAIT_MS):
        monitor.follow(run, child, trains=False)
    assert [event.type for event in seen] == ["started", "finished", "predicted"]


def test_a_refusal_to_predict_is_shown_as_it_was_printed(run: Run) -> None:
    run.folder.log.write_text("noise\nexpected a model, found none\n")
    handle = FakeHandle(code=1)
    (event,) = follow_process(run, handle, poll_s=0.05, trains=False)
    assert event.type == "warned"
    assert event.message == "expected a model, found none"


def test_new_labels_are_shown_and_marked_in_the_curve(qtbot: QtBot) -> None:
    shown = RunProgress()
    qtbot.addWidget(shown)
    values = {"learning_rate": 0.1, "seconds": 1, "seconds_left": 9}
    shown.show_event(Stepped(step=10, steps=90, losses={"supervised": 0.4}, **values))
    cases = tuple(f"case_{number}" for number in range(5))
    shown.show_event(Learned(step=12, cases=cases, labelled=7, unlabelled=2))
    text = shown.messages.text()
    assert text == (
        "From step 12 on it learns from the new labels of case_0, case_1, case_2 and 2 "
        "more (7 labelled, 2 unlabelled)"
    )
    assert [line.value() for line in shown.losses.marks] == [12]
    shown.show_event(
        Learned(step=20, cases=(), dropped=("a",), labelled=6, unlabelled=3)
    )
    assert "From step 20 on it no longer learns from a (6" in shown.messages.text()
    shown.show_event(Decided(step=30, message="scans without a label are not used"))
    assert shown.messages.text().endswith("\nScans without a label are not used")
    assert [line.value() for line in shown.losses.marks] == [12, 20]
    shown.clear()
    assert shown.losses.marks == []


def test_a_prediction_on_the_way_leaves_the_progress_alone(qtbot: QtBot) -> None:
    shown = RunProgress()
    qtbot.addWidget(shown)
    values = {"learning_rate": 0.1, "seconds": 1, "seconds_left": 9}
    shown.show_event(Stepped(step=10, steps=90, losses={"supervised": 0.4}, **values))
    shown.show_event(
        Predicted(case="a", uncertainty=0.25, done=1, total=1, training_step=10)
    )
    assert shown.bar.maximum() == 90
    assert shown.text.text().startswith("Step 10 of 90")
    assert shown.messages.text() == "a was predicted anew at step 10 (uncertainty 0.25)"


def test_other_work_is_done_beside_it_on_one_core(
    session: Session, run: Run, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = QThreadPool.globalInstance()
    cores = pool.maxThreadCount()
    pool.setMaxThreadCount(1)
    try:
        for _ in range(2):
            monitor, done = RunMonitor(), []
            monitor.follow(run, FakeHandle())
            in_background(session, "Reading", lambda: 5, done.append)
            qtbot.waitUntil(lambda done=done: done == [5], timeout=WAIT_MS)
            monitor.stop()
            qtbot.waitUntil(lambda: pool.activeThreadCount() == 0, timeout=WAIT_MS)
    finally:
        pool.setMaxThreadCount(cores)


@pytest.fixture
def told(qtbot: QtBot, run: Run) -> tuple[RunProgress, list[TrainingState]]:
    """A display, and what it told the header so far."""
    view, states = RunProgress(), []
    qtbot.addWidget(view)
    view.clear(run)
    view.state_changed.connect(states.append)
    return view, states


def test_from_the_last_step_to_the_last_prediction_nothing_is_silent(
    told: tuple[RunProgress, list[TrainingState]], run: Run
) -> None:
    view, states = told
    now = time.time()
    view.show_event(started(run))
    view.show_event(Staged(stage="Preparing unlabelled cases", done=3, total=40))
    assert (states[-1].phase, states[-1].text) == (Phase.TRAINING, "Preparing 3 of 40")
    view.show_event(stepped(10))
    view.show_event(finished(run))
    assert states[-1].phase is Phase.DONE
    view.show_event(Staged(stage="Predicting", done=0, total=40, at=now - 125))
    assert (states[-1].phase, states[-1].text) == (
        Phase.PROPOSING,
        "Proposing \u00b7 1 of 40",
    )
    view.show_wait(1275, starved=False)
    assert view.text.text() == "Predicting case 1 of 40, 2 min"
    view.show_wait(76, starved=True)
    assert view.minimumSizeHint().width() <= 276
    assert states[-1].text == "Waiting for the processor"
    assert states[-1].phase is Phase.PROPOSING
    view.show_wait(77, starved=False)
    assert states[-1].text == "Proposing \u00b7 1 of 40"
    one = Predicted(case="a", uncertainty=0.1, done=2, total=40, at=now - 105)
    view.show_event(one)
    assert view.text.text() == "Predicting case 3 of 40"
    assert view.times.text() == "6 min left"
    assert states[-1] == TrainingState(
        Phase.PROPOSING, "Proposing \u00b7 3 of 40", 2 / 40
    )
    view.show_event(one.model_copy(update={"done": 40}))
    assert (states[-1].phase, states[-1].text) == (Phase.DONE, "40 scans proposed")


@pytest.mark.parametrize(
    ("code", "phase", "words"),
    [
        (0, Phase.DONE, "2 of 40 scans proposed"),
        (130, Phase.DONE, "2 of 40 scans proposed"),
        (-9, Phase.TROUBLE, "Proposing failed"),
    ],
)
def test_a_process_that_ends_amid_predictions_leaves_no_progress_behind(
    told: tuple[RunProgress, list[TrainingState]],
    code: int,
    phase: Phase,
    words: str,
) -> None:
    view, states = told
    view.show_event(Staged(stage="Predicting", done=0, total=40))
    view.show_event(Predicted(case="a", uncertainty=0.1, done=2, total=40))
    view.show_end(code)
    assert (states[-1].phase, states[-1].text) == (phase, words)
    assert view.bar.isHidden()


def test_a_process_that_was_just_started_is_told_over_what_an_old_log_says(
    told: tuple[RunProgress, list[TrainingState]], run: Run
) -> None:
    view, states = told
    view.clear(run, Phase.PROPOSING)
    old = finished(run, "cancelled").model_copy(update={"at": time.time() - 60})
    view.show_event(old)
    view.show_wait(4, starved=False)
    assert (states[-1].phase, states[-1].text) == (Phase.PROPOSING, "Proposing starts")
    assert view.text.text() == "Starting, 4 s"
    view.show_event(Staged(stage="Predicting", done=0, total=3))
    view.show_wait(9, starved=False)
    assert view.text.text() == "Predicting case 1 of 3, 0 s"
