from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QLabel

from napari_semiseg.core.case import CaseState
from napari_semiseg.core.text import millilitres
from napari_semiseg.imaging.rendering import slice_name
from napari_semiseg.io.masks import write_labels
from napari_semiseg.project.project import Project
from napari_semiseg.project.review.readers import add_reader
from napari_semiseg.widgets.canvas.annotation import PAINTED
from napari_semiseg.widgets.canvas.case_view import CaseView
from napari_semiseg.widgets.common.flagging import FlagDialog
from napari_semiseg.widgets.common.next_step import Do
from napari_semiseg.widgets.elements import style
from napari_semiseg.widgets.elements.actions import short
from napari_semiseg.widgets.elements.buttons import icon_button
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.project.export_dialog import ExportDialog, summary
from napari_semiseg.widgets.review.actions import review_actions
from napari_semiseg.widgets.review.panel import AGAIN_S, ReviewPanel
from napari_semiseg.widgets.review.queue import CASE, PLACE, WHY, QueueBox
from napari_semiseg.widgets.tools.drawing import volume_words
from widgets.viewing import Answers, press, store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from pytestqt.qtbot import QtBot

    from napari_semiseg.widgets.common.session import Session


def test_classes_have_key_colour_name_and_volume(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    button = panel.classes.buttons[1]
    assert (button.key, button.text()) == ("1", "left atrium")
    assert button.isChecked()
    volume = panel.classes._volumes[1]
    proposed = np.count_nonzero(view.editing.whole()) * 2 / 1000
    ml = millilitres(proposed)
    assert volume.toolTip() == f"0.0 mL painted, {ml} mL only proposed"
    assert f"{ml} mL" in volume.text()
    view.mask.brush_size = 40
    view.mask.paint((5, 6, 6), 1)
    painted = np.count_nonzero(view.editing.annotated_only() == 1) * 2 / 1000
    left = np.count_nonzero(view.editing.whole()) * 2 / 1000 - painted
    assert 0 < left < proposed < painted
    words = f"{millilitres(painted)} mL painted, {millilitres(left)} mL only proposed"
    qtbot.waitUntil(lambda: volume.toolTip() == words, timeout=3000)


def test_volumes_say_what_is_painted_and_what_is_only_proposed() -> None:
    assert volume_words(3.5, 0, wide=True) == "3.5 mL"
    assert volume_words(3.5, 24.3, wide=True) == "3.5 mL + 24.3 proposed"
    assert volume_words(3.5, 24.3, wide=False) == "3.5 + 24.3 mL"
    assert volume_words(0, 24.3, wide=True) == "24.3 mL proposed"
    assert volume_words(0, 24.3, wide=False) == "+ 24.3 mL"


def test_digits_choose_classes_and_letters_tools(
    panel: ReviewPanel, view: CaseView
) -> None:
    view.open("case_0")
    press(view, "0")
    assert view.mask.selected_label == 0
    assert panel.classes.buttons[0].isChecked()
    press(view, "1")
    assert view.mask.selected_label == 1
    assert view.mask.mode == "paint"
    for key, mode in (("E", "erase"), ("F", "fill"), ("Z", "pan_zoom"), ("P", "paint")):
        view.viewer.keymap[coerce_keybinding(key)](view.viewer)
        assert view.mask.mode == mode
        assert panel.brush.modes[mode].isChecked()


def test_brush_slider_and_layer_agree(panel: ReviewPanel, view: CaseView) -> None:
    view.open("case_0")
    panel.brush.brush.setValue(17)
    assert view.mask.brush_size == 17
    view.mask.brush_size = 5
    assert panel.brush.brush.value() == 5
    view.mask.brush_size = 99
    assert view.mask.brush_size == 99


def test_without_a_case_keys_say_so_and_leave_the_queue_in_sight(
    panel: ReviewPanel, view: CaseView, said: list[str]
) -> None:
    for action in panel.actions_by_id.values():
        if action.key and action.needs_case:
            said.clear()
            press(view, action.key)
            assert said == ["Open a case first."], action.id
    assert panel.tool_panel.tool is None
    assert not panel.queue_box.isHidden()


def test_what_is_wrong_with_the_project_folder_is_told_in_a_line(
    panel: ReviewPanel, view: CaseView, project: Project, notifications: list[str]
) -> None:
    view.open("case_0")
    view.mask.paint((5, 6, 6), 1)
    away = project.folder.with_name("away")
    project.folder.rename(away)
    for key in ("N", "A", "Shift-A", "S"):
        notifications.clear()
        press(view, key)
        assert "put it back or connect its drive" in notifications[-1], key
    away.rename(project.folder)
    press(view, "N")
    assert project.case("case_0").state is CaseState.LABELLED


def test_accept_and_next_goes_through_the_queue(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    for name in ("case_1", "case_3"):
        store_prediction(project, name)
    panel.refresh_queue()
    first, second = panel.queue.cases()
    view.open(first)
    assert panel.queue_box.title.text() == "Queue  1 of 2"
    press(view, "N")
    assert project.case(first).state is CaseState.LABELLED
    assert view.case.id == second
    press(view, "N")  # at once: the case was not even looked at
    assert project.case(second).state is CaseState.PROPOSED
    qtbot.wait(round(1200 * AGAIN_S))
    press(view, "N")
    assert project.case(second).state is CaseState.LABELLED
    assert view.case.id not in (first, second)


def test_queue_gives_reasons_and_jumps(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    store_prediction(project, "case_2")
    panel.refresh_queue()
    row = panel.queue.item(0)
    assert row.data(CASE) == "case_2"
    assert "uncertain" in row.data(WHY)
    assert tuple(row.data(PLACE)) == (0, 6)
    qtbot.waitUntil(lambda: panel.queue.picture("case_2", (0, 6)) is not None)
    drawn = panel.queue.picture("case_2", (0, 6))
    colours = {
        drawn.pixelColor(x, y).name()
        for x in range(drawn.width())
        for y in range(drawn.height())
    }
    assert any(len({name[1:3], name[3:5], name[5:7]}) == 3 for name in colours)
    panel.queue.setCurrentItem(row)
    qtbot.keyClick(panel.queue, Qt.Key.Key_Return)
    assert view.case.id == panel.queue.open_case == "case_2"
    assert (view.viewer.dims.order[0], view.slice_index) == (0, 6)


def test_every_row_of_the_queue_opens_the_slice_that_it_names(
    panel: ReviewPanel,
    view: CaseView,
    project: Project,
    predict: Callable[[str, float], None],
    qtbot: QtBot,
) -> None:
    store_prediction(project, "case_1")
    store_prediction(project, "case_2")
    predict("case_3", 0.0)  # nothing was found, and that for certain
    panel.refresh_queue()
    assert panel.queue.cases()[0] == "case_3"
    assert "nothing was found in it" in panel.queue.item(0).data(WHY)
    for row in map(panel.queue.item, range(3)):
        name = row.data(WHY).rpartition(", ")[2]
        panel.queue.setCurrentItem(row)
        qtbot.keyClick(panel.queue, Qt.Key.Key_Return)
        assert view.case.id == row.data(CASE)
        axis = int(view.viewer.dims.order[0])
        assert name.lower() == slice_name(axis, view.slice_index)
    first, second, third = panel.queue.cases()
    view.open(first)
    view.go_to(2, 1)
    press(view, "N")
    assert view.case.id == second
    assert (view.viewer.dims.order[0], view.slice_index) == (0, 6)
    assert third not in (first, second)


def test_the_selected_row_can_be_read(
    panel: ReviewPanel, project: Project, qtbot: QtBot
) -> None:
    store_prediction(project, "case_2")
    panel.refresh_queue()
    row = panel.queue.item(0)
    panel.queue.setCurrentItem(row)
    panel.queue.show_open("case_2")
    qtbot.wait(50)
    area = panel.queue.visualItemRect(row)
    picture = panel.queue.viewport().grab(area).toImage()
    grey = [
        picture.pixelColor(x, y).lightness()
        for x in range(picture.width())
        for y in range(picture.height())
    ]
    low, high = np.percentile(grey, (50, 99.9))
    assert high - low > 80


def test_queue_says_when_there_is_nothing_to_rank(panel: ReviewPanel) -> None:
    panel.refresh_queue()
    assert panel.queue.count() == 0
    assert panel.queue_box.text.isVisible()
    assert "once a trained model" in panel.queue_box.text.text()


def test_queue_says_that_it_leaves_out_test_cases(
    panel: ReviewPanel, project: Project
) -> None:
    store_prediction(project, "case_1")
    project.set_split("case_1", "test")
    panel.session.cases_changed.emit(None)
    panel.refresh_queue()
    assert panel.queue.count() == 0
    assert "Only test cases have proposals" in panel.queue_box.text.text()


def test_info_says_what_is_shown_and_whether_it_is_saved(
    panel: ReviewPanel, view: CaseView, project: Project
) -> None:
    assert not panel.work.isVisible()
    assert not panel.finish.isVisible()
    assert panel.queue_box.isVisible()
    assert not panel.buttons["accept"].isEnabled()
    run = store_prediction(project, "case_0")
    view.open("case_0")
    assert (panel.card.title.text(), panel.card.chip.text()) == ("case_0", "proposed")
    assert panel.card.source.toolTip().startswith(f"Proposed by {run.id}")
    assert panel.saved.text().startswith("All saved")
    view.mask.paint((5, 5, 5), 1)
    assert panel.saved.text().startswith("Edits not saved yet")
    press(view, "S")
    assert panel.saved.text().startswith("All saved")
    assert project.case("case_0").has_draft


def test_buttons_do_what_their_keys_do(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    panel.view_bar.buttons["toggle_mask"].click()
    assert not view.mask.visible
    press(view, "T")
    assert view.mask.visible
    panel.menu_actions["next_worst_slice"].trigger()
    assert view.slice_index == 6
    press(view, "W")
    assert (view.viewer.dims.order[0], view.slice_index) == (1, 5)
    press(view, "Q")
    assert view.viewer.dims.order[0] == 2
    view.mask.paint((5, 5, 5), 1)
    press(view, "Shift-A")
    assert project.case("case_0").state is CaseState.PARTIAL


def test_keys_are_given_back(
    make_napari_viewer: Callable[[], Any], session: Session, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()

    def before(_: Any) -> None:
        raise AssertionError("somebody else's action")

    viewer.bind_key("A", before)
    keymap = dict(viewer.keymap)
    view = CaseView(session, viewer, Answers())
    panel = ReviewPanel(session, view, review_actions())
    view.open("case_0")
    assert viewer.keymap[coerce_keybinding("A")] is not before
    Connections.close_below(panel)
    Connections.close_below(view)
    assert viewer.keymap == keymap
    panel.deleteLater()


def test_no_key_of_ours_means_something_else_to_a_mask(
    panel: ReviewPanel, view: CaseView
) -> None:
    view.open("case_0")
    known = (*type(view.mask).__mro__, *type(view.viewer).__mro__)
    keymaps = [getattr(kind, "class_keymap", {}) for kind in known]
    taken = {str(key) for keymap in keymaps for key in keymap}
    assert taken
    same_meaning = {"P", "E", "F", "Z", "X", "Escape"}  # of X while nothing is marked
    ours = {
        str(coerce_keybinding(item.key))
        for item in panel.actions_by_id.values()
        if item.key and item.key not in same_meaning
    }
    assert not ours & taken


def test_no_key_of_ours_is_taken_in_naparis_settings(
    panel: ReviewPanel, view: CaseView
) -> None:
    from napari.settings import get_settings
    from napari.utils.action_manager import action_manager

    with_keys = [item for item in panel.actions_by_id.values() if item.key]
    ours = {str(coerce_keybinding(item.key)): item for item in with_keys}
    assert len(ours) == len(with_keys)
    same_meaning = {
        "napari:activate_labels_paint_mode": "paint",
        "napari:activate_labels_erase_mode": "erase",
        "napari:activate_labels_fill_mode": "fill",
        "napari:activate_labels_pan_zoom_mode": "pan_zoom",
    }
    here = (view.viewer, view.mask, view.image)
    shortcuts = get_settings().shortcuts.shortcuts
    clashes = {}
    for name, action in action_manager._actions.items():
        # Planes through a volume are turned in 3D only, where ours show surfaces.
        if "orient_plane" in name:
            continue
        if not any(isinstance(one, action.keymapprovider) for one in here):
            continue
        for key in shortcuts.get(name, ()):
            item = ours.get(str(coerce_keybinding(key)))
            if item is not None and same_meaning.get(name) != item.id:
                clashes[name] = item.text
    assert len(shortcuts) > 50
    assert not clashes


def test_sheet_lists_every_key(panel: ReviewPanel, qtbot: QtBot) -> None:
    sheet = panel.shortcut_sheet()
    listed = {label.text() for label in sheet.findChildren(QLabel)}
    assert {"0", "1", "Paint left atrium"} <= listed
    for action in panel.actions_by_id.values():
        assert not action.text or action.text in listed
        assert not action.key or sheet.fields[action.id].text() == short(action.key)
    assert sheet.height() < 700
    assert sheet.width() < 1300
    sheet.deleteLater()


def test_export_runs_beside_the_window_and_reports(
    panel: ReviewPanel,
    session: Session,
    project: Project,
    tmp_path: Path,
    qtbot: QtBot,
) -> None:
    store_prediction(project, "case_0")
    said: list[str] = []
    session.status_changed.connect(said.append)
    dialog = ExportDialog(project, panel)
    dialog.folder.setText(str(tmp_path / "out"))
    dialog.contents.setCurrentIndex(dialog.contents.findData("predictions"))
    dialog.start(session, project)
    qtbot.waitUntil(lambda: "Wrote" in said[-1], timeout=20000)
    assert list((tmp_path / "out").rglob("case_0*.nii.gz"))
    assert "case_1" in said[-1]
    dialog.deleteLater()


def test_summary_is_short() -> None:
    from pathlib import Path

    from napari_semiseg.project.project import ExportReport

    report = ExportReport(
        written=[Path("a")], skipped={f"c{i}": "no label" for i in range(9)}
    )
    text = summary(report, Path("out"))
    assert "Wrote 1 files to out" in text
    assert text.endswith("and 6 more.")


def test_the_buttons_of_a_tool_are_in_sight_below_many_structures(
    panel: ReviewPanel,
    view: CaseView,
    session: Session,
    images: list[Path],
    tmp_path: Path,
    qtbot: QtBot,
) -> None:
    many = Project.create(tmp_path / "brain", [f"{n}=region {n}" for n in range(1, 38)])
    many.add(images[0])
    session.open_project(many.folder)
    view.open("case_0")
    panel.resize(300, 560)
    panel.tool_panel.choose("move_boundary")
    button, words = panel.tool_panel.apply_button, panel.tool_panel.text
    qtbot.waitUntil(lambda: "nothing changes" in words.text(), timeout=10_000)
    whole = button.rect()
    qtbot.waitUntil(lambda: button.visibleRegion().boundingRect() == whole)


def test_panel_fits_a_narrow_dock(panel: ReviewPanel, view: CaseView) -> None:
    view.open("case_0")
    assert panel.minimumSizeHint().width() <= 300
    for button in panel.buttons.values():
        assert button.width() >= button.sizeHint().width() or not button.text()


def test_the_order_of_the_queue_can_be_chosen_and_is_remembered(
    panel: ReviewPanel, view: CaseView, project: Project, session: Session
) -> None:
    store_prediction(project, "case_1")
    panel.refresh_queue()
    assert panel.queue.cases() == ["case_1"]
    titles = [
        panel.queue_box.order.itemText(row)
        for row in range(panel.queue_box.order.count())
    ]
    assert titles[0] == "Most uncertain first"
    assert not any(word in " ".join(titles).lower() for word in ("entropy", "gap"))
    row = panel.queue_box.order.findData("spread")
    panel.queue_box.order.setCurrentIndex(row)
    panel.queue_box.order.activated.emit(row)
    assert panel.queue.cases() == ["case_0", "case_1", "case_2", "case_3"] or (
        sorted(panel.queue.cases()) == ["case_0", "case_1", "case_2", "case_3"]
    )
    assert panel.queue_box.text.text().startswith("Slices evenly through all scans")
    again = QueueBox(session)
    assert again.strategy == "spread"
    again.deleteLater()


def test_slices_in_which_readers_differ_are_rows_of_the_queue(
    panel: ReviewPanel, view: CaseView, project: Project, tmp_path: Path
) -> None:
    row = panel.queue_box.order.findData("readers")
    panel.queue_box.order.setCurrentIndex(row)
    panel.queue_box.order.activated.emit(row)
    assert "add the masks of" in panel.queue_box.text.text() or (
        "label some" in panel.queue_box.text.text()
    )
    for number, name in enumerate(("case_0", "case_1"), start=1):
        case = project.case(name)
        label = np.zeros(case.geometry.shape_zyx, np.uint8)
        label[2:5, 2:8, 2:8] = 1
        project.set_label(name, label)
        label[2, 2 : 2 + number] = label[4, 2:6] = 0
        path = tmp_path / "anna" / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        write_labels(path, label, case.geometry, case.image)
    add_reader(project, "Anna", tmp_path / "anna")
    panel.refresh_queue()
    assert panel.queue.count() == 4
    first, *_, last = (panel.queue.item(at).text() for at in range(4))
    assert last == "case_0"
    assert panel.queue.place_of(first)[1] == 4
    assert panel.queue_box.next_case("case_0") == "case_1"
    assert panel.queue_box.next_case("case_1") == "case_0"


def test_skip_puts_a_case_last_and_opens_the_next(
    panel: ReviewPanel, view: CaseView, project: Project
) -> None:
    for name in ("case_1", "case_3"):
        store_prediction(project, name)
    panel.refresh_queue()
    first, second = panel.queue.cases()
    view.open(first)
    press(view, "Shift-S")
    assert view.case.id == second
    panel.refresh_queue()
    assert panel.queue.cases() == [second, first]
    assert project.case(first).state is CaseState.PROPOSED
    assert "skipped" in panel.queue.item(1).data(WHY)


def test_flag_with_a_comment_shows_and_goes_again(
    panel: ReviewPanel,
    view: CaseView,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store_prediction(project, "case_1")
    view.open("case_1")

    def answer(dialog: FlagDialog) -> int:
        assert dialog.remove_button.isHidden()
        dialog.comment.setText("motion <ask> Weiß")
        dialog.accept()
        return dialog.result()

    monkeypatch.setattr(FlagDialog, "exec", answer)
    press(view, "Shift-F")
    assert project.case("case_1").record.flag == "motion <ask> Weiß"
    assert "Flagged: motion <ask> Weiß" in panel.card.source.text()
    panel.refresh_queue()
    assert "flagged: motion" in panel.queue.item(0).data(WHY)

    def remove(dialog: FlagDialog) -> int:
        assert dialog.comment.text() == "motion <ask> Weiß"
        dialog.remove_button.click()
        return dialog.result()

    monkeypatch.setattr(FlagDialog, "exec", remove)
    press(view, "Shift-F")
    assert project.case("case_1").record.flag is None
    assert "Flagged" not in panel.card.source.text()


def test_worst_slices_leave_out_what_is_done(
    panel: ReviewPanel, view: CaseView, project: Project
) -> None:
    store_prediction(project, "case_1")
    view.open("case_1")
    press(view, "W")
    assert (view.viewer.dims.order[0], view.slice_index) == (0, 6)
    press(view, "D")
    press(view, "W")
    assert (view.viewer.dims.order[0], view.slice_index) == (1, 5)
    press(view, "W")
    assert (view.viewer.dims.order[0], view.slice_index) == (1, 5)
    press(view, "D")
    said: list[str] = []
    view.session.status_changed.connect(said.append)
    press(view, "W")
    assert said == ["No doubtful slice is left in this case."]


def test_an_accept_is_undone_and_earlier_masks_come_back_by_buttons(
    panel: ReviewPanel, view: CaseView, project: Project, session: Session
) -> None:
    said: list[str] = []
    undo: list[Callable[[], object]] = []

    def offered(text: str, _button: str, take_back: Callable[[], object]) -> None:
        said.append(text)
        undo.append(take_back)

    session.offered.connect(offered)
    view.open("case_0")
    view.mask.paint((5, 9, 9), 1)
    filled = view.editing.encoding.proposed[1]
    view.mask.paint((6, 9, 9), filled)
    view.mask.put(
        np.full((1, 12, 14), filled, np.uint8),
        (slice(7, 8), slice(0, 12), slice(0, 14)),
    )
    painted = view.mask.data.copy()
    view.annotation.questions.to_choose = PAINTED
    panel.menu_actions["accept_painted"].trigger()
    assert "only proposed are not" in said[-1]
    assert not (project.case("case_0").read_label()[7] == 1).any()
    view.open("case_1")
    undo[-1]()
    assert view.case.id == "case_0"
    assert np.array_equal(view.mask.data, painted)
    assert not project.case("case_0").has_label
    panel.buttons["accept"].click()
    assert project.case("case_0").state == "labelled"
    panel.menu_actions["restore_mask"].trigger()
    assert view.annotation.questions.asked[-1] == "Earlier masks"
    assert view.model.opened.source == "draft"
    assert project.case("case_0").has_draft


def test_the_next_step_leads_through_the_doubtful_slices_to_accept(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    assert panel.next_step() is None
    run = store_prediction(project, "case_1")
    record = run.prediction_record("case_1")
    assert [one.axis for one in record.score.slices] == [0, 1]
    view.open("case_1")
    strip = view.slices.strip
    assert strip is not None
    assert strip.doubtful == {6}
    step = panel.next_step()
    assert (step.do, step.key) == (Do.SLICE, "W")
    assert "slice 7" in step.text
    accept = panel.buttons["accept_and_next"]
    assert accept.property("look") == "quiet"
    press(view, step.key)
    step = panel.next_step()
    assert (step.do, step.elsewhere) == (Do.ACCEPT, True)
    assert accept.property("look") == "primary"
    press(view, "J")
    assert panel.next_step().do is Do.APPLY
    assert accept.property("look") == "quiet"
    assert not panel.queue_box.isVisible()
    panel.tool_panel.cancel()
    assert panel.queue_box.isVisible()
    press(view, "A")
    assert panel.next_step() is None  # that case is done


def test_without_a_prediction_the_next_step_is_to_paint_then_to_fill(
    panel: ReviewPanel, view: CaseView
) -> None:
    view.open("case_0")
    step, done = panel.next_step(), panel.buttons["mark_slice_done"]
    assert (step.do, done.property("look")) == (Do.PAINT, "primary")
    assert panel.buttons["accept_and_next"].property("look") == "quiet"
    for index in (2, 6):
        view.go_to(0, index)
        view.mask.paint((index, 5, 5), 1)
        press(view, "D")
    view.editing.recount()
    step = panel.next_step()
    assert (step.do, step.key) == (Do.FILL, "I")
    panel.fill_between()
    assert panel.tool_panel.tool.id == "fill_between_slices"


def test_the_last_stroke_is_taken_back_by_a_link_beside_what_is_saved(
    panel: ReviewPanel, view: CaseView
) -> None:
    view.open("case_0")
    assert panel.undo_link.isHidden()
    before = view.mask.data.copy()
    view.mask.paint((2, 5, 5), 1)
    view.editing.recount()
    assert not panel.undo_link.isHidden()
    panel.undo_link.click()
    view.editing.recount()
    assert np.array_equal(view.mask.data, before)
    assert panel.undo_link.isHidden()


def test_the_card_shows_doubt_per_slice_and_goes_there(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    strip = panel.card.strip
    assert len(strip.doubt) == len(strip.parts) == 10
    assert strip.worst == {6}
    chip = panel.card.chips[0]
    assert (chip.text(), panel.card.chips[1].isVisible()) == ("7", False)
    chip.click()
    assert view.slice_index == strip.index == 6
    assert chip.text().startswith("7")
    assert chip.isChecked()
    assert chip.text() != "7"  # seen
    at = QPoint(round(2.5 * strip.width() / 10), 5)
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=at)
    assert view.slice_index == 2
    press(view, "D")
    view.editing.recount()
    assert strip.parts[2] == 1
    press(view, "Q")
    assert len(strip.doubt) == 12
    assert strip.worst == {5}


def test_the_plane_in_view_comes_first(
    panel: ReviewPanel, view: CaseView, project: Project
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    view.go_to(1, 2)
    press(view, "W")
    assert (view.viewer.dims.order[0], view.slice_index) == (1, 5)
    press(view, "W")
    assert (view.viewer.dims.order[0], view.slice_index) == (0, 6)


def test_without_the_icon_font_buttons_show_their_text(
    monkeypatch: pytest.MonkeyPatch, panel: ReviewPanel, session: Session
) -> None:
    back = panel.card.buttons["previous_case"]
    assert not back.icon().isNull()
    assert not back.text()
    monkeypatch.setattr(style, "FONT", "not_installed")
    assert style.icon("arrow_left", "#ffffff").isNull()
    plain = icon_button(panel.actions_by_id["previous_case"], panel)
    assert plain.text() == "Back"
    assert plain.accessibleName() == back.accessibleName() == "Back"
