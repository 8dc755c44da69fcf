from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.project.cases.history import Labelled, Viewed
from napari_semiseg.project.review import flags
from napari_semiseg.project.review.accept import accept
from napari_semiseg.widgets.cohort.bulk import VERBS
from napari_semiseg.widgets.cohort.model import FIELDS, KINDS, TEST
from napari_semiseg.widgets.cohort.panel import CohortPanel
from napari_semiseg.widgets.elements.style import colours, contrast, readable, tint
from widgets.viewing import store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session


@pytest.fixture
def panel(qtbot: QtBot, session: Session) -> CohortPanel:
    made = CohortPanel(session)
    made.model.reload()
    qtbot.addWidget(made)
    return made


def cell(panel: CohortPanel, row: int, field: str) -> str:
    index = panel.table.proxy.index(row, FIELDS.index(field))
    return str(index.data())


def test_a_row_per_case_with_state_in_words(panel: CohortPanel) -> None:
    assert panel.model.rowCount() == 4
    assert [cell(panel, row, "id") for row in range(4)] == [
        f"case_{number}" for number in range(4)
    ]
    assert cell(panel, 0, "state") == "unlabelled"
    assert cell(panel, 0, "annotated") == "0 %"
    assert "4 cases, 0 labelled" in panel.bar.text.text()


def test_minutes_of_all_sittings_are_summed(
    panel: CohortPanel, session: Session, project: Project
) -> None:
    mask = np.zeros(project.case("case_1").geometry.shape_zyx, np.uint8)
    for minutes in (2.5, 1.0):
        project.set_label("case_1", mask, minutes=minutes)
    session.cases_changed.emit({"case_1"})
    assert cell(panel, 1, "minutes") == "3.5"
    assert cell(panel, 1, "state") == "labelled"
    assert cell(panel, 0, "minutes") == "\u2013"


def test_part_of_a_label_is_shown_in_percent(
    panel: CohortPanel, session: Session, project: Project
) -> None:
    mask = np.full(project.case("case_0").geometry.shape_zyx, 255, np.uint8)
    mask[:5] = 0
    project.set_label("case_0", mask)
    session.cases_changed.emit({"case_0"})
    assert cell(panel, 0, "annotated") == "50 %"
    assert cell(panel, 0, "state") == "partial"


def test_filter_and_sort(
    panel: CohortPanel, session: Session, project: Project
) -> None:
    shape = project.case("case_2").geometry.shape_zyx
    project.set_label("case_2", np.zeros(shape, np.uint8))
    session.cases_changed.emit({"case_2"})
    panel.table.sortByColumn(FIELDS.index("annotated"), Qt.SortOrder.DescendingOrder)
    assert cell(panel, 0, "id") == "case_2"
    panel.search.setText("unlabelled")
    assert panel.table.proxy.rowCount() == 3
    panel.search.setText("CASE_3")
    assert [cell(panel, 0, "id"), panel.table.proxy.rowCount()] == ["case_3", 1]


def test_enter_and_double_click_ask_for_the_case(
    qtbot: QtBot, panel: CohortPanel, session: Session
) -> None:
    asked: list[str] = []
    keep = asked.append
    session.case_requested.connect(keep)
    panel.show()
    qtbot.waitExposed(panel)
    panel.table.select("case_2")
    qtbot.keyClick(panel.table, Qt.Key.Key_Return)
    panel.table.doubleClicked.emit(panel.table.proxy.index(1, 3))
    assert asked == ["case_2", "case_1"]


def test_enter_in_the_filter_opens_the_first_match(
    qtbot: QtBot, panel: CohortPanel, session: Session
) -> None:
    asked: list[str] = []

    def keep(case_id: str) -> None:
        asked.append(case_id)

    session.case_requested.connect(keep)
    panel.search.setText("_3")
    qtbot.keyClick(panel.search, Qt.Key.Key_Return)
    assert asked == ["case_3"]


def test_the_last_corrective_dice_is_shown(
    panel: CohortPanel, session: Session, project: Project
) -> None:
    mask = np.zeros(project.case("case_1").geometry.shape_zyx, np.uint8)
    for dice in (0.5, 0.8123):
        project.set_label("case_1", mask, details={"corrective_dice": dice})
    project.set_label("case_1", mask)
    session.cases_changed.emit({"case_1"})
    assert cell(panel, 1, "quality") == "0.81 measured"


def test_exclude_and_include_again(panel: CohortPanel, session: Session) -> None:
    panel.verbs.set_excluded(["case_0", "case_1"], True)
    assert cell(panel, 0, "state") == "excluded"
    titles = [action.text() for action in panel.menu_for(["case_0"]).actions()]
    assert "Include again" in titles
    assert "Exclude" not in titles
    panel.verbs.set_excluded(["case_0"], False)
    assert session.cases()[0].state is CaseState.UNLABELLED
    assert session.cases()[1].state is CaseState.EXCLUDED


def test_split_is_set_from_the_menu(panel: CohortPanel, session: Session) -> None:
    undo: list[Callable[[], object]] = []
    session.offered.connect(keep := lambda *offer: undo.append(offer[2]))
    panel.resize(640, 500)
    panel.show()
    use = FIELDS.index("use")
    assert panel.table.isColumnHidden(use)
    panel.verbs.set_split(["case_3"], Split.TEST)
    assert not panel.table.isColumnHidden(use)
    assert cell(panel, 3, "use") == "Test"
    assert session.cases()[3].split is Split.TEST
    menu = panel.menu_for(["case_3"]).actions()[-1].menu()
    assert [one.text()[:4] for one in menu.actions() if one.isChecked()] == ["Test"]
    undo[0]()
    assert session.cases()[3].split is Split.TRAIN
    session.offered.disconnect(keep)


def test_only_what_was_changed_is_told_and_taken_back(
    panel: CohortPanel,
    session: Session,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep = type(session.project).set_split

    def refuse(project: Project, case_id: str, split: Split) -> None:
        if case_id != "case_0":
            raise OSError("the disk is read-only")
        keep(project, case_id, split)

    monkeypatch.setattr(type(session.project), "set_split", refuse)
    panel.verbs.set_split(["case_0", "case_1"], Split.TEST)
    assert said == ["the disk is read-only", "1 case for Test"]
    said.clear()
    panel.verbs.set_split(["case_1"], Split.TEST)
    assert said == ["the disk is read-only"]


@pytest.mark.parametrize("told", [{"case_1"}, {"case_1", "case_2"}, {"case_3"}, None])
@pytest.mark.parametrize("gone", [["case_1"], [f"case_{n}" for n in range(4)]])
def test_a_case_whose_folder_is_deleted_leaves_the_table(
    panel: CohortPanel,
    session: Session,
    project: Project,
    gone: list[str],
    told: set[str] | None,
) -> None:
    assert len(session.cases()) == 4
    for name in gone:
        shutil.rmtree(project.layout.case(name).path)
    panel.model.refresh(told)  # before anybody has read the folder again
    session.cases_changed.emit(told)
    session.cases_changed.emit(set(gone))
    left = sorted({f"case_{n}" for n in range(4)} - set(gone))
    assert [case.id for case in session.cases()] == left
    assert [row.id for row in panel.model.rows] == left
    assert session.next_step().text


def test_a_change_keeps_the_selection(panel: CohortPanel, session: Session) -> None:
    panel.table.select("case_2")
    session.cases_changed.emit({"case_0"})
    session.runs_changed.emit()
    assert panel.table.selected() == ["case_2"]


def test_images_are_added_in_the_background(
    qtbot: QtBot, panel: CohortPanel, images: list[Path], said: list[str]
) -> None:
    new = images[0].with_name("case_9.nii.gz")
    shutil.copy(images[0], new)
    panel.add_images([new])
    qtbot.waitUntil(lambda: panel.model.rowCount() == 5, timeout=10_000)
    assert cell(panel, 4, "id") == "case_9"
    assert said[-1] == "Added 1 image."


def test_an_image_that_cannot_be_read_is_shown_in_one_sentence(
    qtbot: QtBot, panel: CohortPanel, notifications: list[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no image")
    panel.add_images([broken])
    qtbot.waitUntil(lambda: bool(notifications), timeout=10_000)
    assert "broken" in notifications[0]
    assert "Traceback" not in notifications[0]
    assert panel.model.rowCount() == 4


def test_uncertainty_of_the_newest_prediction(
    panel: CohortPanel, session: Session, predict: Callable[[str, float], None]
) -> None:
    predict("case_3", 0.25)
    session.cases_changed.emit({"case_3"})
    assert cell(panel, 3, "quality") == "empty"
    assert cell(panel, 3, "state") == "proposed"


def test_accepted_unseen_is_shown_in_words(
    panel: CohortPanel, session: Session, project: Project
) -> None:
    store_prediction(project, "case_1")
    accept(project, ["case_1"])
    session.cases_changed.emit({"case_1"})
    assert cell(panel, 1, "state") == "unseen"
    assert cell(panel, 1, "quality") == "unseen: not counted"
    assert "0 labelled" in panel.bar.text.text()
    index = panel.model.index(1, FIELDS.index("state"))
    tip = panel.model.data(index, Qt.ItemDataRole.ToolTipRole)
    assert "nobody had opened" in tip
    panel.search.setText("unseen")
    assert panel.table.proxy.rowCount() == 1


def test_accepted_unverified_is_shown_in_words(
    panel: CohortPanel, session: Session, project: Project
) -> None:
    run = store_prediction(project, "case_1")
    shown = {"run": run.id, "step": 5, "viewed_fraction": 0.1}
    project.note("case_1", Viewed(**shown))
    accept(project, ["case_1"])
    session.cases_changed.emit({"case_1"})
    assert cell(panel, 1, "state") == "unverified"
    assert cell(panel, 1, "quality") == "untouched: not counted"
    assert "0 labelled" in panel.bar.text.text()


def test_dice_is_estimated_once_enough_was_corrected(
    panel: CohortPanel, session: Session, project: Project, images: list[Path]
) -> None:
    for number in range(4, 8):
        shutil.copy(images[0], images[0].with_name(f"case_{number}.nii.gz"))
    project.add(images[0].parent)
    store_prediction(project, "case_3")
    session.cases_changed.emit(None)
    index = panel.model.index(3, FIELDS.index("quality"))
    assert cell(panel, 3, "quality") == "doubt 0.40"
    tip = panel.model.data(index, Qt.ItemDataRole.ToolTipRole)
    assert tip == "case_3: Dice not yet known: accept 5 more"
    for rank, name in enumerate(("case_0", "case_1", "case_2", "case_4", "case_5")):
        facts = {
            "run": "r",
            "uncertainty_kind": "entropy",
            "uncertainty": 0.2 + 0.1 * rank,
            "corrective_dice": 0.9 - 0.1 * rank,
            "changed_voxels": 1234,
        }
        project.note(name, Labelled(minutes=1.0, **facts))
        session.cases_changed.emit({name})
    assert cell(panel, 0, "quality") == "0.90 measured"
    measured = panel.model.index(0, FIELDS.index("quality"))
    tip = panel.model.data(measured, Qt.ItemDataRole.ToolTipRole)
    assert tip.endswith("Dice 0.90, 1,234 voxels changed")
    assert cell(panel, 3, "quality") == "0.70 (0.69\u20130.71)"
    tip = panel.model.data(index, Qt.ItemDataRole.ToolTipRole)
    assert "by 5 predictions that you corrected" in tip


def test_a_flag_is_seen_found_and_read(panel, project, session) -> None:
    flags.flag(project, "case_2", "metal artefact")
    session.cases_changed.emit({"case_2"})
    model = panel.model
    row = next(i for i, item in enumerate(model.rows) if item.id == "case_2")
    index = model.index(row, 0)
    assert "metal artefact" in model.data(index, Qt.ItemDataRole.ToolTipRole)
    panel.search.setText("metal")
    assert panel.table.proxy.rowCount() == 1
    assert panel.table.proxy.index(0, 0).data() == "case_2"
    panel.search.setText("flagged")
    assert panel.table.proxy.rowCount() == 1


def shown(panel: CohortPanel) -> list[str]:
    return panel.table.proxy.ids()


def test_filters_count_the_cases_and_show_one_kind(
    panel: CohortPanel, session: Session, project: Project
) -> None:
    store_prediction(project, "case_0")
    store_prediction(project, "case_1")
    accept(project, ["case_1"])
    flags.flag(project, "case_2", "motion")
    project.set_split("case_3", Split.TEST)
    session.cases_changed.emit(None)
    texts = {kind: one.text() for kind, one in panel.filters.buttons.items()}
    assert texts[""] == "All 4"
    assert not panel.filters.buttons["draft"].isVisibleTo(panel)
    expected = {"proposed": ["case_0"], "unseen": ["case_1"], "flagged": ["case_2"]}
    expected |= {TEST: ["case_3"], "unlabelled": ["case_2", "case_3"]}
    for kind, ids in expected.items():
        assert texts[kind].endswith(str(len(ids)))
        panel.filters.buttons[kind].click()
        assert shown(panel) == ids
        assert f"{len(ids)} of 4 cases" in panel.bar.text.text()
    panel.search.setText("case_3")
    assert shown(panel) == ["case_3"]
    panel.filters.choose("labelled")
    assert not panel.table.isVisibleTo(panel)
    assert panel.note.isVisibleTo(panel)
    assert not panel.filters.buttons["excluded"].isVisibleTo(panel)


def test_esc_in_the_search_shows_all_again(qtbot: QtBot, panel: CohortPanel) -> None:
    with qtbot.waitActive(panel):
        panel.show()
        panel.activateWindow()
    panel.filters.choose("labelled")
    panel.go_to_search()
    panel.search.setText("nothing like it")
    assert shown(panel) == []
    qtbot.keyClick(panel.search, Qt.Key.Key_Escape)
    assert len(shown(panel)) == 4
    assert panel.filters.kind == ""


def test_columns_that_say_nothing_leave_their_room_to_the_names(
    qtbot: QtBot, panel: CohortPanel, session: Session, project: Project
) -> None:
    panel.resize(640, 500)
    panel.show()
    qtbot.waitExposed(panel)
    seen = [f for n, f in enumerate(FIELDS) if not panel.table.isColumnHidden(n)]
    assert seen == ["id", "state", "tick"]
    name = panel.table.columnWidth(0)
    mask = np.zeros(project.case("case_1").geometry.shape_zyx, np.uint8)
    project.set_label("case_1", mask, minutes=2.0)
    store_prediction(project, "case_2")
    project.set_split("case_3", Split.VALIDATION)
    session.cases_changed.emit(None)
    assert not any(map(panel.table.isColumnHidden, range(len(FIELDS))))
    assert panel.table.columnWidth(0) < name
    panel.resize(330, 500)
    qtbot.waitUntil(lambda: panel.table.isColumnHidden(FIELDS.index("minutes")))
    seen = [f for n, f in enumerate(FIELDS) if not panel.table.isColumnHidden(n)]
    assert seen == ["id", "state", "quality", "tick"]
    wide = sum(map(panel.table.columnWidth, range(len(FIELDS))))
    assert wide <= panel.table.viewport().width()
    panel.resize(290, 500)  # no room for more than a number, and no case has one
    qtbot.waitUntil(lambda: panel.table.isColumnHidden(FIELDS.index("quality")))


def test_ticks_by_mouse_space_and_ctrl_a(qtbot: QtBot, panel: CohortPanel) -> None:
    panel.resize(600, 500)
    panel.show()
    qtbot.waitExposed(panel)
    table, model = panel.table, panel.model
    tick = FIELDS.index("tick")

    def click(row: int, modifier: Qt.KeyboardModifier) -> None:
        at = table.visualRect(table.proxy.index(row, tick)).center()
        left = Qt.MouseButton.LeftButton
        qtbot.mouseClick(table.viewport(), left, modifier, at)

    none = Qt.KeyboardModifier.NoModifier
    click(1, none)
    assert table.ticked() == ["case_1"]
    assert "1 ticked of 4" in panel.bar.text.text()
    click(3, Qt.KeyboardModifier.ShiftModifier)
    assert table.ticked() == ["case_1", "case_2", "case_3"]
    click(2, none)
    assert table.ticked() == ["case_1", "case_3"]
    table.select("case_0")
    qtbot.keyClick(table, Qt.Key.Key_Space)
    assert "case_0" in model.checked
    qtbot.keyClick(table, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert model.checked == {f"case_{n}" for n in range(4)}
    qtbot.keyClick(table, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert not model.checked
    assert not any(one.isVisible() for one in panel.bar.buttons.values())


def test_what_is_ticked_but_not_shown_is_left_alone(
    panel: CohortPanel, session: Session
) -> None:
    panel.model.check(["case_1", "case_2"])
    panel.search.setText("case_2")
    assert panel.table.ticked() == ["case_2"]
    exclude = next(verb for verb in VERBS if verb.text == "Exclude")
    panel.verbs.run(exclude, panel.table.ticked())
    states = {case.id: case.state for case in session.cases()}
    assert states["case_2"] is CaseState.EXCLUDED
    assert states["case_1"] is CaseState.UNLABELLED
    panel.search.clear()
    assert panel.table.ticked() == ["case_1", "case_2"]


def test_verbs_reach_the_cases_that_they_can_be_done_to(
    panel: CohortPanel, session: Session, project: Project
) -> None:
    store_prediction(project, "case_0")
    mask = np.zeros(project.case("case_1").geometry.shape_zyx, np.uint8)
    project.set_label("case_1", mask)
    session.cases_changed.emit(None)
    asked: dict[str, list[str]] = {}
    said: list[str] = []
    verbs, keep = panel.verbs, said.append
    session.status_changed.connect(keep)
    verbs.look_requested.connect(lambda ids: asked.update(look=ids))
    verbs.propose_requested.connect(lambda ids: asked.update(propose=ids))
    verbs.export_requested.connect(lambda ids: asked.update(export=ids))
    everything = [f"case_{n}" for n in range(4)]
    panel.model.check(everything)
    for button in panel.bar.buttons.values():
        if not button.text().startswith("Flag"):
            button.click()
    assert asked["look"] == ["case_0"]
    assert asked["propose"] == ["case_0", "case_2", "case_3"]
    panel.model.check(everything, False)
    panel.model.check(["case_3"])
    panel.bar.buttons["Look and accept\u2026"].click()
    assert said[-1] == "Look and accept\u2026: none of these cases is proposed."
    entries = {one.text() for one in panel.menu_for(["case_3"]).actions()}
    assert {"Open", "Propose", "Export masks\u2026", "Exclude", "Use for"} <= entries
    assert "Reopen" not in entries
    next(
        one for one in panel.menu_for(everything).actions() if "Export" in one.text()
    ).trigger()
    assert asked["export"] == everything
    session.status_changed.disconnect(keep)


def test_reopened_labels_come_back_with_undo(
    qtbot: QtBot, panel: CohortPanel, session: Session, project: Project
) -> None:
    mask = np.ones(project.case("case_1").geometry.shape_zyx, np.uint8)
    project.set_label("case_1", mask)
    session.cases_changed.emit(None)
    offers: list[tuple[object, ...]] = []
    session.offered.connect(keep := lambda *offer: offers.append(offer))
    reopen = next(verb for verb in VERBS if verb.text == "Reopen")
    panel.verbs.run(reopen, ["case_0", "case_1"])
    qtbot.waitUntil(lambda: len(offers) == 1, timeout=20_000)
    assert offers[0][0] == "Reopened 1 case"
    assert cell(panel, 1, "state") == "unlabelled"
    offers[0][2]()
    assert cell(panel, 1, "state") == "labelled"
    assert np.array_equal(project.case("case_1").read_label(), mask)
    session.offered.disconnect(keep)


def test_the_worst_of_what_waits_comes_first_by_quality(
    panel: CohortPanel, session: Session, predict: Callable[[str, float], None]
) -> None:
    store_prediction(session.project, "case_1")
    predict("case_2", 0.1)
    session.project.set_label("case_0", np.zeros((10, 12, 14), np.uint8))
    session.cases_changed.emit(None)
    panel.table.sortByColumn(FIELDS.index("quality"), Qt.SortOrder.AscendingOrder)
    assert shown(panel)[:2] == ["case_2", "case_1"]  # empty, then doubtful
    assert cell(panel, 0, "quality") == "empty"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_states_can_be_read_in_both_themes(theme: str) -> None:
    found = colours(theme)
    for kind in KINDS.values():
        assert contrast(found["chip_text"], tint(kind.colour)) >= 8
        assert contrast(kind.colour, tint(kind.colour)) >= 3
        drawn = readable(kind.colour, found["background"])
        assert contrast(drawn, found["background"]) >= 3


def test_tab_goes_from_the_tools_by_the_filters_to_the_table_and_the_bar(
    qtbot: QtBot, panel: CohortPanel
) -> None:
    panel.resize(640, 500)
    panel.model.check(["case_0"])
    with qtbot.waitActive(panel):
        panel.show()
        panel.activateWindow()
    panel.add_button.setFocus()
    order = [panel.add_button]
    while True:
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        if QApplication.focusWidget() is panel.add_button:
            break
        order.append(QApplication.focusWidget())
    bar = panel.bar
    assert order == [
        panel.add_button,
        panel.masks_button,
        panel.search,
        panel.width_button,
        panel.filters.buttons[""],
        panel.table,
        *bar.buttons.values(),
        bar.use,
        bar.more,
    ]
    assert all(one.accessibleName() for one in order)
    chosen: list[str] = []
    panel.filters.chosen.connect(chosen.append)
    panel.filters.buttons[""].setFocus()
    qtbot.keyClick(panel.filters.buttons[""], Qt.Key.Key_Right)
    assert QApplication.focusWidget() is panel.filters.buttons["unlabelled"]
    assert chosen == ["unlabelled"]
