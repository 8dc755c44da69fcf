"""Labels are checked from the panel as by semiseg audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtWidgets import QInputDialog

from fake_workers import FakeExecutor
from napari_semiseg import commands
from napari_semiseg.core.prediction import SliceScore
from napari_semiseg.project.cases.references import FileFacts
from napari_semiseg.project.review.label_audit import (
    AuditedLabel,
    LabelAudit,
    audit_folder,
)
from napari_semiseg.widgets.common.session import Session
from napari_semiseg.widgets.dock import TABS
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.questions import Questions
from napari_semiseg.widgets.train.panel import TrainingPanel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project

WAIT_MS = 20_000


@pytest.fixture
def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def training(
    qtbot: QtBot, session: Session, executor: FakeExecutor
) -> Iterator[TrainingPanel]:
    made = TrainingPanel(session, executor)
    qtbot.addWidget(made)
    yield made
    Connections.close_below(made)


@pytest.fixture
def labelled(project: Project, session: Session) -> list[str]:
    """Labels of two cases."""
    names = ["case_0", "case_1"]
    for name in names:
        shape = project.case(name).geometry.shape_zyx
        project.set_label(name, np.ones(shape, np.uint8))
    session.cases_changed.emit(set(names))
    return names


@pytest.fixture(autouse=True)
def minutes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the user answers to the question how long."""
    answer = {"minutes": (3.0, True)}
    monkeypatch.setattr(QInputDialog, "getDouble", lambda *_: answer["minutes"])
    return answer


def doubt(project: Project, name: str) -> None:
    """Write what an audit finds that doubts one slice of a label."""
    found = SliceScore(axis=0, index=4, score=0.3, reason="structures may be swapped")
    facts = FileFacts.of(project.case(name).folder.label)
    LabelAudit(cases={name: AuditedLabel(file=facts, slices=(found,))}).write(project)


def say(project: Project, line: str) -> None:
    """Write into its log what an audit prints."""
    log = audit_folder(project) / "log.txt"
    log.parent.mkdir()
    log.write_text(f"{line}\n")


def test_a_process_checks_them_and_nothing_else_trains_meanwhile(
    qtbot: QtBot,
    training: TrainingPanel,
    executor: FakeExecutor,
    project: Project,
    labelled: list[str],
    said: list[str],
) -> None:
    training.check_labels()
    method, device = training.form.value().method, training.form.value().device
    words = ["--minutes", "3", "--method", method, "--device", device]
    assert executor.submitted == [["audit", str(project.folder), *words]]
    assert not training.start_button.isEnabled()
    assert training.reason.text().startswith("The labels are being checked")
    say(project, "2 of 4: without the labels of case_1")
    shown = "Checking the labels … 2 of 4: without the labels of case_1"
    qtbot.waitUntil(lambda: shown in said, timeout=WAIT_MS)
    doubt(project, "case_1")
    with qtbot.waitSignal(training.label_check.found, timeout=WAIT_MS):
        executor.handle.code = 0
    qtbot.waitUntil(training.start_button.isEnabled, timeout=WAIT_MS)
    assert "the queue names the slices" in said[-1]


def test_the_same_entry_stops_it(
    qtbot: QtBot,
    training: TrainingPanel,
    executor: FakeExecutor,
    labelled: list[str],
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training.check_labels()
    monkeypatch.setattr(Questions, "confirm", lambda *_: False)
    training.check_labels()
    assert not executor.handle.terminated
    monkeypatch.setattr(Questions, "confirm", lambda *_: True)
    training.check_labels()
    assert executor.handle.terminated
    executor.handle.code = 130
    qtbot.waitUntil(lambda: not training.label_check.running, timeout=WAIT_MS)
    assert said[-1] == "Stopped; checking again goes on from there."
    assert len(executor.submitted) == 1


def test_a_refusal_and_labels_without_doubt_are_told(
    qtbot: QtBot,
    training: TrainingPanel,
    executor: FakeExecutor,
    project: Project,
    labelled: list[str],
    said: list[str],
) -> None:
    training.check_labels()
    say(project, "semiseg: expected labels of at least 2 cases")
    executor.handle.code = 1
    qtbot.waitUntil(lambda: not training.label_check.running, timeout=WAIT_MS)
    assert said[-1] == "expected labels of at least 2 cases"
    executor.handle.code = 0
    training.check_labels()
    qtbot.waitUntil(lambda: not training.label_check.running, timeout=WAIT_MS)
    assert said[-1] == "Checked the labels: none is doubted."


def test_nothing_begins_without_labels_or_after_a_cancel(
    training: TrainingPanel,
    executor: FakeExecutor,
    project: Project,
    session: Session,
    said: list[str],
    minutes: dict[str, Any],
) -> None:
    training.check_labels()
    assert said == ["Label at least one case first."]
    shape = project.case("case_0").geometry.shape_zyx
    project.set_label("case_0", np.ones(shape, np.uint8))
    session.cases_changed.emit({"case_0"})
    minutes["minutes"] = (3.0, False)
    training.check_labels()
    executor.refusal = "expected a folder"
    minutes["minutes"] = (3.0, True)
    training.check_labels()
    assert said[-1] == "expected a folder"
    assert executor.submitted == []
    assert not training.label_check.running


def test_its_slices_are_shown_in_the_review(
    make_napari_viewer: Callable[..., Any],
    qtbot: QtBot,
    project: Project,
    executor: FakeExecutor,
) -> None:
    shape = project.case("case_1").geometry.shape_zyx
    project.set_label("case_1", np.ones(shape, np.uint8))
    dock = commands.open_project_in_viewer(project.folder, make_napari_viewer())
    dock.training._own_executor = executor
    menu = {action.text(): action for action in dock.header.more.menu().actions()}
    menu["Check the labels…"].trigger()
    doubt(project, "case_1")
    executor.handle.code = 0
    with qtbot.waitSignal(dock.training.label_check.found, timeout=WAIT_MS):
        pass
    assert dock.tabs.currentIndex() == TABS.index("Review")
    assert dock.review.queue_box.strategy == "audit"
    assert dock.review.queue.cases() == ["case_1"]
    dock.shut_down()
