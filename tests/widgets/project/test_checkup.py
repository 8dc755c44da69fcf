from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtWidgets import QAbstractButton, QWidget

from napari_semiseg.widgets.common.session import Session
from napari_semiseg.widgets.project.checkup import CheckDialog, check_open_project

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project


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


def shown(window: QWidget) -> CheckDialog:
    return window.findChildren(CheckDialog)[-1]


def test_a_sound_project_is_reported_as_well(
    session: Session, window: QWidget, qtbot: QtBot
) -> None:
    status: list[str] = []
    session.status_changed.connect(status.append)
    check_open_project(session, window)
    qtbot.waitUntil(lambda: "all is well" in status[-1], timeout=20_000)
    assert status[-1] == "Checked 5 cases and 0 trainings: all is well."
    assert window.findChildren(CheckDialog) == []


def test_findings_are_shown_in_words_and_mended_on_a_click(
    session: Session, window: QWidget, ball_project: Project, qtbot: QtBot
) -> None:
    label = ball_project.layout.case("case_1").label
    label.write_bytes(label.read_bytes()[:90])
    changed: list[Any] = []
    session.cases_changed.connect(lambda *_: changed.append(1))
    check_open_project(session, window)
    qtbot.waitUntil(lambda: bool(window.findChildren(CheckDialog)), timeout=20_000)
    dialog = shown(window)
    assert "<b>case_1</b>: A mask cannot be used." in dialog.text.text()
    assert "set-aside" in dialog.text.text()
    assert label.exists()
    buttons: list[QAbstractButton] = dialog.buttons.buttons()
    mend = next(button for button in buttons if button.text() == "Mend")
    mend.click()
    qtbot.waitUntil(lambda: bool(changed), timeout=20_000)
    qtbot.waitUntil(lambda: "Mended" in shown(window).text.text(), timeout=20_000)
    assert not label.exists()
    assert [button.text() for button in shown(window).buttons.buttons()] != ["Mend"]
    assert list((ball_project.folder / "set-aside").rglob("label.nii.gz"))
