"""Keys that the user has chosen: bound and shown at once, unless they clash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_semiseg.widgets.common import preferences
from napari_semiseg.widgets.common.keys import keys_of_napari, read_key
from napari_semiseg.widgets.common.preferences import choose_key, chosen_key
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.review.actions import review_actions
from napari_semiseg.widgets.review.panel import ReviewPanel
from widgets.viewing import press, store_prediction

if TYPE_CHECKING:
    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.canvas.case_view import CaseView


@pytest.fixture(params=["in napari", "in a file of our own"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both places that keep what is chosen."""
    if "own" in request.param:
        monkeypatch.setattr(preferences, "_of_napari", lambda: None)
    elif preferences._of_napari() is None:
        pytest.skip("this napari has no preferences of plugins")
    return str(request.param)


def test_another_key_does_it_at_once_and_is_shown_everywhere(
    store: str, panel: ReviewPanel, view: CaseView, project: Project
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    sheet = panel.shortcut_sheet()
    for name, key in (("toggle_mask", "F7"), ("next_worst_slice", "Shift-W")):
        sheet.take(name, key)
    sheet.take("paint_unannotated", "F8")
    sheet.take("move_boundary", "")
    button = panel.view_bar.buttons["toggle_mask"]
    assert (button.key, button.toolTip()) == ("F7", "Show or hide the mask (F7)")
    assert panel.menu_actions["next_worst_slice"].text().endswith("\t\u21e7W")
    assert panel.next_step().key == "Shift-W"
    assert any(one.key == "F8" for one in panel.classes.buttons.values())
    assert panel.tool_panel.boundary_button.key == ""
    press(view, "F7")
    assert not view.mask.visible
    for key in ("T", "J"):
        with pytest.raises(AssertionError, match="bound to nothing"):
            press(view, key)
    later = ReviewPanel(panel.session, view, review_actions())
    assert later.actions_by_id["toggle_mask"].key == "F7"
    Connections.close_below(later)
    later.deleteLater()
    sheet.deleteLater()


def test_a_key_that_is_taken_is_refused_with_who_has_it(
    store: str, panel: ReviewPanel, view: CaseView
) -> None:
    view.open("case_0")
    sheet = panel.shortcut_sheet()
    for key, owner in (
        ("A", "accept: the whole volume"),
        ("B", "preserve"),
        ("Ctrl+S", "save"),
        ("3", "structure"),
        ("Shift+", "such as Shift-A"),
    ):
        sheet.take("toggle_mask", key)
        assert owner in sheet.message.text().lower() or owner in sheet.message.text()
        assert chosen_key("toggle_mask", "T") == "T"
        assert sheet.fields["toggle_mask"].text() == "T"
    sheet.deleteLater()


def test_a_field_takes_the_next_key_that_is_pressed(panel: ReviewPanel) -> None:
    sheet = panel.shortcut_sheet()
    field = sheet.fields["toggle_mask"]
    field.click()
    QTest.keyClick(field, Qt.Key.Key_Shift)
    QTest.keyClick(field, Qt.Key.Key_Y, Qt.KeyboardModifier.ShiftModifier)
    assert (field.text(), chosen_key("toggle_mask", "T")) == ("\u21e7Y", "Shift-Y")
    field.click()
    QTest.keyClick(field, Qt.Key.Key_Escape)
    assert field.text() == "\u21e7Y"
    field.click()
    QTest.keyClick(field, Qt.Key.Key_Backspace)
    assert panel.actions_by_id["toggle_mask"].key == ""
    sheet.deleteLater()


def test_stored_keys_that_clash_or_are_none_change_nothing(
    store: str, panel: ReviewPanel, view: CaseView
) -> None:
    said: list[str] = []
    panel.session.status_changed.connect(said.append)
    for name, key in (
        ("toggle_mask", "no key at all"),  # keeps T
        ("toggle_maps", "N"),  # taken by accept_and_next
        ("fill_holes", "Shift-Y"),
        ("keep_largest_piece", "Shift-Y"),  # the first of both has it
        ("accept", "D"),  # these two have changed places
        ("mark_slice_done", "A"),
    ):
        choose_key(name, key)
    panel.take_keys()
    keys = {action.id: action.key for action in panel.actions_by_id.values()}
    assert (keys["toggle_mask"], keys["toggle_maps"]) == ("T", "R")
    assert keys["accept_and_next"] == "N"
    taken = (keys["fill_holes"], keys["keep_largest_piece"], keys["smooth_surface"])
    assert sorted(taken) == ["", "", "Shift-Y"]
    assert (keys["accept"], keys["mark_slice_done"]) == ("D", "A")
    assert len(panel.refused) == 3
    assert set(panel.refused) <= set(said)
    assert "found 'no key at all'" in " ".join(panel.refused)
    used = [key for key in keys.values() if key]
    assert len(used) == len(set(used))


def test_keys_of_ours_that_are_naparis_are_those_bound_in_their_place(
    panel: ReviewPanel, view: CaseView
) -> None:
    others = keys_of_napari(view.viewer)
    assert {"B", "Ctrl-S"} <= others.keys()
    clashes = {a.id for a in review_actions().values() if a.key and a.key in others}
    same = {"paint", "erase", "fill", "pan_zoom"}
    # napari has a use for the key of prompts since 0.9.
    new = {"prompt"} if hasattr(view.viewer, "scene") else set()
    assert clashes == same | {"toggle_prompt_sign", "escape"} | new


@pytest.mark.parametrize(
    ("text", "key"),
    [("shift+a", "Shift-A"), (" f5 ", "F5"), ("", ""), ("Ctrl-Alt-x", "Ctrl-Alt-X")],
)
def test_keys_are_written_one_way(text: str, key: str) -> None:
    assert read_key(text) == key
