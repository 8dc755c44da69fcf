from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QPointF, Qt

from napari_semiseg.project.cases.history import Viewed
from napari_semiseg.project.review.accept import accept
from napari_semiseg.widgets.progress.panel import NOTHING_YET, ProgressPanel
from widgets.viewing import store_prediction

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session


@pytest.fixture
def panel(qtbot: QtBot, session: Session) -> ProgressPanel:
    made = ProgressPanel(session)
    made.resize(440, 760)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    return made


def correct(project: Project, session: Session, name: str, minutes: float) -> None:
    """Shift a stored prediction by a voxel and accept it."""
    run = store_prediction(project, name)
    case = project.case(name)
    labels = run.read_prediction(name, case.geometry).labels
    labels[:, :, 4] = 0
    project.set_label(name, labels, minutes=minutes, details={"seen": True})
    session.cases_changed.emit({name})


def test_an_empty_page_says_what_will_be_there(panel: ProgressPanel) -> None:
    assert panel.words.text() == NOTHING_YET
    assert not panel.dice.isVisible()
    assert "accept 5 more" in panel.known.text()


def test_each_correction_is_a_point_in_three_plots(
    panel: ProgressPanel, project: Project, session: Session
) -> None:
    for name, minutes in (("case_1", 3.0), ("case_0", 2.0)):
        correct(project, session, name, minutes)
    assert panel.dice.isVisible()
    values = [
        [(spot.data(), round(spot.pos().y(), 3)) for spot in plot.points[0].points()]
        for plot in panel.plots
    ]
    dice = round(2 * 60 / (60 + 80), 3)  # 4 x 5 x 4 voxels, a column of 20 taken away
    assert values == [
        [("case_1", dice), ("case_0", dice)],
        [("case_1", 3.0), ("case_0", 2.0)],
        [("case_1", 0.02), ("case_0", 0.02)],
    ]
    assert panel.agreement.value.text() == f"{dice:.2f}"
    assert panel.agreement.unit.text() == "Dice, mean of the last 2 corrections"
    assert panel.minutes_per_case.value.text() == "2.5 min"
    assert (panel.left.value.text(), panel.left.unit.text()) == (
        "2 scans",
        "about 5 min at this pace",
    )
    assert "accept 3 more" in panel.known.text()


def test_a_click_on_a_point_opens_its_case(
    panel: ProgressPanel, project: Project, session: Session, qtbot: QtBot
) -> None:
    asked: list[str] = []
    keep = asked.append
    session.case_requested.connect(keep)
    for name in ("case_0", "case_1", "case_2"):
        correct(project, session, name, 2.0)
    qtbot.wait(200)
    plot = panel.minutes._plot
    box = plot.getPlotItem().getViewBox()
    spot = panel.minutes.points[0].points()[1]
    scene = box.mapViewToScene(QPointF(spot.pos()))
    at = plot.mapFromScene(scene)
    qtbot.mouseMove(plot.viewport(), at)
    qtbot.mouseClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=at)
    qtbot.waitUntil(lambda: asked == ["case_1"], timeout=5000)


def test_a_plateau_is_shown_with_a_button_to_predict(
    panel: ProgressPanel, project: Project, session: Session
) -> None:
    asked: list[str] = []

    def keep() -> None:
        asked.append("predict")

    panel.predict_requested.connect(keep)
    for minutes in (5.0, 0.5, 0.4, 0.3, 0.2):
        correct(project, session, "case_0", minutes)
    assert panel.words.isHidden()
    correct(project, session, "case_1", 0.5)
    assert panel.minutes_per_case.unit.text() == "the first 5 took 1.3 min"
    words = "The last 5 cases needed under 1 minute each: predict the rest?"
    assert words in panel.words.text()
    assert session.plateau() == words
    panel.predict_button.click()
    assert asked == ["predict"]
    for name in ("case_2", "case_3"):
        store_prediction(project, name)
    session.cases_changed.emit(None)
    assert "accept the rest together?" in panel.words.text()


def test_what_nobody_saw_is_counted_apart(
    panel: ProgressPanel, project: Project, session: Session
) -> None:
    store_prediction(project, "case_2")
    accept(project, ["case_2"])
    session.cases_changed.emit({"case_2"})
    assert panel.words.text() == NOTHING_YET
    assert "1 prediction was accepted unseen" in panel.known.text()


def test_looking_without_accepting_is_no_point(
    panel: ProgressPanel, project: Project, session: Session
) -> None:
    project.note("case_0", Viewed(minutes=3.0))
    session.cases_changed.emit({"case_0"})
    assert panel.words.text() == NOTHING_YET


def test_many_predictions_open_in_one_window(
    panel: ProgressPanel, project: Project, qtbot: QtBot
) -> None:
    store_prediction(project, "case_2")
    panel.accept_button.click()
    gallery = panel.gallery
    assert gallery is not None
    qtbot.waitUntil(lambda: len(gallery.model.rows) == 1, timeout=20_000)
    panel.accept_several()
    assert panel.gallery is gallery
    gallery.close()
    assert panel.gallery is None
