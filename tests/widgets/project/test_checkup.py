from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QAbstractButton, QWidget

from napari_semiseg.widgets.common.session import Session
from napari_semiseg.widgets.project.checkup import CheckDialog, check_open_project

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project


def shown(parent: QWidget) -> CheckDialog:
    return parent.findChildren(CheckDialog)[-1]


def test_a_sound_project_is_reported_as_well(
    ball_session: Session, parent: QWidget, qtbot: QtBot
) -> None:
    status: list[str] = []
    ball_session.status_changed.connect(status.append)
    check_open_project(ball_session, parent)
    qtbot.waitUntil(lambda: "all is well" in status[-1], timeout=20_000)
    assert status[-1] == "Checked 5 cases and 0 trainings: all is well."
    assert parent.findChildren(CheckDialog) == []


def test_findings_are_shown_in_words_and_mended_on_a_click(
    ball_session: Session, parent: QWidget, ball_project: Project, qtbot: QtBot
) -> None:
    label = ball_project.layout.case("case_1").label
    label.write_bytes(label.read_bytes()[:90])
    changed: list[Any] = []
    ball_session.cases_changed.connect(lambda *_: changed.append(1))
    check_open_project(ball_session, parent)
    qtbot.waitUntil(lambda: bool(parent.findChildren(CheckDialog)), timeout=20_000)
    dialog = shown(parent)
    assert "<b>case_1</b>: A mask cannot be used." in dialog.text.text()
    assert "set-aside" in dialog.text.text()
    assert label.exists()
    buttons: list[QAbstractButton] = dialog.buttons.buttons()
    mend = next(button for button in buttons if button.text() == "Mend")
    mend.click()
    qtbot.waitUntil(lambda: bool(changed), timeout=20_000)
    qtbot.waitUntil(lambda: "Mended" in shown(parent).text.text(), timeout=20_000)
    assert not label.exists()
    assert [button.text() for button in shown(parent).buttons.buttons()] != ["Mend"]
    assert list((ball_project.folder / "set-aside").rglob("label.nii.gz"))
