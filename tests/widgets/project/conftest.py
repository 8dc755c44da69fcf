from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtWidgets import QWidget

from napari_semiseg.widgets.common.session import Session

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project


@pytest.fixture
def parent(qtbot: QtBot) -> QWidget:
    """What dialogs belong to."""
    made = QWidget()
    qtbot.addWidget(made)
    return made


@pytest.fixture
def ball_session(ball_project: Project, qtbot: QtBot) -> Session:
    """A session with the balls open."""
    made = Session()
    made.open_project(ball_project.folder)
    return made
