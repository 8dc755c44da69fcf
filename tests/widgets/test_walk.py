"""The whole loop on real scans, as a person does it with keyboard and mouse.

Pictures of every stage are kept in ``test-artefacts/walk``, or where
SEMISEG_ARTEFACTS says. SEMISEG_PATIENCE=4 waits four times as long for everything.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import nibabel
import numpy as np
import pytest
from pyqtgraph import PlotWidget
from qtpy.QtCore import QObject, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QFileDialog, QPushButton

from napari_semiseg.core.case import CaseState
from napari_semiseg.plugin import open_panel
from napari_semiseg.project.store import Project
from napari_semiseg.widgets.compat import canvas_widget
from widgets.viewing import Answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QWidget

    from napari_semiseg.project.runs import Run
    from napari_semiseg.widgets.dock import SemisegDock

PATIENCE = float(os.environ.get("SEMISEG_PATIENCE", "1"))

pytestmark = [
    pytest.mark.gui,
    pytest.mark.engine,
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.timeout(400 * PATIENCE),
]

ROOT = Path(__file__).parents[2]
SIZE = (1600, 960)
LABELLED, UNLABELLED = 2, 3
TRAIN_S = 15.0
LONGEST_STALL_S = 1.0
BEAT_MS = 20
STROKE_MS = 20
SOON_MS, LATER_MS, LONG_MS = (int(s * 1000 * PATIENCE) for s in (20, 60, 120))
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
CONTROL, SHIFT = (
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.ShiftModifier,
)


@pytest.fixture(autouse=True)
def fake_engine() -> None:
    """The real engine answers here, in a child process."""


@pytest.fixture
def window(make_napari_viewer: Callable[..., Any], qtbot: QtBot) -> Iterator[None]:
    """A napari window, which Qt has the time to delete afterwards."""
    make_napari_viewer(show=True)
    yield
    viewer = napari.current_viewer()
    assert viewer is not None
    viewer.close()
    del viewer
    qtbot.wait(300)
    gc.collect()


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set aside what tests of the engine imported into this process before."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "torch":
            monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def atria(tmp_path: Path) -> Project:
    """Five scans of the left atrium, two with the reference masks."""
    default = ROOT.parent / "shared" / "data"
    folder = Path(os.environ.get("SEMISEG_DATA", default)) / "LA"
    if not folder.is_dir():
        pytest.skip(f"the real volumes are absent: no folder {folder}")
    names = (folder / "splits" / "dev_train.list").read_text(encoding="utf-8").split()
    names = names[: LABELLED + UNLABELLED]
    made = Project.create(tmp_path / "atria", {"left atrium": 1})
    made.add(*(folder / "imagesTr" / f"{name}.nii.gz" for name in names))
    for name in names[:LABELLED]:
        made.set_label(name, folder / "labelsTr" / f"{name}.nii.gz")
    return made


def tell(words: str) -> None:
    sys.stdout.write(f"\n{words}\n")


class Heartbeat(QObject):
    """Measures how long the event loop was ever kept from a timer of 20 ms.

    Attributes
    ----------
    worst : float
        The longest gap, s.
    own : float
        The longest without the time that other programs had the processor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.worst = self.own = 0.0
        self._last, self._waited = time.perf_counter(), queued_s()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(BEAT_MS)

    def _beat(self) -> None:
        now, waited = time.perf_counter(), queued_s()
        self.worst = max(self.worst, now - self._last)
        self.own = max(self.own, now - self._last - (waited - self._waited))
        self._last, self._waited = now, waited

    def stop(self) -> None:
        self._timer.stop()


def queued_s() -> float:
    """Seconds that this thread was ready to run and had to wait; 0 where unknown."""
    try:
        stat = Path("/proc/thread-self/schedstat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(stat.split()[1]) / 1e9


class Person:
    """Looks at the window, and has a mouse and a keyboard."""

    def __init__(self, viewer: Any, qtbot: QtBot) -> None:
        self.viewer = viewer
        self.qtbot = qtbot
        self.window = viewer.window._qt_window
        self.window.setGeometry(0, 0, *SIZE)
        self.panel: SemisegDock = open_panel(viewer)
        self.answers = Answers()
        self.panel.case_view.questions = self.answers
        self.canvas: QWidget = canvas_widget(viewer.window._qt_viewer)
        self._pictures = Path(
            os.environ.get("SEMISEG_ARTEFACTS", ROOT / "test-artefacts" / "walk")
        )
        self._pictures.mkdir(parents=True, exist_ok=True)

    def wait_for(self, what: Callable[[], object], within_ms: int = SOON_MS) -> None:
        self.qtbot.waitUntil(lambda: bool(what()), timeout=within_ms)

    def click(self, widget: QWidget, at: QPoint | None = None) -> None:
        assert widget.isVisible()
        assert widget.isEnabled()
        QTest.mouseClick(widget, LEFT, NONE, at or widget.rect().center())

    def button(self, text: str, inside: QWidget) -> QPushButton:
        return next(
            button
            for button in inside.findChildren(QPushButton)
            if button.text() == text
        )

    def tab(self, title: str) -> None:
        tabs = self.panel.tabs
        titles = [tabs.tabText(index) for index in range(tabs.count())]
        self.click(tabs.tabBar(), tabs.tabBar().tabRect(titles.index(title)).center())
        assert tabs.tabText(tabs.currentIndex()) == title

    def press(self, key: Qt.Key, modifier: Qt.KeyboardModifier = NONE) -> None:
        QTest.keyClick(self.canvas, key, modifier)

    def retype(self, field: QWidget, text: str) -> None:
        field.setFocus()
        QTest.keyClick(field, Qt.Key.Key_A, CONTROL)
        QTest.keyClicks(field, text)
        QTest.keyClick(field, Qt.Key.Key_Tab)

    def open_case(self, case_id: str) -> None:
        """Double-click its row in the table."""
        self.tab("Cohort")
        table = self.panel.cohort.table
        rows = range(table.proxy.rowCount())
        row = next(n for n in rows if table.proxy.index(n, 0).data() == case_id)
        at = table.visualRect(table.proxy.index(row, 1)).center()
        self.click(table.viewport(), at)
        QTest.mouseDClick(table.viewport(), LEFT, NONE, at)
        self.wait_for(lambda: self.panel.session.case_id == case_id)

    def drag(self, path: Sequence[tuple[float, float]]) -> None:
        """Draw with the left button from place to place, in shares of the canvas."""
        places = [
            QPoint(int(x * self.canvas.width()), int(y * self.canvas.height()))
            for x, y in path
        ]
        QTest.mouseMove(self.canvas, places[0])
        QTest.mousePress(self.canvas, LEFT, NONE, places[0])
        for begin, end in pairwise(places):
            for share in np.linspace(0, 1, 12)[1:]:
                self._move(QPointF(begin) + share * QPointF(end - begin))
                self.qtbot.wait(STROKE_MS)
        QTest.mouseRelease(self.canvas, LEFT, NONE, places[-1])
        self.qtbot.wait(50)

    def _move(self, to: QPointF) -> None:
        moved = QMouseEvent(
            QMouseEvent.Type.MouseMove,
            to,
            QPointF(self.canvas.mapToGlobal(to.toPoint())),
            Qt.MouseButton.NoButton,
            LEFT,
            NONE,
        )
        QApplication.sendEvent(self.canvas, moved)

    def picture(self, name: str, of: QWidget | None = None) -> None:
        """Keep what is to be seen."""
        self.qtbot.wait(300)
        shot = (of or self.window).grab()
        assert shot.save(str(self._pictures / f"{name}.png"))


def test_open_paint_train_review_correct_accept_export(
    window: None,
    atria: Project,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    no_torch: None,
) -> None:
    began = time.perf_counter()
    person = Person(napari.current_viewer(), qtbot)
    waiting = [case.id for case in atria.cases(state=CaseState.UNLABELLED)]
    open_project(person, atria, monkeypatch)
    paint_and_accept(person, atria, waiting[0])
    start_training(person)
    watch_curves(person)
    run = stop_training(person, atria)
    predict(person, run, waiting)
    look_at_three_canvases(person, waiting[1])
    mask = correct_and_accept(person, atria, run, waiting[1])
    assert_label_on_disk(atria, waiting[1], mask)
    undo_writes_nothing(person, waiting[1])
    export(person, atria, tmp_path / "out")
    assert person.answers.asked == []
    assert "torch" not in sys.modules
    tell(f"walked in {time.perf_counter() - began:.0f} s")


def open_project(
    person: Person, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    person.picture("01-start")
    chosen = str(project.folder)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: chosen)
    panel = person.panel
    person.click(person.button("Open project…", panel.start_page))
    person.wait_for(lambda: panel.cohort.model.rowCount() == LABELLED + UNLABELLED)
    assert panel.status.text().startswith("2 cases labelled")
    person.picture("02-cohort")


def paint_and_accept(person: Person, project: Project, case_id: str) -> None:
    """Paint two slices of a case by hand and accept those."""
    person.open_case(case_id)
    view = person.panel.case_view
    person.press(Qt.Key.Key_1)
    assert view.mask.mode == "paint"
    assert (view.mask.data == 255).all()
    first = view.slice_index
    for index in (first, first + 1):
        assert view.slice_index == index
        person.drag([(0.45, 0.45), (0.55, 0.45), (0.55, 0.55), (0.46, 0.54)])
        painted = np.flatnonzero((view.mask.data == 1).any(axis=(1, 2)))
        assert painted.tolist() == list(range(first, index + 1))
        person.press(Qt.Key.Key_D)
        assert view.editing.is_done(0, index)
        person.press(Qt.Key.Key_Right)
    person.press(Qt.Key.Key_Left)
    assert np.count_nonzero(view.mask.data == 1) > 300
    person.picture("03-painted")
    person.press(Qt.Key.Key_A, SHIFT)
    case = project.case(case_id)
    assert case.state is CaseState.PARTIAL
    label = case.read_label()
    assert np.unique(label[first : first + 2]).tolist() == [0, 1]
    assert (np.delete(label, [first, first + 1], axis=0) == 255).all()


def start_training(person: Person) -> None:
    person.tab("Train")
    training = person.panel.training
    form = training.form
    person.wait_for(lambda: form.method.findData("supervised") >= 0, LATER_MS)
    form.method.setFocus()
    title = form.method.itemText(form.method.findData("supervised"))
    QTest.keyClicks(form.method, title)
    person.retype(form.minutes, "1")
    config = form.value()
    assert (config.method, config.minutes) == ("supervised", 1)
    person.wait_for(training.start_button.isEnabled)
    person.click(training.start_button)


def drawn_steps(person: Person) -> list[float]:
    """Steps at which the plot of the losses has points now."""
    plot = person.panel.training.progress.losses.findChild(PlotWidget)
    steps = [item.getOriginalDataset()[0] for item in plot.listDataItems()]
    return [] if not steps or steps[0] is None else list(steps[0])


def watch_curves(person: Person) -> None:
    """See the curves grow while nothing in the window stands still."""
    heart = Heartbeat()
    person.wait_for(lambda: len(drawn_steps(person)) > 0, LONG_MS)
    seen, end = [drawn_steps(person)], time.perf_counter() + TRAIN_S
    while time.perf_counter() < end or len(seen[-1]) < 5:
        person.qtbot.wait(1000)
        seen.append(drawn_steps(person))
        assert time.perf_counter() < end + LATER_MS / 1000
    heart.stop()
    tell(
        f"largest gap of a {BEAT_MS} ms timer while training: {heart.worst:.2f} s, "
        f"{heart.own:.2f} s without waiting for a processor"
    )
    assert len(seen[-1]) > len(seen[0])
    assert all(len(a) <= len(b) for a, b in pairwise(seen))
    assert (np.diff(seen[-1]) > 0).all()
    assert heart.own < LONGEST_STALL_S
    person.picture("04-training")


def stop_training(person: Person, project: Project) -> Run:
    training = person.panel.training
    person.click(training.stop_button)
    person.wait_for(lambda: not training.monitor.active, LONG_MS)
    run = project.latest_run()
    assert run is not None
    assert run.status == "cancelled"
    assert run.steps_done > 0
    assert f"Stopped at step {run.steps_done}" in training.progress.text.text()
    person.picture("05-stopped")
    return run


def predict(person: Person, run: Run, cases: Sequence[str]) -> None:
    training = person.panel.training
    person.click(training.predict_button)
    person.wait_for(lambda: not training.monitor.active, LONG_MS)
    assert set(run.predicted()) == set(cases)
    person.tab("Cohort")
    states = {row.id: row.state for row in person.panel.cohort.model.rows}
    assert [states[case_id] for case_id in cases] == [
        CaseState.PARTIAL,
        CaseState.PROPOSED,
        CaseState.PROPOSED,
    ]
    person.picture("06-predicted")


def look_at_three_canvases(person: Person, case_id: str) -> None:
    person.open_case(case_id)
    canvases = person.panel.case_view.canvases
    person.wait_for(lambda: canvases.shown and not canvases._settle.isActive())
    views = canvases.views
    assert views is not None
    person.picture("07-three-canvases")
    widths = [person.canvas.width()]
    shots = {"main": person.viewer.window._qt_viewer.screenshot(flash=False)}
    for name, side in (("distance", views.distance), ("doubt", views.doubt)):
        widths.append(canvas_widget(side.view).width())
        shots[name] = side.view.screenshot(flash=False)
    assert max(widths) - min(widths) < 30
    for shot in shots.values():
        assert shot[..., :3].std() > 10
    for name in ("distance", "doubt"):
        assert coloured(shots[name]) > 0.01


def coloured(shot: np.ndarray[Any, Any]) -> float:
    """Share of the pixels that are no grey."""
    values = shot[..., :3].astype(int)
    return float((np.ptp(values, axis=-1) > 8).mean())


def correct_and_accept(
    person: Person, project: Project, run: Run, case_id: str
) -> np.ndarray[Any, Any]:
    """Paint into the proposal, accept it and go on, all by key and mouse."""
    view = person.panel.case_view
    proposed = view.editing.whole()
    assert np.array_equal(
        proposed, run.read_prediction(case_id, project.case(case_id).geometry).labels
    )
    person.press(Qt.Key.Key_W)
    while view.viewer.dims.order[0] != 0:
        person.press(Qt.Key.Key_Q)
    person.press(Qt.Key.Key_1)
    person.press(Qt.Key.Key_P)
    person.drag([(0.1, 0.45), (0.9, 0.45)])
    person.press(Qt.Key.Key_E)
    person.drag([(0.1, 0.55), (0.9, 0.55)])
    person.press(Qt.Key.Key_P)
    corrected = view.editing.whole()
    assert (corrected != proposed).any()
    person.wait_for(lambda: "not saved" in person.panel.review.saved.text())
    person.picture("08-corrected")
    person.press(Qt.Key.Key_N)
    person.wait_for(lambda: person.panel.session.case_id != case_id)
    assert project.case(case_id).state is CaseState.LABELLED
    row = next(row for row in person.panel.cohort.model.rows if row.id == case_id)
    details = project.case(case_id).record.history[-1].details
    both = np.count_nonzero(proposed) + np.count_nonzero(corrected)
    dice = 2 * np.count_nonzero(proposed & corrected) / both
    assert row.state is CaseState.LABELLED
    assert row.dice == details["corrective_dice"] == pytest.approx(dice, abs=1e-3)
    assert details["run"] == run.id
    return corrected


def assert_label_on_disk(
    project: Project, case_id: str, mask: np.ndarray[Any, Any]
) -> None:
    case = project.case(case_id)
    source, stored = (
        nibabel.load(case.image),
        nibabel.load(project.layout.case(case_id).label),
    )
    assert stored.shape == source.shape
    assert np.array_equal(stored.affine, source.affine)
    assert stored.header["sform_code"] == source.header["sform_code"]
    assert stored.header["qform_code"] == source.header["qform_code"]
    assert stored.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(stored.dataobj), case.geometry.to_native(mask))


def undo_writes_nothing(person: Person, before: str) -> None:
    """Ctrl+Z after the change of case leaves the new mask alone."""
    view = person.panel.case_view
    assert view.case is not None
    assert view.case.id != before
    opened = view.mask.data.copy()
    for _ in range(3):
        person.press(Qt.Key.Key_Z, CONTROL)
    assert np.array_equal(view.mask.data, opened)
    assert not view.dirty
    person.drag([(0.1, 0.5), (0.9, 0.5)])
    assert not np.array_equal(view.mask.data, opened)
    person.press(Qt.Key.Key_Z, CONTROL)
    assert np.array_equal(view.mask.data, opened)
    person.picture("09-next-case")


def export(person: Person, project: Project, folder: Path) -> None:
    """Fill the dialog and look at what it wrote."""
    seen: list[str] = []

    def fill() -> None:
        dialog = QApplication.activeModalWidget()
        if dialog is None:
            QTimer.singleShot(100, fill)
            return
        seen.append(dialog.windowTitle())
        person.retype(dialog.folder, str(folder))
        person.picture("10-export", dialog)
        buttons = dialog.findChild(QDialogButtonBox)
        QTest.mouseClick(buttons.button(QDialogButtonBox.StandardButton.Ok), LEFT)

    person.tab("Review")
    QTimer.singleShot(100, fill)
    person.click(person.button("Export…", person.panel.review))
    assert seen == ["Export masks"]
    person.wait_for(lambda: "Wrote" in person.panel.status.text(), LATER_MS)
    person.picture("11-exported")
    for case in project.cases():
        source = nibabel.load(case.image)
        (path,) = folder.rglob(f"{case.id}*.nii.gz")
        mask = nibabel.load(path)
        assert mask.shape == source.shape
        assert np.array_equal(mask.affine, source.affine)
        assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1, 255}
    assert (folder / "volumes.csv").is_file()
    assert (folder / "manifest.json").is_file()
