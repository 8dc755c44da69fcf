"""First steps, tooltips, and a small screen."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QScrollBar,
    QTabBar,
)

from napari_semiseg.core.events import Finished, Started
from napari_semiseg.project.project import Project
from napari_semiseg.widgets.common.preferences import setting
from napari_semiseg.widgets.dock import TABS, SemisegDock
from napari_semiseg.widgets.project.guide import (
    DONE,
    LOAD,
    MARK,
    REVIEW,
    SAMPLE_AUTHOR,
    SAMPLE_MINUTES,
    SAMPLE_NAME,
    TRAIN,
    TRAINING,
)
from widgets.conftest import SHAPE
from widgets.viewing import store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QWidget

SMALL = (1366, 768)
INNER = QAbstractSpinBox | QComboBox | QLineEdit | QTabBar
"""What these are made of needs no tooltip of its own."""


@pytest.fixture
def sample(tmp_path: Path, images: list[Path]) -> Project:
    """A project as the sample cohort makes it, with one label."""
    made = Project.create(tmp_path / "sample", {"ventricles": 1}, name=SAMPLE_NAME)
    made.add(*images)
    made.set_label("case_0", np.ones(SHAPE, np.uint8), by=SAMPLE_AUTHOR)
    return made


@pytest.fixture
def dock(make_napari_viewer: Callable[..., Any], qtbot: QtBot) -> Iterator[SemisegDock]:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(*SMALL)
    made = SemisegDock(viewer)
    viewer.window.add_dock_widget(made, name="Semiseg", area="right")
    yield made
    made.shut_down()
    viewer.close()
    del made, viewer
    qtbot.wait(300)
    gc.collect()


def test_the_guide_goes_from_loading_to_reviewing(
    dock: SemisegDock, sample: Project, qtbot: QtBot
) -> None:
    guide = dock.guide
    assert guide.step is LOAD
    assert not guide.isVisible()
    dock.open_project(sample.folder)
    assert guide.isVisible()
    assert guide.step is MARK
    guide.button.click()
    assert dock.session.case_id == "case_1"
    assert dock.tabs.currentIndex() == TABS.index("Review")
    label = np.zeros(SHAPE, np.uint8)
    label[5, 5, 5] = 1
    dock.case_view.mask.put(dock.case_view.editing.encoding.fill(label + 255, label))
    dock.case_view.mask.put(label)
    assert dock.case_view.accept()
    assert guide.step is TRAIN
    assert "\u2713\u00a0Label" in guide.path.text()
    guide.button.click()
    assert dock.tabs.tabText(dock.tabs.currentIndex()) == "Train"
    form, button = dock.training.form, dock.training.start_button
    assert form.minutes.value() == SAMPLE_MINUTES
    assert f"{SAMPLE_MINUTES} min" in guide.button.text()
    assert button.text() == f"Start training, {SAMPLE_MINUTES} min"
    run = store_prediction(sample, "case_2")  # as yet, no model
    run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
    dock.session.runs_changed.emit()
    assert guide.step is TRAINING
    assert "\u2713\u00a0Train" not in guide.path.text()
    for reason, model in (("failed", False), ("failed", True), ("completed", False)):
        run.append(Finished(run=run.id, reason=reason, step=5, seconds=60))
        if model:
            run.folder.last.parent.mkdir(exist_ok=True)
            run.folder.last.touch()
        else:
            run.folder.last.unlink(missing_ok=True)
        dock.session.runs_changed.emit()
        assert guide.step is TRAIN
    run.folder.last.touch()
    dock.session.runs_changed.emit()
    assert guide.step is REVIEW
    guide.button.click()
    assert dock.session.case_id == "case_2"
    assert dock.case_view.accept()
    assert guide.step is DONE
    assert guide.path.text().count("\u2713") == 4


def test_the_guide_is_put_away_for_good_and_brought_back(
    dock: SemisegDock,
    sample: Project,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guide = dock.guide
    dock.open_project(sample.folder)
    assert guide.isVisible()
    guide.hide_button.click()
    assert not guide.isVisible()
    assert not setting("first_steps")
    dock.open_project(sample.folder)
    assert not guide.isVisible()
    guide.bring_back()
    assert guide.isVisible()
    dock.open_project(project.folder)
    assert not guide.isVisible()
    asked: list[bool] = []
    monkeypatch.setattr(SemisegDock, "open_sample", lambda _: asked.append(True))
    guide.bring_back()
    assert asked == [True]


def controls(inside: QWidget) -> list[QWidget]:
    kinds = (QAbstractButton, QComboBox, QAbstractSpinBox, QAbstractSlider, QLineEdit)
    found = [one for kind in kinds for one in inside.findChildren(kind)]
    return [
        one
        for one in found
        if not isinstance(one, QScrollBar)
        and not one.objectName().startswith("qt_")
        and not isinstance(one.parentWidget(), INNER)
    ]


def test_everything_says_what_it_is_for(dock: SemisegDock, sample: Project) -> None:
    store_prediction(sample, "case_1")
    dock.open_project(sample.folder)
    dock.session.case_requested.emit("case_1")
    sheet = dock.review.shortcut_sheet()
    every = [*controls(dock), *controls(dock.review.view_bar)]
    assert sheet.fields["accept"] in every
    assert len(every) > 80
    silent = [(type(one).__name__, name_of(one)) for one in every if not one.toolTip()]
    nameless = [
        (type(one).__name__, one.toolTip(), type(one.parentWidget()).__name__)
        for one in every
        if not one.isHidden() and not name_of(one)
    ]
    assert not silent
    assert not nameless
    sheet.deleteLater()


def name_of(one: QWidget) -> str:
    """What a screen reader says of a control; empty where that is no word."""
    words = [one.accessibleName()]
    if isinstance(one, QAbstractButton):
        words.append(one.text())
    labels = one.window().findChildren(QLabel)
    words += [label.text() for label in labels if label.buddy() is one]
    return next((text for text in words if any(c.isalpha() for c in text)), "")


def test_a_small_screen_holds_all_of_it(
    dock: SemisegDock, sample: Project, qtbot: QtBot
) -> None:
    store_prediction(sample, "case_1")
    dock.open_project(sample.folder)
    dock.session.case_requested.emit("case_1")
    canvases = dock.case_view.canvases
    qtbot.waitUntil(lambda: not canvases._settle.isActive(), timeout=20_000)
    window = dock.window()
    assert (window.width(), window.height()) == SMALL
    for index in range(dock.tabs.count()):
        dock.tabs.setCurrentIndex(index)
        qtbot.wait(50)
        page = dock.tabs.widget(index)
        area = dock.review.scroll_area if page is dock.review else page
        panel = area.widget()
        assert panel.width() <= area.viewport().width()
        hidden = panel.height() - area.viewport().height()
        assert area.verticalScrollBar().maximum() >= hidden
        for button in panel.findChildren(QAbstractButton):
            if button.isVisibleTo(panel) and button.text():
                assert button.width() >= button.minimumSizeHint().width() - 2
    assert dock.mapTo(window, dock.rect().bottomRight()).y() <= SMALL[1]
