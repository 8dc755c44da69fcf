"""Marks drawn in the window become a proposal; what goes wrong changes nothing."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QLineEdit

from napari_semiseg.assistants.registry import ASSISTANTS
from napari_semiseg.assistants.shipped.nninteractive import URL
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.project.cases.history import Prompted
from napari_semiseg.widgets.common.preferences import environment
from widgets.viewing import press

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.review.panel import ReviewPanel

CASE = "case_3"
INSIDE = [(5, 6, 5), (5, 6, 9)]
AROUND = [(5, 1, 1), (5, 1, 12), (5, 11, 12), (5, 11, 1), (5, 1, 1)]


def draw(view: CaseView, places: Sequence[tuple[int, ...]]) -> None:
    """Draw through voxels with the left button, as the canvas tells the mask."""
    mask = view.mask
    for number, place in enumerate([*places, places[-1]]):
        kind = "mouse_press" if number == 0 else "mouse_move"
        kind = "mouse_release" if number == len(places) else kind
        event = ReadOnlyWrapper(
            SimpleNamespace(
                type=kind,
                position=tuple(np.asarray(place) * mask.scale),
                button=1,
                modifiers=(),
                dims_displayed=[1, 2],
                is_dragging=number > 0,
            )
        )
        tell = {
            "mouse_press": mouse_press_callbacks,
            "mouse_move": mouse_move_callbacks,
            "mouse_release": mouse_release_callbacks,
        }[kind]
        tell(mask, event)


def proposed(panel: ReviewPanel, qtbot: QtBot) -> None:
    qtbot.waitUntil(panel.tool_panel.apply_button.isEnabled, timeout=60_000)


def test_strokes_propose_a_structure_before_there_is_a_model(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    offers: list[Any] = []
    view.session.offered.connect(lambda *offer: offers.append(offer))
    view.open(CASE)
    view.go_to(0, 5)
    before, box = view.mask.data.copy(), panel.tool_panel
    assert (before == UNANNOTATED).all()
    press(view, "C")
    draw(view, INSIDE)
    press(view, "X")
    draw(view, AROUND)
    assert [one.foreground for one in box.prompting.marks] == [True, False]
    legend = view.canvases.main_notes.legend
    assert [entry.text for entry in legend] == [
        "Part of it (X)",
        "Not part of it",
        "Box",
    ]
    assert [entry.in_hand for entry in legend] == [False, True, False]
    lines = box.preview.lines
    assert [sign for _, _, sign in lines if sign] == ["+", "\u2212"]
    assert view.canvases.main_notes.outlines["preview"] == lines
    proposed(panel, qtbot)
    assert np.array_equal(view.mask.data, before)
    assert "left atrium 0.00 \u2192 0." in box.text.text()
    press(view, "U")
    encoding, after = view.editing.encoding, view.mask.data.copy()
    truth = view.image.data > 150
    found = encoding.confirm(after) == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.7
    human = encoding.human(after)  # the strokes, and nothing of the answer
    assert (human[5, 6, 5:10] == 1).all()
    assert (human[5, 1, 1:13] == 0).all()
    assert 30 < np.count_nonzero(human != UNANNOTATED) < 50
    assert box.tool is None
    assert view.mask.mouse_pan
    assert not [one for one in box.preview.lines if one[2]]
    assert not view.canvases.main_notes.legend
    (noted,) = project.case(CASE).record.history[-1:]
    assert isinstance(noted, Prompted)
    assert (noted.value, noted.assistant) == (1, "geodesic")
    assert [mark.foreground for mark in noted.marks] == [True, False]
    assert noted.marks[0].voxels[:3] == (5, 6, 5)
    offers[-1][2]()
    assert np.array_equal(view.mask.data, before)
    press(view, "C")  # the marks are still there
    proposed(panel, qtbot)
    press(view, "Escape")
    assert np.array_equal(view.mask.data, before)


def test_a_click_a_box_and_another_assistant(
    panel: ReviewPanel, view: CaseView, qtbot: QtBot, said: list[str]
) -> None:
    view.open(CASE)
    view.go_to(0, 5)
    box = panel.tool_panel
    press(view, "C")
    box.prompting.kinds["box"].click()
    legend = view.canvases.main_notes.legend
    assert [entry.text for entry in legend if entry.in_hand] == ["Box"]
    draw(view, [(5, 3, 3), (5, 9, 11)])
    proposed(panel, qtbot)
    box.prompting.kinds["point"].click()
    draw(view, [(5, 6, 6)])
    row = box.prompting.assistant.findData("grow")
    box.prompting.assistant.setCurrentIndex(row)
    box.prompting.assistant.activated.emit(row)
    assert not box.apply_button.isEnabled()
    proposed(panel, qtbot)
    assert [one.kind for one in box.prompting.marks] == ["box", "point"]
    press(view, "U")
    classes = view.editing.whole()
    assert classes[5, 6, 6] == 1
    assert (view.mask.data != 1).all()  # neither was a stroke
    assert not classes[:, :3].any()
    press(view, "C")
    box.prompting.undo_button.click()
    assert len(box.prompting.marks) == 1
    box.prompting.clear_button.click()
    assert not box.prompting.marks
    assert not box.apply_button.isEnabled()
    panel.brush.modes["paint"].click()  # one tool in hand
    assert not box.prompting.in_hand
    draw(view, [(5, 6, 6)])
    assert not box.prompting.marks
    view.open("case_1")
    assert box.tool is None


def test_a_locked_structure_is_told_and_stays(
    panel: ReviewPanel, view: CaseView, qtbot: QtBot, said: list[str]
) -> None:
    view.open(CASE)
    view.go_to(0, 5)
    panel.lock(1, True)
    before = view.mask.data.copy()
    press(view, "C")
    draw(view, INSIDE)
    qtbot.waitUntil(lambda: bool(said) and "locked" in said[-1], timeout=60_000)
    press(view, "U")
    assert np.array_equal(view.mask.data, before)


def test_the_server_of_an_assistant_is_asked_for_and_kept(
    panel: ReviewPanel,
    view: CaseView,
    qtbot: QtBot,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if find_spec("nnInteractive") is None:
        pytest.skip("the client of nnInteractive is absent")
    monkeypatch.setenv(URL, "")
    prompting = panel.tool_panel.prompting
    view.open(CASE)
    view.go_to(0, 5)
    press(view, "C")
    assert prompting.server_button.isHidden()
    row = prompting.assistant.findData("nninteractive")
    prompting.assistant.setCurrentIndex(row)
    prompting.assistant.activated.emit(row)
    assert not prompting.server_button.isHidden()
    prompting.kinds["point"].click()
    draw(view, [(5, 6, 6)])
    wanted = f"expected the address of a server, found none; set {URL}"
    qtbot.waitUntil(lambda: bool(said) and wanted in said[-1], timeout=60_000)

    def fill() -> None:
        dialog = QApplication.activeModalWidget()
        if dialog is None:
            QTimer.singleShot(100, fill)
            return
        address, key = dialog.findChildren(QLineEdit)
        address.setText("http://127.0.0.1:9")
        assert key.echoMode() == QLineEdit.EchoMode.Password
        dialog.accept()

    QTimer.singleShot(100, fill)
    prompting.server_button.click()
    dead = "expected a server at http://127.0.0.1:9, found none that answers"
    qtbot.waitUntil(lambda: dead in said[-1], timeout=60_000)
    assert (view.mask.data == UNANNOTATED).all()
    monkeypatch.delenv(URL)
    assert environment(URL) == "http://127.0.0.1:9"


class Fake:
    """An assistant that answers as it is told."""

    name, title, hint = "fake", "Fake", "Anything."
    takes = frozenset({"point", "scribble", "box"})
    needs_background = False

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def propose(self, image: Any, spacing_mm: Any, prompts: Any, current: Any) -> Any:
        return self.answer(image)


def broken(_image: np.ndarray) -> np.ndarray:
    raise RuntimeError("boom")


HANGS = threading.Event()


@pytest.mark.parametrize(
    ("answer", "marks", "words"),
    [
        (None, [INSIDE], "found only the first; mark some background around it too"),
        (None, [[(5, 30, 2), (5, 40, 2)]], "Nothing is marked: mark inside of the"),
        (lambda image: image[1:] > 0, [INSIDE], "found bool (9, 12, 14)"),
        (broken, [INSIDE], "found RuntimeError: boom"),
        (lambda image: HANGS.wait(60), [INSIDE], ""),
    ],
    ids=["one kind", "outside", "shape", "raises", "hangs"],
)
def test_what_goes_wrong_is_one_line_and_changes_nothing(
    panel: ReviewPanel,
    view: CaseView,
    project: Project,
    qtbot: QtBot,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    marks: Any,
    words: str,
) -> None:
    box, name = panel.tool_panel, "geodesic"
    if answer is not None:
        known = {**ASSISTANTS.entries(), "fake": Fake(answer)}
        monkeypatch.setattr(ASSISTANTS, "_entries", known)
        box.prompting.assistant.addItem("Fake", "fake")
        name = "fake"
    box.prompting.assistant.setCurrentIndex(box.prompting.assistant.findData(name))
    view.open(CASE)
    view.go_to(0, 5)
    before, history = view.mask.data.copy(), project.case(CASE).record.history
    press(view, "C")
    for one in marks:
        draw(view, one)
    if words:
        qtbot.waitUntil(lambda: bool(said) and words in said[-1], timeout=60_000)
        assert "\n" not in said[-1]
    else:
        qtbot.waitUntil(lambda: box.worker._busy, timeout=60_000)
        press(view, "U")
        assert said[-1] == "The preview is not ready yet."
        press(view, "Escape")
        qtbot.waitUntil(lambda: not box.worker._busy, timeout=60_000)
        assert box.tool is None
        HANGS.set()
    assert not box.apply_button.isEnabled()
    press(view, "Escape")
    assert np.array_equal(view.mask.data, before)
    assert project.case(CASE).record.history == history
