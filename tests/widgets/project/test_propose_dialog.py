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


def start(
    ball_session: Session, parent: QWidget, body: str, values: str = ""
) -> list[str]:
    """Fill the dialog in, press its button, and collect what is said."""
    said: list[str] = []
    ball_session.status_changed.connect(said.append)
    dialog = ProposeDialog(3, parent)
    dialog.command.setText(command(body))
    dialog.structures.setText(values)
    assert ball_session.project is not None
    dialog.start(ball_session, ball_session.project, parent)
    return said


def states(ball_session: Session) -> list[CaseState]:
    return [case.state for case in ball_session.cases()]


def test_masks_of_a_program_are_proposed_and_shown(
    ball_session: Session, parent: QWidget, qtbot: QtBot
) -> None:
    said = start(ball_session, parent, COPY)
    qtbot.waitUntil(lambda: "3 cases proposed" in said[-1], timeout=120_000)
    labelled, proposed = CaseState.LABELLED, CaseState.PROPOSED
    qtbot.waitUntil(lambda: states(ball_session) == [labelled] * 2 + [proposed] * 3)
    assert ball_session.next_step().text.startswith("train")


def test_a_folder_of_masks_is_taken_in_place_of_a_program(
    ball_session: Session, parent: QWidget, qtbot: QtBot, spheres
) -> None:
    said: list[str] = []
    ball_session.status_changed.connect(said.append)
    dialog = ProposeDialog(3, parent)
    dialog.masks.setText(str(spheres.masks))
    assert not dialog.command.isEnabled()
    assert ball_session.project is not None
    dialog.start(ball_session, ball_session.project, parent)
    qtbot.waitUntil(lambda: "3 cases proposed" in said[-1], timeout=120_000)
    (run,) = ball_session.project.runs()
    assert run.predicted() == ("case_2", "case_3", "case_4")


def test_the_labelled_scans_are_registered_in_place_of_a_program(
    ball_session: Session, parent: QWidget, qtbot: QtBot
) -> None:
    said: list[str] = []
    ball_session.status_changed.connect(said.append)
    dialog = ProposeDialog(3, parent)
    dialog.atlas.setChecked(True)
    fields = (dialog.command, dialog.masks, dialog.structures)
    assert not any(field.isEnabled() for field in fields)
    assert ball_session.project is not None
    dialog.start(ball_session, ball_session.project, parent)
    qtbot.waitUntil(lambda: "3 cases proposed" in said[-1], timeout=120_000)
    (run,) = ball_session.project.runs()
    assert run.method == "atlas"


def test_a_running_program_can_be_stopped_from_the_menu(
    ball_session: Session,
    parent: QWidget,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = start(ball_session, parent, WAIT)
    project = ball_session.project
    assert project is not None
    qtbot.waitUntil(lambda: [r.status for r in project.runs()] == ["running"])
    monkeypatch.setattr(Questions, "confirm", lambda *_: True)
    ask_propose(ball_session, parent)
    qtbot.waitUntil(lambda: "0 cases proposed" in said[-1], timeout=60_000)
    assert [run.status for run in project.runs()] == ["cancelled"]


def test_closing_the_project_ends_the_program(
    ball_session: Session, parent: QWidget, qtbot: QtBot
) -> None:
    start(ball_session, parent, WAIT)
    project = ball_session.project
    assert project is not None
    qtbot.waitUntil(lambda: [r.status for r in project.runs()] == ["running"])
    ball_session.close_project()
    (run,) = project.runs()
    qtbot.waitUntil(lambda: run.status == "cancelled", timeout=60_000)


def test_values_that_read_otherwise_are_told(
    ball_session: Session, parent: QWidget, ball_project: Project
) -> None:
    assert read_values("51=1, left atrium=2,") == {"51": 1, "left atrium": 2}
    said = start(ball_session, parent, COPY, "fifty")
    assert said[-1].startswith("expected values as 51=1")
    assert ball_project.runs() == []
