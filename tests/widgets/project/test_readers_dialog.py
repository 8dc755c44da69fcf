"""A second reader, from the menu to the slices in which the readers differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtWidgets import QDialog, QPushButton, QWidget

from napari_semiseg.project.review.readers import LABEL
from napari_semiseg.widgets.common.session import Session
from napari_semiseg.widgets.project.readers_dialog import (
    AgreementDialog,
    ReaderDialog,
    ask_reader,
)
from synthetic import ball, save_nifti

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

WAIT_MS = 60_000


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Masks of another reader, who misses a slice of the first case."""
    for number in range(2):
        mask = ball(number)
        if number == 0:
            mask[:, :, 12] = 0
        save_nifti(tmp_path / "anna" / f"case_{number}.nii.gz", mask)
    return tmp_path / "anna"


def answer(
    monkeypatch: pytest.MonkeyPatch, masks: str, reader: str, code: int = 1
) -> None:
    """Fill the dialog in and press its button, or *Cancel*."""

    def fill(dialog: ReaderDialog) -> int:
        dialog.masks.setText(masks)
        dialog.reader.setText(reader)
        return code

    monkeypatch.setattr(ReaderDialog, "exec", fill)


def shown(parent: QWidget) -> list[AgreementDialog]:
    return parent.findChildren(AgreementDialog)


def press(dialog: QDialog, text: str) -> None:
    buttons = {button.text(): button for button in dialog.findChildren(QPushButton)}
    buttons[text].click()


@pytest.fixture
def went() -> list[str]:
    """Where the button that leads to the slices has led."""
    return []


@pytest.fixture
def session(ball_session: Session) -> Session:
    return ball_session


@pytest.fixture
def dialog(
    ball_session: Session,
    parent: QWidget,
    second: Path,
    went: list[str],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> AgreementDialog:
    """The report, once the masks are taken in as those of Anna."""
    answer(monkeypatch, str(second), "Anna")
    ask_reader(ball_session, parent, lambda: went.append("queue"))
    qtbot.waitUntil(lambda: bool(shown(parent)), timeout=WAIT_MS)
    (found,) = shown(parent)
    return found


def test_masks_are_taken_in_and_compared(
    ball_session: Session, dialog: AgreementDialog, went: list[str]
) -> None:
    text = dialog.text.text()
    assert "mean of 2 cases" in text
    assert "the label and Anna" in text
    assert text.index("<td>case_0</td>") < text.index("<td>case_1</td>")
    assert "<td>1.000</td><td>0.00 mm</td><td>0.00 mm</td>" in text
    first = ball_session.cases()[0]
    assert list(first.folder.reader_masks()) == ["Anna"]
    assert first.has_label
    press(dialog, "Where they differ")
    assert went == ["queue"]


def test_a_consensus_is_proposed(
    ball_session: Session, dialog: AgreementDialog, said: list[str], qtbot: QtBot
) -> None:
    press(dialog, "Propose the consensus")
    qtbot.waitUntil(lambda: "2 consensus masks in" in said[-1], timeout=WAIT_MS)
    assert ball_session.project is not None
    (run,) = ball_session.project.runs()
    assert run.predicted() == ("case_0", "case_1")


def test_nothing_is_stored_after_a_cancel_or_a_refusal(
    ball_session: Session,
    parent: QWidget,
    second: Path,
    said: list[str],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer(monkeypatch, str(second), "Anna", code=0)
    ask_reader(ball_session, parent, lambda: None)
    assert said == []
    answer(monkeypatch, str(second), LABEL)
    ask_reader(ball_session, parent, lambda: None)
    qtbot.waitUntil(lambda: "other than 'label'" in said[-1], timeout=WAIT_MS)
    assert not shown(parent)
    assert not any(case.folder.reader_masks() for case in ball_session.cases())


def test_the_fields_may_be_empty_only_where_there_is_a_reader(parent: QWidget) -> None:
    first, later = ReaderDialog([], parent), ReaderDialog(["Anna"], parent)
    assert not first._compare.isEnabled()
    assert later._compare.isEnabled()
    for dialog in (first, later):
        dialog.masks.setText("masks")
        assert not dialog._compare.isEnabled()
        dialog.reader.setText("Bo")
        assert dialog._compare.isEnabled()
