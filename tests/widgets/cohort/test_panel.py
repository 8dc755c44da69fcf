from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.project.cases.history import Labelled, Viewed
from napari_semiseg.project.review import flags
from napari_semiseg.project.review.accept import accept
from napari_semiseg.widgets.cohort.model import COLUMNS, SPLIT_COLUMN
from napari_semiseg.widgets.cohort.panel import CohortPanel
from widgets.viewing import store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session

FIELDS = [field for _, field, _ in COLUMNS]


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
    assert "4 cases, 0 labelled" in panel.summary.text()


def test_state_has_a_dot_beside_the_word(panel: CohortPanel) -> None:
    index = panel.model.index(0, FIELDS.index("state"))
    icon = panel.model.data(index, Qt.ItemDataRole.DecorationRole)
    assert not icon.isNull()


def test_minutes_of_all_sittings_are_summed(
    panel: CohortPanel, session: Session, project: Project
) -> None:
    mask = np.zeros(project.case("case_1").geometry.shape_zyx, np.uint8)
    for minutes in (2.5, 1.0):
        project.set_label("case_1", mask, minutes=minutes)
    session.cases_changed.emit({"case_1"})
    assert cell(panel, 1, "minutes") == "3.5"
    assert cell(panel, 1, "state") == "labelled"
    assert cell(panel, 0, "minutes") == "-"


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
    panel.filter.setText("unlabelled")
    assert panel.table.proxy.rowCount() == 3
    panel.filter.setText("CASE_3")
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
    panel.open_button.click()
    assert asked[:2] == ["case_2", "case_1"]


def test_enter_in_the_filter_opens_the_first_match(
    qtbot: QtBot, panel: CohortPanel, session: Session
) -> None:
    asked: list[str] = []

    def keep(case_id: str) -> None:
        asked.append(case_id)

    session.case_requested.connect(keep)
    panel.filter.setText("_3")
    qtbot.keyClick(panel.filter, Qt.Key.Key_Return)
    assert asked == ["case_3"]


def test_the_last_corrective_dice_is_shown(
    panel: CohortPanel, session: Session, project: Project
) -> None:
    mask = np.zeros(project.case("case_1").geometry.shape_zyx, np.uint8)
    for dice in (0.5, 0.8123):
        project.set_label("case_1", mask, details={"corrective_dice": dice})
    project.set_label("case_1", mask)
    session.cases_changed.emit({"case_1"})
    assert cell(panel, 1, "dice") == "0.81"


def test_exclude_and_include_again(panel: CohortPanel, session: Session) -> None:
    panel.set_excluded(["case_0", "case_1"], True)
    assert cell(panel, 0, "state") == "excluded"
    titles = [action.text() for action in panel.menu_for(["case_0"]).actions()]
    assert "Include again" in titles
    assert "Exclude" not in titles
    panel.set_excluded(["case_0"], False)
    assert session.cases()[0].state is CaseState.UNLABELLED
    assert session.cases()[1].state is CaseState.EXCLUDED


def test_split_is_set_from_the_menu(panel: CohortPanel, session: Session) -> None:
    assert panel.table.isColumnHidden(SPLIT_COLUMN)
    panel.set_split(["case_3"], Split.TEST)
    assert not panel.table.isColumnHidden(SPLIT_COLUMN)
    assert cell(panel, 3, "split") == "test"
    assert session.cases()[3].split is Split.TEST


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
    qtbot: QtBot, panel: CohortPanel, images: list[Path]
) -> None:
    new = images[0].with_name("case_9.nii.gz")
    shutil.copy(images[0], new)
    panel.add_images([new])
    qtbot.waitUntil(lambda: panel.model.rowCount() == 5, timeout=10_000)
    assert cell(panel, 4, "id") == "case_9"


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
    assert cell(panel, 3, "uncertainty") == "0.25"
    assert cell(panel, 3, "state") == "proposed"


def test_accepted_unseen_is_shown_in_words(
    panel: CohortPanel, session: Session, project: Project
) -> None:
    store_prediction(project, "case_1")
    accept(project, ["case_1"])
    session.cases_changed.emit({"case_1"})
    assert cell(panel, 1, "state") == "accepted unseen"
    assert "0 labelled, 1 accepted unseen" in panel.summary.text()
    index = panel.model.index(1, FIELDS.index("state"))
    tip = panel.model.data(index, Qt.ItemDataRole.ToolTipRole)
    assert "nobody had opened" in tip
    panel.filter.setText("unseen")
    assert panel.table.proxy.rowCount() == 1


def test_accepted_unverified_is_shown_in_words(
    panel: CohortPanel, session: Session, project: Project
) -> None:
    run = store_prediction(project, "case_1")
    shown = {"run": run.id, "step": 5, "viewed_fraction": 0.1}
    project.note("case_1", Viewed(**shown))
    accept(project, ["case_1"])
    session.cases_changed.emit({"case_1"})
    assert cell(panel, 1, "state") == "accepted unverified"
    assert cell(panel, 1, "dice") == "-"
    assert "0 labelled, 1 accepted unverified" in panel.summary.text()


def test_dice_is_estimated_once_enough_was_corrected(
    panel: CohortPanel, session: Session, project: Project, images: list[Path]
) -> None:
    for number in range(4, 8):
        shutil.copy(images[0], images[0].with_name(f"case_{number}.nii.gz"))
    project.add(images[0].parent)
    store_prediction(project, "case_3")
    session.cases_changed.emit(None)
    index = panel.model.index(3, FIELDS.index("dice"))
    assert cell(panel, 3, "dice") == "-"
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
    assert cell(panel, 0, "changed") == "1.23k"
    assert cell(panel, 0, "dice") == "0.90"
    assert cell(panel, 3, "dice") == "~0.70 (0.69 to 0.71)"  # its uncertainty is 0.4
    tip = panel.model.data(index, Qt.ItemDataRole.ToolTipRole)
    assert "by 5 predictions that you corrected" in tip


def test_a_flag_is_seen_found_and_read(panel, project, session) -> None:
    flags.flag(project, "case_2", "metal artefact")
    session.cases_changed.emit({"case_2"})
    model = panel.model
    row = next(i for i, item in enumerate(model.rows) if item.id == "case_2")
    index = model.index(row, 0)
    assert not model.data(index, Qt.ItemDataRole.DecorationRole).isNull()
    assert model.data(model.index(0, 0), Qt.ItemDataRole.DecorationRole) is None
    assert "metal artefact" in model.data(index, Qt.ItemDataRole.ToolTipRole)
    panel.filter.setText("metal")
    assert panel.table.proxy.rowCount() == 1
    assert panel.table.proxy.index(0, 0).data() == "case_2"
    panel.filter.setText("flagged")
    assert panel.table.proxy.rowCount() == 1
