from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtCore import QProcess

from fake_workers import FakeExecutor
from napari_semiseg.core.case import Split
from napari_semiseg.core.config import DEFAULT_METHOD, TrainingConfig
from napari_semiseg.core.events import Finished, Predicted, Started, Stepped
from napari_semiseg.engine.methods.registry import MethodSpec, method_specs
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import write_json
from napari_semiseg.project.runs.prediction_requests import requested_predictions
from napari_semiseg.project.runs.run import Run
from napari_semiseg.widgets.common.next_step import Phase, TrainingState
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.train import panel as training
from napari_semiseg.widgets.train.devices import DetectedDevice, DeviceQuery
from napari_semiseg.widgets.train.form import TrainingForm
from napari_semiseg.widgets.train.panel import TrainingPanel
from widgets.conftest import write_volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session


WAIT_MS = 20_000
GONE = 2**22 - 1


METHODS = [
    MethodSpec(
        "ug_mcl",
        "Uncertainty-guided mutual consistency",
        "Zhang et al. 2023",
        {
            "properties": {
                "ramp": {"type": "number", "default": 0.4, "exclusiveMinimum": 0},
                "passes": {"type": "integer", "default": 4, "minimum": 1},
            }
        },
    ),
    MethodSpec("supervised", "Labels only", "none", {}, learns_from_unlabelled=False),
]
DEVICES = [DetectedDevice(name="cpu", title="CPU, 2 cores", memory_gb=15.6)]


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def panel(
    qtbot: QtBot,
    session: Session,
    executor: FakeExecutor,
) -> Iterator[TrainingPanel]:
    made = TrainingPanel(session, executor, METHODS)
    made.form.set_devices(DEVICES)
    qtbot.addWidget(made)
    yield made
    Connections.close_below(made)


@pytest.fixture
def labelled(project: Project, session: Session) -> None:
    shape = project.case("case_0").geometry.shape_zyx
    project.set_label("case_0", np.ones(shape, np.uint8))
    session.cases_changed.emit({"case_0"})


def add_run(project: Project, reason: str | None = "completed") -> Run:
    run = Run.create(project, TrainingConfig(method="ug_mcl", minutes=1))
    run.append(Started(run=run.id, method="ug_mcl", pid=GONE))
    run.folder.last.parent.mkdir(exist_ok=True)
    run.folder.last.touch()
    if reason is not None:
        run.append(Finished(run=run.id, reason=reason, step=5, seconds=60))
    run.claim(GONE)
    return run


def enabled(panel: TrainingPanel) -> tuple[bool, bool, bool]:
    return (
        panel.start_button.isEnabled(),
        panel.stop_button.isEnabled(),
        panel.resume_button.isEnabled(),
    )


# -- the form


def test_the_form_gives_the_training_it_shows(
    qtbot: QtBot,
) -> None:
    form = TrainingForm(METHODS)
    qtbot.addWidget(form)
    form.set_devices(DEVICES)
    wanted = TrainingConfig(
        method="ug_mcl", minutes=3, device="cpu", seed=7, params={"passes": 2}
    )
    form.setValue(wanted)
    assert form.value() == wanted
    wanted = TrainingConfig(
        method="supervised",
        steps=50,
        architecture="resenc_unet",
        feature_maps=False,
        single_pieces=False,
        untrusted=0.3,
    )
    form.setValue(wanted)
    assert form.value() == wanted


def test_the_form_offers_titles_and_explains_by_citation(
    qtbot: QtBot,
) -> None:
    form = TrainingForm(METHODS)
    qtbot.addWidget(form)
    assert form.method.currentText() == "Uncertainty-guided mutual consistency"
    assert "Zhang" in form.method.toolTip()
    form.set_devices(DEVICES)
    texts = [form.device.itemText(row) for row in range(form.device.count())]
    assert texts == ["Automatic", "CPU, 2 cores, 16 GB"]


def test_the_choice_survives_a_new_list_of_methods(
    qtbot: QtBot,
) -> None:
    form = TrainingForm(METHODS)
    qtbot.addWidget(form)
    form.method.setCurrentIndex(1)
    form.set_methods([*reversed(METHODS)])
    assert form.value().method == "supervised"


# -- what can be done when


def test_start_says_that_a_label_is_missing(panel: TrainingPanel) -> None:
    assert enabled(panel) == (False, False, False)
    assert panel.reason.text() == "Label at least one case first."


def test_a_label_outside_the_training_split_does_not_count(
    panel: TrainingPanel, project: Project, session: Session, labelled: None
) -> None:
    assert enabled(panel) == (True, False, False)
    assert panel.reason.isHidden()
    project.set_split("case_0", Split.VALIDATION)
    session.cases_changed.emit({"case_0"})
    assert not panel.start_button.isEnabled()
    assert "used for training" in panel.reason.text()


@pytest.mark.usefixtures("labelled")
@pytest.mark.parametrize(
    ("reason", "text"),
    [("cancelled", "Resume"), ("completed", "10 min more"), (None, "Resume")],
)
def test_an_ended_run_can_go_on(
    panel: TrainingPanel,
    project: Project,
    session: Session,
    reason: str | None,
    text: str,
) -> None:
    add_run(project, reason)
    session.runs_changed.emit()
    assert enabled(panel) == (True, False, True)
    assert panel.resume_button.text() == text


@pytest.mark.usefixtures("labelled")
def test_without_torch_only_another_computer_trains(
    qtbot: QtBot, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "has_torch", lambda: False)
    panel = TrainingPanel(session, methods=METHODS)
    qtbot.addWidget(panel)
    assert "pip install 'napari-semiseg[engine]'" in panel.reason.text()
    assert enabled(panel) == (False, False, False)
    panel.form.place.kind.setCurrentIndex(1)
    assert panel.reason.isHidden()
    assert enabled(panel) == (True, False, False)
    Connections.close_below(panel)


# -- a run


@pytest.mark.usefixtures("labelled")
def test_start_to_end(
    qtbot: QtBot,
    panel: TrainingPanel,
    executor: FakeExecutor,
    session: Session,
) -> None:
    refreshed: list[set[str]] = []
    keep = refreshed.append
    session.cases_changed.connect(keep)
    panel.form.minutes.setValue(2)
    panel.start_button.click()
    assert enabled(panel) == (False, True, False)
    run = panel.monitor.run
    assert run is not None
    assert run.config.minutes == 2
    values = {"learning_rate": 0.1, "seconds": 1, "seconds_left": 9}
    run.append(Stepped(step=3, steps=10, losses={"supervised": 0.4}, **values))
    qtbot.waitUntil(lambda: panel.progress.bar.value() == 3, timeout=WAIT_MS)
    panel.stop_button.click()
    assert run.stop_requested
    assert panel.stop_button.text() == "Stopping …"
    assert not panel.stop_button.isEnabled()
    run.append(Finished(run=run.id, reason="cancelled", step=4, seconds=2))
    run.append(Predicted(case="case_2", uncertainty=0.2, done=1, total=1))
    qtbot.waitUntil(lambda: {"case_2"} in refreshed, timeout=WAIT_MS)
    with qtbot.waitSignal(panel.monitor.ended, timeout=WAIT_MS):
        executor.handle.code = 0
    assert panel.start_button.isEnabled()
    assert not panel.stop_button.isEnabled()


@pytest.mark.usefixtures("labelled")
def test_a_run_that_does_not_stop_can_be_ended(
    qtbot: QtBot,
    panel: TrainingPanel,
    executor: FakeExecutor,
) -> None:
    panel._stopping.setInterval(50)
    panel.start()
    panel.stop()
    qtbot.waitUntil(lambda: panel.stop_button.text() == "End it now", timeout=WAIT_MS)
    panel.stop_button.click()
    assert executor.handle.terminated


@pytest.mark.usefixtures("labelled")
def test_what_waits_on_another_computer_is_taken_back(
    qtbot: QtBot,
    panel: TrainingPanel,
    project: Project,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []

    def take_back(_project: Project, _run: Run, *, lost: bool) -> bool:
        asked.append(lost)
        return False

    monkeypatch.setattr(training, "take_back", take_back)
    panel._stopping.setInterval(50)
    run = add_run(project)
    run.note_submission("resume", "slurm", "12", "0" * 32)
    session.runs_changed.emit()
    assert enabled(panel) == (False, True, False)
    panel.stop_button.click()
    assert run.stop_requested
    qtbot.waitUntil(lambda: panel.stop_button.text() == "End it now", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: asked == [False], timeout=WAIT_MS)
    panel.stop_button.click()
    qtbot.waitUntil(lambda: asked == [False, True], timeout=WAIT_MS)


@pytest.mark.usefixtures("labelled")
def test_another_computer_ends_a_run_without_holding_the_window_up(
    qtbot: QtBot, panel: TrainingPanel, executor: FakeExecutor
) -> None:
    panel._stopping.setInterval(50)
    panel.start()
    executor.handle.place = "tcp://scheduler:1"
    panel.stop()
    qtbot.waitUntil(lambda: panel.stop_button.text() == "End it now", timeout=WAIT_MS)
    panel.stop_button.click()
    qtbot.waitUntil(lambda: executor.handle.terminated, timeout=WAIT_MS)


@pytest.mark.usefixtures("labelled")
def test_training_longer_passes_the_minutes(
    panel: TrainingPanel,
    executor: FakeExecutor,
    project: Project,
    session: Session,
) -> None:
    run = add_run(project)
    session.runs_changed.emit()
    panel.resume_button.click()
    assert executor.submitted == [
        ["resume", str(project.folder), run.id, "--minutes", "10"]
    ]


@pytest.mark.usefixtures("labelled")
def test_another_computer_is_asked_without_holding_the_window_up(
    qtbot: QtBot,
    panel: TrainingPanel,
    executor: FakeExecutor,
    project: Project,
    notifications: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer, asked = threading.Event(), []

    def executor_at(place: str, opened: Project) -> FakeExecutor:
        asked.append((place, opened.folder == project.folder))
        answer.wait(20)
        if place == "ssh:nobody":
            raise ProjectError("expected an answer of 'ssh', found none")
        return executor

    monkeypatch.setattr(training, "executor_at", executor_at)
    monkeypatch.setattr(panel, "_own_executor", None)
    place, device = panel.form.place, panel.form.device
    device.choose("cpu")
    assert place.host.isHidden()
    place.kind.setCurrentIndex(place.kind.findData("ssh:"))
    assert not place.host.isHidden()
    assert (device.currentData(), device.isEnabled()) == ("auto", False)
    place.host.setText("nobody")
    panel.start_button.click()
    qtbot.waitUntil(lambda: bool(asked), timeout=WAIT_MS)
    assert not panel.start_button.isEnabled()
    assert panel.reason.text() == "Waits for an answer of ssh:nobody."
    answer.set()
    qtbot.waitUntil(panel.start_button.isEnabled, timeout=WAIT_MS)
    assert notifications == ["expected an answer of 'ssh', found none"]
    assert project.runs() == []
    place.host.setText("cellar")
    panel.start_button.click()
    qtbot.waitUntil(lambda: panel.monitor.run is not None, timeout=WAIT_MS)
    assert asked == [("ssh:nobody", True), ("ssh:cellar", True)]
    (words,) = executor.submitted
    assert words[:2] == ["train", str(project.folder)]
    assert enabled(panel) == (False, True, False)
    place.kind.setCurrentIndex(0)
    assert (place.value(), device.isEnabled()) == ("", True)


@pytest.mark.usefixtures("labelled")
@pytest.mark.parametrize("reason", ["completed", "cancelled"])
def test_more_minutes_can_be_asked_for_while_it_trains(
    qtbot: QtBot, panel: TrainingPanel, executor: FakeExecutor, reason: str
) -> None:
    panel.start()
    panel.more_button.click()
    panel.more_button.click()
    assert panel.more_button.text() == "20 min more after it"
    run = panel.monitor.run
    assert run is not None
    run.folder.last.parent.mkdir(exist_ok=True)
    run.folder.last.touch()
    run.append(Finished(run=run.id, reason=reason, step=9, seconds=60))
    with qtbot.waitSignal(panel.monitor.ended, timeout=WAIT_MS):
        executor.handle.code = 0
    asked = [words[0] for words in executor.submitted]
    assert asked == ["train"] + ["resume"] * (reason == "completed")
    assert executor.submitted[-1][-1] == "20" or reason == "cancelled"
    assert panel.more_button.text() == "10 min more"


def test_the_sentence_says_what_is_used_from_when_and_what_only_checks(
    panel: TrainingPanel, project: Project, session: Session, tmp_path: Path
) -> None:
    shape = project.case("case_0").geometry.shape_zyx
    more = [
        write_volume(
            tmp_path / "more" / f"more_{n:02d}.nii.gz", np.full(shape, n, np.int16)
        )
        for n in range(8)
    ]
    project.add(*more)
    names = [case.id for case in project.cases()]
    for name in names[:9]:
        project.set_label(name, np.ones(shape, np.uint8))
    session.cases_changed.emit(None)
    panel.form.setValue(TrainingConfig(method="ug_mcl", minutes=20))
    words = panel.sentence.text()
    assert "<b>9 labelled</b> and <b>3 unlabelled</b> scans, the latter after" in words
    assert panel.aside.isHidden()
    panel.form.setValue(TrainingConfig(method="supervised", minutes=20))
    assert "unlabelled" not in panel.sentence.text()
    project.set_label(names[9], np.ones(shape, np.uint8))
    session.cases_changed.emit(None)
    assert not panel.aside.isHidden()
    assert "<b>7 labelled</b>" in panel.sentence.text()
    panel.aside.setChecked(False)
    assert "<b>10 labelled</b>" in panel.sentence.text()
    panel.aside.setChecked(True)
    offered = []
    keep = lambda text, button, undo: offered.append(undo)  # noqa: E731
    session.offered.connect(keep)
    panel.start()
    assert len(project.cases(split=Split.VALIDATION)) == 3
    assert panel.left_out.text() == "3 labels only check it"
    offered[0]()
    assert not project.cases(split=Split.VALIDATION)


@pytest.mark.usefixtures("labelled")
def test_what_keeps_a_run_from_starting_is_shown(
    panel: TrainingPanel,
    executor: FakeExecutor,
    project: Project,
    session: Session,
    notifications: list[str],
) -> None:
    executor.refusal = "expected a folder that can be written"
    status: list[str] = []
    keep = status.append
    session.status_changed.connect(keep)
    panel.start()
    assert notifications == ["expected a folder that can be written"]
    assert status[-1] == notifications[0]
    assert project.runs() == []
    assert panel.start_button.isEnabled()


def test_reopening_a_project_attaches_to_the_run_under_way(
    qtbot: QtBot, panel: TrainingPanel, project: Project, session: Session
) -> None:
    run = Run.create(project, TrainingConfig(minutes=1))
    run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
    values = {"learning_rate": 0.1, "seconds": 1, "seconds_left": 9}
    run.append(Stepped(step=6, steps=10, losses={"supervised": 0.4}, **values))
    session.open_project(project.folder)
    qtbot.waitUntil(lambda: panel.progress.bar.value() == 6, timeout=WAIT_MS)
    assert panel.stop_button.isEnabled()
    session.close_project()
    assert not panel.monitor.active


def test_the_run_in_use_can_be_chosen(
    panel: TrainingPanel, project: Project, session: Session
) -> None:
    first = add_run(project)
    add_run(project)
    session.runs_changed.emit()
    assert panel.runs.count() == 3
    assert panel.runs.currentText() == "Newest"
    row = panel.runs.findData(first.id)
    panel.runs.activated.emit(row)
    assert session.run_id == first.id
    assert panel.runs.currentData() == first.id


# -- asking the engine


def test_all_methods_are_offered_at_once(qtbot: QtBot, session: Session) -> None:
    panel = TrainingPanel(session)
    qtbot.addWidget(panel)
    names = [spec.name for spec in method_specs()]
    offered = [panel.form.method.itemData(row) for row in range(len(names))]
    assert offered == names
    assert panel.form.method.currentData() == DEFAULT_METHOD


def test_devices_are_asked_of_a_child_when_the_tab_is_seen(
    qtbot: QtBot, panel: TrainingPanel
) -> None:
    panel.form.set_devices(())
    panel.show()
    qtbot.waitUntil(lambda: panel.form.device.count() == 2, timeout=WAIT_MS)
    assert panel.form.device.itemText(1) == "CPU, 2 cores, 16 GB"


def test_an_engine_that_fails_says_why(qtbot: QtBot, tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('torch is broken')", encoding="utf-8")
    query = DeviceQuery(command=(sys.executable, str(script)))
    with qtbot.waitSignal(query.failed, timeout=WAIT_MS) as failed:
        query.start()
    assert failed.args == ["torch is broken"]


def test_closing_the_panel_ends_the_question(qtbot: QtBot, tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    query = DeviceQuery(command=command)
    query.start()
    assert query._process.waitForStarted()
    Connections.close_below(query)
    assert query._process.state() == QProcess.ProcessState.NotRunning


@pytest.mark.usefixtures("labelled")
def test_a_stopped_model_can_predict(
    qtbot: QtBot,
    panel: TrainingPanel,
    executor: FakeExecutor,
    project: Project,
    session: Session,
) -> None:
    assert not panel.predict_button.isEnabled()
    run = add_run(project)
    run.append(Finished(run=run.id, reason="cancelled", step=3, seconds=9.0))
    session.runs_changed.emit()
    panel.predict_button.click()
    assert executor.submitted == [["predict", str(project.folder), "--run", run.id]]
    assert not panel.predict_button.isEnabled()
    assert not panel.start_button.isEnabled()
    said: list[str] = []
    session.status_changed.connect(said.append)
    panel.predict(["case_1"])  # as the Cohort tab asks
    assert said == ["A training or prediction runs; it goes on when napari is closed."]
    assert len(executor.submitted) == 1
    run.append(Predicted(case="case_1", uncertainty=0.2, done=1, total=1))
    qtbot.waitUntil(
        lambda: "predicted 1 case" in panel.progress.text.text(), timeout=WAIT_MS
    )
    executor.handle.code = 0
    qtbot.waitUntil(panel.predict_button.isEnabled, timeout=WAIT_MS)
    assert panel.progress.text.text().startswith("Stopped at step 3")


def test_a_model_is_written_by_a_process_and_a_refusal_is_shown(
    qtbot: QtBot,
    panel: TrainingPanel,
    executor: FakeExecutor,
    project: Project,
    session: Session,
    tmp_path: Path,
) -> None:
    run = add_run(project)
    panel.export_model(run, str(tmp_path))
    words = ["export-model", str(project.folder), str(tmp_path), "--run", run.id]
    assert executor.submitted == [words]
    run.folder.log.write_text("semiseg: expected ONNX\n")
    said: list[str] = []
    session.status_changed.connect(said.append)
    executor.handle.code = 1
    qtbot.waitUntil(lambda: "expected ONNX" in "".join(said), timeout=WAIT_MS)
    executor.handle.code = 0
    panel.export_model(run, str(tmp_path))
    qtbot.waitUntil(lambda: f"Wrote the model of {run.id}" in said[-1], timeout=WAIT_MS)


@pytest.mark.usefixtures("labelled")
def test_a_training_gets_requests_for_what_the_user_looks_at(
    panel: TrainingPanel,
    project: Project,
    session: Session,
) -> None:
    session.case_id = "case_1"
    session.queue_changed.emit(["case_3", "case_1", "case_2"])
    panel.start()
    run = panel.monitor.run
    assert run is not None
    assert requested_predictions(run) == ("case_1", "case_3", "case_2")
    session.case_id = "case_2"
    session.case_opened.emit("case_2")
    assert requested_predictions(run) == ("case_2", "case_3", "case_1")
    Connections.close_below(panel)
    assert requested_predictions(run) == ()


@pytest.mark.usefixtures("labelled")
def test_a_run_that_has_ended_is_asked_nothing(
    panel: TrainingPanel, project: Project, session: Session
) -> None:
    run = add_run(project)
    session.open_project(project.folder)
    session.case_id = "case_1"
    session.case_opened.emit("case_1")
    assert not run.folder.prediction_requests.exists()


# -- what to begin with


PLAN = {
    "spacing_mm": (1, 1, 1),
    "patch_zyx": (16, 16, 16),
    "strides": ((2, 2, 2),),
    "width": 16,
    "labelled_batch": 2,
    "unlabelled_batch": 2,
    "sdm_limit_mm": 10,
    "channels": ("image",),
    "intensities": ({"kind": "zscore", "cut": (0, 1), "mean_std": (0, 1)},),
    "classes": (1,),
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "learning_rate": 0.1,
    "steps": 10,
    "validate_every": 5,
    "reasons": {},
}


def add_model(project: Project, **values: Any) -> Run:
    run = add_run(project)
    write_json(run.folder.plan, PLAN | values)
    return run


def sources(panel: TrainingPanel) -> list[str | None]:
    return [panel.form.source.itemData(row) for row in range(panel.form.source.count())]


def test_the_next_training_begins_with_the_last_model_that_fits(
    panel: TrainingPanel, project: Project, session: Session
) -> None:
    form = panel.form
    assert sources(panel) == [None]
    assert form.value().start_from is None
    first = add_model(project)
    add_model(project, classes=(1, 2))
    add_run(project)  # without a plan
    session.runs_changed.emit()
    assert sources(panel) == [first.id, None]
    assert form.value().start_from == first.id
    second = add_model(project)
    session.runs_changed.emit()
    assert sources(panel) == [second.id, first.id, None]
    assert form.value().start_from == second.id
    form.method.setCurrentIndex(form.method.findData("supervised"))
    assert sources(panel) == [None]
    form.method.setCurrentIndex(form.method.findData("ug_mcl"))
    assert form.value().start_from == second.id


def test_training_from_scratch_stays_chosen(
    panel: TrainingPanel, project: Project, session: Session
) -> None:
    add_model(project)
    session.runs_changed.emit()
    panel.form.source.setCurrentIndex(1)
    panel.form.source.activated.emit(1)
    add_model(project)
    session.runs_changed.emit()
    assert panel.form.value().start_from is None


# -- the sentence


@pytest.mark.parametrize(
    ("budget", "scans"),
    [
        ({"minutes": 20}, "the latter after 10 min if it is unsure of them;"),
        ({"steps": 4000}, "the latter after 2,000 steps;"),
        ({"steps": 450}, "the latter after 225 steps if it is unsure of them;"),
        ({"steps": 450, "params": {"begin": 1.0}}, "<b>1 labelled</b> scan;"),
    ],
)
def test_the_default_learns_from_labels_alone_at_first(
    session: Session, labelled: None, qtbot: QtBot, budget: dict[str, Any], scans: str
) -> None:
    panel = TrainingPanel(session, FakeExecutor(), method_specs())
    panel.form.set_devices(DEVICES)
    qtbot.addWidget(panel)
    panel.form.setValue(TrainingConfig(method="auto", **budget))
    assert scans in panel.sentence.text()
    Connections.close_below(panel)


def test_a_sentence_says_what_a_training_does(
    panel: TrainingPanel, project: Project, session: Session, labelled: None
) -> None:
    assert panel.sentence.text() == (
        "Learn the <b>left atrium</b> from <b>1 labelled</b> and <b>3 unlabelled</b> "
        "scans, the latter after 7 min; then propose masks for <b>3 scans</b>."
    )
    assert panel.start_button.text() == "Start training, 20 min"
    project.set_split("case_1", Split.TEST)
    half = np.full(project.case("case_2").geometry.shape_zyx, 255, np.uint8)
    half[:2] = 1
    project.set_label("case_2", half)
    run = add_model(project)
    session.cases_changed.emit(None)
    session.runs_changed.emit()
    assert panel.sentence.text() == (
        "Learn the <b>left atrium</b> from <b>1 labelled</b>, <b>1 partly labelled</b> "
        f"and <b>1 unlabelled</b> scans, the latter after 7 min, going on from "
        f"<b>{run.id}</b>; then propose "
        "masks for <b>2 scans</b>."
    )
    assert panel.left_out.text() == "1 test scan is never used"
    panel.form.method.setCurrentIndex(panel.form.method.findData("supervised"))
    panel.form.minutes.setValue(60)
    assert "unlabelled" not in panel.sentence.text()
    assert panel.start_button.text() == "Start training, 60 min"


def test_the_header_is_told_how_far_a_training_is(
    qtbot: QtBot, panel: TrainingPanel, executor: FakeExecutor, labelled: None
) -> None:
    told: list[TrainingState] = []
    panel.state_changed.connect(told.append)
    panel.start()
    run = panel.monitor.run
    run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
    values = {"learning_rate": 0.1, "seconds": 1, "seconds_left": 480}
    run.append(Stepped(step=5, steps=10, losses={"supervised": 0.4}, **values))
    run.append(Finished(run=run.id, reason="completed", step=10, seconds=2))
    run.append(Predicted(case="case_1", uncertainty=0.2, done=1, total=3))
    wanted = [
        TrainingState(Phase.TRAINING, "Training \u00b7 8 min left", 0.5),
        TrainingState(Phase.PROPOSING, "Proposing \u00b7 2 of 3", 1 / 3),
    ]
    qtbot.waitUntil(lambda: wanted[-1] in told, timeout=WAIT_MS)
    assert wanted[0] in told
    assert panel.progress.headline.text() == "Scan 2 of 3"
    assert panel.plan.isHidden()
    executor.handle.code = 0
    qtbot.waitUntil(lambda: not panel.plan.isHidden(), timeout=WAIT_MS)
