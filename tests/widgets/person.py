"""Somebody at the window: looks, types, and draws with the mouse.

Pictures are kept in ``test-artefacts``, or where SEMISEG_ARTEFACTS says.
SEMISEG_PATIENCE=4 waits four times as long for everything.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections import Counter
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pyqtgraph import PlotWidget
from qtpy.QtCore import QObject, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton

from napari_semiseg.commands import open_panel
from napari_semiseg.project.project import Project
from napari_semiseg.widgets.common.compat import canvas_widget
from napari_semiseg.widgets.dock import TABS
from widgets.viewing import Answers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QComboBox, QMenu, QWidget

    from napari_semiseg.widgets.dock import SemisegDock

PATIENCE = float(os.environ.get("SEMISEG_PATIENCE", "1"))
ROOT = Path(__file__).parents[2]
SIZE = (1600, 960)
BEAT_MS = 20
STROKE_MS = 20
LONG_GAP_S = 0.2
"""From which on a heartbeat notes what the window does."""
STACK = 12
"""Of the innermost calls."""
SOON_MS, LATER_MS, LONG_MS = (int(s * 1000 * PATIENCE) for s in (20, 60, 120))
LONGEST_STALL_S = 1.5 * PATIENCE
"""The window stands still for 0.1 s while a training runs, and was seen to for 1.1 s on
a slow machine with nothing but two busy cores."""
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
CONTROL, SHIFT = (
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.ShiftModifier,
)
WALK = (
    pytest.mark.gui,
    pytest.mark.engine,
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.timeout(400 * PATIENCE),
)
"""Marks of a test that walks: on real scans, with the real engine."""


def atria(folder: Path, *, labelled: int, unlabelled: int) -> tuple[Project, Path]:
    """Make a project of scans of the left atrium.

    Returns
    -------
    tuple
        The project, its first cases with the reference masks as labels, and the
        folder of all reference masks.
    """
    default = ROOT.parent / "shared" / "data"
    data = Path(os.environ.get("SEMISEG_DATA", default)) / "LA"
    if not data.is_dir():
        pytest.skip(f"the real volumes are absent: no folder {data}")
    names = (data / "splits" / "dev_train.list").read_text(encoding="utf-8").split()
    names = names[: labelled + unlabelled]
    made = Project.create(folder, {"left atrium": 1})
    made.add(*(data / "imagesTr" / f"{name}.nii.gz" for name in names))
    for name in names[:labelled]:
        made.set_label(name, data / "labelsTr" / f"{name}.nii.gz")
    return made, data / "labelsTr"


def tell(words: str) -> None:
    sys.stdout.write(f"\n{words}\n")


def pictures_of(test: str) -> Path:
    """Make the folder for the pictures of a test."""
    kept = os.environ.get("SEMISEG_ARTEFACTS", ROOT / "test-artefacts")
    folder = Path(kept) / test
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Heartbeat(QObject):
    """Measures how long the event loop was ever kept from a timer of 20 ms.

    Attributes
    ----------
    worst : float
        The longest gap, s.
    own : float
        The longest without the time that other programs had the processor.
    where : Counter
        What the window did in the second one: how often each stack was seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.worst = self.own = 0.0
        self.where: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._last, self._waited = time.perf_counter(), queued_s()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(BEAT_MS)
        self._stopped = Event()
        window = threading.get_ident()
        self._watcher = Thread(target=self._watch, args=(window,), daemon=True)
        self._watcher.start()

    def _beat(self) -> None:
        now, waited = time.perf_counter(), queued_s()
        self.worst = max(self.worst, now - self._last)
        own = now - self._last - (waited - self._waited)
        seen, self._seen = self._seen, Counter()
        if own > self.own:
            self.own, self.where = own, seen
        self._last, self._waited = now, waited

    def _watch(self, window: int) -> None:
        while not self._stopped.wait(BEAT_MS / 1000):
            if time.perf_counter() - self._last > LONG_GAP_S:
                frame = sys._current_frames()[window]
                self._seen["".join(traceback.format_stack(frame)[-STACK:])] += 1

    def stop(self) -> None:
        self._timer.stop()
        self._stopped.set()
        self._watcher.join()

    def told(self) -> str:
        """Say how long the window stood still, and what it did most of that time."""
        most = "\n".join(f"{n} x\n{stack}" for stack, n in self.where.most_common(3))
        return f"{self.own:.2f} s of its own, {self.worst:.2f} s in all, in\n{most}"


def queued_s() -> float:
    """Seconds that this thread was ready to run and had to wait; 0 where unknown."""
    try:
        stat = Path("/proc/thread-self/schedstat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(stat.split()[1]) / 1e9


class Person:
    """Looks at the window, and has a mouse and a keyboard.

    Parameters
    ----------
    viewer : napari.Viewer
        The window.
    qtbot : QtBot
        Lets time go by.
    walk : str
        Folder of the pictures.
    """

    def __init__(self, viewer: Any, qtbot: QtBot, walk: str) -> None:
        self.viewer = viewer
        self.qtbot = qtbot
        self.window = viewer.window._qt_window
        self.window.setGeometry(0, 0, *SIZE)
        self.panel: SemisegDock = open_panel(viewer)
        self.answers = Answers()
        self.panel.case_view.annotation.questions = self.answers
        self.canvas: QWidget = canvas_widget(viewer.window._qt_viewer)
        self._pictures = pictures_of(walk)

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
        index = TABS.index(title)
        self.click(tabs.tabBar(), tabs.tabBar().tabRect(index).center())
        assert tabs.currentIndex() == index

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
        self.qtbot.wait(50)  # a person lets the image come to rest
        canvases = self.panel.case_view.canvases
        self.wait_for(lambda: not canvases._settle.isActive())

    def choose(self, box: QComboBox, text: str) -> None:
        """Go to an entry of a list by the arrow keys."""
        box.setFocus()
        way = box.findText(text) - box.currentIndex()
        for _ in range(abs(way)):
            QTest.keyClick(box, Qt.Key.Key_Down if way > 0 else Qt.Key.Key_Up)
        assert box.currentText() == text

    def pick(self, menu: QMenu, text: str) -> None:
        """Choose an entry of a menu, which is filled as it opens."""
        menu.aboutToShow.emit()
        entries = {one.text().partition("\t")[0]: one for one in menu.actions()}
        entries[text].trigger()

    def drag(self, path: Sequence[tuple[float, float]]) -> None:
        """Draw with the left button from place to place, in shares of the canvas."""
        width, height = self.canvas.width(), self.canvas.height()
        self._draw([QPointF(x * width, y * height) for x, y in path])

    def trace(self, places: NDArray[np.float64], moves: int = 2) -> None:
        """Draw through places (N, 3) of the open case, in voxels (z, y, x)."""
        self._draw([self.on_canvas(place) for place in places], moves)

    def on_canvas(self, voxel: NDArray[np.float64]) -> QPointF:
        """Where a voxel (z, y, x) of the open case is on the canvas."""
        view = self.panel.case_view
        notes = view.canvases.main_notes
        assert view.case is not None
        assert notes is not None
        return notes.to_canvas(np.asarray(voxel) * view.case.geometry.spacing_mm)

    def _draw(self, places: Sequence[QPointF], moves: int = 11) -> None:
        first, last = places[0].toPoint(), places[-1].toPoint()
        QTest.mouseMove(self.canvas, first)
        QTest.mousePress(self.canvas, LEFT, NONE, first)
        for begin, end in pairwise(places):
            for share in np.linspace(0, 1, moves + 1)[1:]:
                self._move(begin + float(share) * (end - begin))
                self.qtbot.wait(STROKE_MS)
        QTest.mouseRelease(self.canvas, LEFT, NONE, last)
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

    def start_training(self, minutes: int = 1) -> None:
        """Train with labels only, by the form of the Train tab."""
        self.tab("Train")
        training = self.panel.training
        form = training.form
        self.wait_for(lambda: form.method.findData("supervised") >= 0, LATER_MS)
        if not form.advanced.isExpanded():
            self.click(form.advanced.toggleButton())
            self.wait_for(form.method.isVisible)
        self.choose(
            form.method, form.method.itemText(form.method.findData("supervised"))
        )
        self.retype(form.minutes, str(minutes))
        config = form.value()
        assert (config.method, config.minutes) == ("supervised", minutes)
        self.wait_for(training.start_button.isEnabled)
        self.click(training.start_button)

    def drawn_steps(self) -> list[float]:
        """Steps at which the plot of the losses has points now."""
        plot = self.panel.training.progress.losses.findChild(PlotWidget)
        steps = [item.getOriginalDataset()[0] for item in plot.listDataItems()]
        return [] if not steps or steps[0] is None else list(steps[0])


def coloured(shot: NDArray[np.uint8]) -> float:
    """Share of the pixels that are no grey."""
    values = shot[..., :3].astype(int)
    return float((np.ptp(values, axis=-1) > 8).mean())
