"""How the panel answers while a training runs beside it, and how fast cases change.

    python benchmarks/panel.py

Needs a display, for example ``xvfb-run -a -s "-screen 0 1600x1000x24"``. Strokes are
painted by mouse events into a scan of the left atrium while ``semiseg train`` works in
a process of its own. A timer of 5 ms measures how long the event loop keeps others
waiting. Then two cases with predictions are opened in turns, up to the moment at
which all three canvases have been drawn anew.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import napari
import numpy as np
from panel_cohort import make
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_semiseg.plugin import open_project_in_viewer
from napari_semiseg.widgets.compat import canvas_widget

SIZE = (1600, 960)
BEAT_MS = 5
STROKES = 3
POINTS = 25
POINT_MS = 16
SWITCHES = 10
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


class Heartbeat:
    """Gaps of a timer, in all and without waiting for a processor, ms."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.own: list[float] = []
        self._last, self._waited = time.perf_counter(), queued_s()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(BEAT_MS)

    def _beat(self) -> None:
        now, waited = time.perf_counter(), queued_s()
        late = 1000 * (now - self._last) - BEAT_MS
        self.gaps.append(max(late, 0))
        self.own.append(max(late - 1000 * (waited - self._waited), 0))
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


def stroke(canvas, rng: np.random.Generator) -> None:
    """Draw a line of several corners with the mouse."""
    size = np.array([canvas.width(), canvas.height()])
    corners = [QPointF(*(size * rng.uniform(0.35, 0.65, 2))) for _ in range(3)]
    at = corners[0].toPoint()
    QTest.mousePress(canvas, LEFT, NONE, at)
    for begin, end in pairwise(corners):
        for share in np.linspace(0, 1, POINTS):
            to = begin + share * (end - begin)
            moved = QMouseEvent(
                QEvent.Type.MouseMove,
                to,
                QPointF(canvas.mapToGlobal(to.toPoint())),
                Qt.MouseButton.NoButton,
                LEFT,
                NONE,
            )
            QApplication.sendEvent(canvas, moved)
            QTest.qWait(POINT_MS)
    QTest.mouseRelease(canvas, LEFT, NONE, QPoint(corners[-1].toPoint()))


def paint(panel, canvas, run_steps) -> dict[str, object]:
    """Paint strokes while the training goes on."""
    view = panel.case_view
    view.mask.mode = "paint"
    view.mask.selected_label = 1
    rng, before, steps = np.random.default_rng(0), view.mask.data.copy(), run_steps()
    heart = Heartbeat()
    for number in range(STROKES):
        view.mask.selected_label = 1 - number % 2
        stroke(canvas, rng)
    heart.stop()
    assert not np.array_equal(before, view.mask.data)
    return {
        "what": f"stall of the event loop, {STROKES} strokes while training",
        **percentiles("ms", heart.gaps),
        **percentiles("ms_without_waiting_for_a_core", heart.own),
        "beats": len(heart.gaps),
        "steps_trained_meanwhile": run_steps() - steps,
    }


def switch(panel, canvases, cases: list[str]) -> dict[str, object]:
    """Open two cases in turns."""
    seconds = []
    for number in range(SWITCHES + 2):
        start = time.perf_counter()
        assert panel.case_view.open(cases[number % 2])
        for canvas in canvases():
            canvas.repaint()
        QApplication.processEvents()
        seconds.append(time.perf_counter() - start)
    seconds = seconds[2:]  # the canvases are made for the first case
    return {
        "what": "another case with prediction on three canvases",
        **percentiles("s", seconds),
    }


def percentiles(unit: str, values: list[float]) -> dict[str, float]:
    found = np.percentile(values, (50, 95, 100))
    names = ("median", "p95", "worst")
    return {
        f"{name}_{unit}": round(float(v), 3)
        for name, v in zip(names, found, strict=True)
    }


def tell(row: dict[str, object]) -> None:
    """Print what was measured, at once: the machine may be too slow for the rest."""
    has_set = hasattr(os, "sched_getaffinity")
    facts = {
        "cores": len(os.sched_getaffinity(0)) if has_set else os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "napari": version("napari"),
    }
    print(json.dumps(row | facts), flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        project, predicted = make(Path(folder), labelled=2, predicted=2)
        verb = [sys.executable, "-m", "napari_semiseg", "train"]
        train = [*verb, str(project.folder), "--minutes", "10", "--no-predict"]
        viewer = napari.Viewer()
        viewer.window._qt_window.setGeometry(0, 0, *SIZE)
        panel = open_project_in_viewer(project.folder, viewer)
        assert panel.case_view.open(predicted[0])
        QTest.qWait(3000)
        canvas = canvas_widget(viewer.window._qt_viewer)

        def canvases():
            views = panel.case_view.canvases.views
            sides = (views.distance.view, views.doubt.view)
            return [canvas, *(canvas_widget(side) for side in sides)]

        tell(switch(panel, canvases, predicted))
        earlier = project.latest_run().id
        worker = subprocess.Popen(
            train, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

        def steps() -> int:
            return project.latest_run().steps_done

        try:
            while project.latest_run().id == earlier:
                QTest.qWait(200)
                assert worker.poll() is None
            while not steps():
                QTest.qWait(200)
                assert worker.poll() is None
            tell(paint(panel, canvas, steps))
            row = switch(panel, canvases, predicted)
            tell(row | {"what": f"{row['what']}, while training"})
        finally:
            worker.kill()
            worker.wait()
        panel.case_view.layers.drop()
        viewer.close()


if __name__ == "__main__":
    main()
