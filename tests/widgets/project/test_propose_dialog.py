from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import pytest
from qtpy.QtWidgets import QWidget

from napari_semiseg.core.case import CaseState
from napari_semiseg.widgets.common.session import Session
from napari_semiseg.widgets.elements.questions import Questions
from napari_semiseg.widgets.project.propose_dialog import (
    ProposeDialog,
    ask_propose,
    read_values,
)

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project

COPY = "import shutil; shutil.copy(image.replace('images', 'masks'), mask)"
WAIT = "import time; time.sleep(600)"


def command(body: str) -> str:
    line = f"import sys; image, mask = sys.argv[1:]; {body}"
    return shlex.join([sys.executable, "-c", line, "{image}", "{mask}"])


@pytest.fixture
def window(qtbot: QtBot) -> QWidget:
    made = QWidget()
    qtbot.addWidget(made)
    return made


@pytest.fixture
def session(ball_project: Project, qtbot: QtBot) -> Session:
    made = Session()
    made.open_project(ball_project.folder)
    return made


def start(session: Session, window: QWidget, body: str, values: str = "") -> list[str]:
    """Fill the dialog in, press its button, and collect what is said."""
    said: list[str] = []
    session.status_changed.connect(said.append)
    dialog = ProposeDialog(3, window)
    dialog.command.setText(command(body))
    dialog.structures.setText(values)
    assert session.project is not None
    dialog.start(session, session.project, window)
    return said


def states(session: Session) -> list[CaseState]:
    return [case.state for case in session.cases()]


def test_masks_of_a_program_are_proposed_and_shown(
    session: Session, window: QWidget, qtbot: QtBot
) -> None:
    said = start(session, window, COPY)
    qtbot.waitUntil(lambda: "3 cases proposed" in said[-1], timeout=120_000)
    labelled, proposed = CaseState.LABELLED, CaseState.PROPOSED
    qtbot.waitUntil(lambda: states(session) == [labelled] * 2 + [proposed] * 3)
    assert session.next_step().text.startswith("train")


def test_a_folder_of_masks_is_taken_in_place_of_a_program(
    session: Session, window: QWidget, qtbot: QtBot, spheres
) -> None:
    said: list[str] = []
    session.status_changed.connect(said.append)
    dialog = ProposeDialog(3, window)
    dialog.masks.setText(str(spheres.masks))
    assert not dialog.command.isEnabled()
    assert session.project is not None
    dialog.start(session, session.project, window)
    qtbot.waitUntil(lambda: "3 cases proposed" in said[-1], timeout=120_000)
    (run,) = session.project.runs()
    assert run.predicted() == ("case_2", "case_3", "case_4")


def test_a_running_program_can_be_stopped_from_the_menu(
    session: Session,
    window: QWidget,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = start(session, window, WAIT)
    project = session.project
    assert project is not None
    qtbot.waitUntil(lambda: [r.status for r in project.runs()] == ["running"])
    monkeypatch.setattr(Questions, "confirm", lambda *_: True)
    ask_propose(session, window)
    qtbot.waitUntil(lambda: "0 cases proposed" in said[-1], timeout=60_000)
    assert [run.status for run in project.runs()] == ["cancelled"]


def test_closing_the_project_ends_the_program(
    session: Session, window: QWidget, qtbot: QtBot
) -> None:
    start(session, window, WAIT)
    project = session.project
    assert project is not None
    qtbot.waitUntil(lambda: [r.status for r in project.runs()] == ["running"])
    session.close_project()
    (run,) = project.runs()
    qtbot.waitUntil(lambda: run.status == "cancelled", timeout=60_000)


def test_values_that_read_otherwise_are_told(
    session: Session, window: QWidget, ball_project: Project
) -> None:
    assert read_values("51=1, left atrium=2,") == {"51": 1, "left atrium": 2}
    said = start(session, window, COPY, "fifty")
    assert said[-1].startswith("expected values as 51=1")
    assert ball_project.runs() == []
