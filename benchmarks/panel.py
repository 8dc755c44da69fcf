"""How the panel answers while a training runs beside it, and how fast cases change.

    python benchmarks/panel.py [CASES]

Needs a display, for example ``xvfb-run -a -s "-screen 0 1600x1000x24"``. Strokes are
painted by mouse events into a scan of the left atrium while a training, started as the
panel starts it, works on all cores. A timer of 5 ms measures how long the event loop
keeps others waiting. The same strokes are painted into the same scan in a window of
napari that has one canvas and nothing of ours: where OpenGL is drawn by the processor,
a frame of napari alone takes longer than what is asked of us. Two cases with
predictions are opened in turns, up to the moment at which all canvases have been drawn
anew. So is the next case from the key of *Accept & next* on, with nothing running and
while training, for CASES cases (3) each; every key and click that a case needs is
counted, questions included. Bind all of it to one core (``taskset -c 1``) to see the
panel beside a training there.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import napari
import numpy as np
from panel_cohort import make
from qtpy.QtCore import QEvent, QEventLoop, QObject, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_semiseg.commands import open_project_in_viewer
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.execution.executor import start_training
from napari_semiseg.execution.local import LocalExecutor
from napari_semiseg.widgets.common.compat import canvas_widget

SIZE = (1600, 960)
BEAT_MS = 5
STROKES = 10
POINTS = 25
POINT_MS = 16
BRUSH_VOXELS = 8
SWITCHES = 10
SETTLED_MS = 3000
REVIEWED = 3
LONG = TrainingConfig(
    method="supervised", steps=100_000, patch_zyx=(32, 64, 64), precision="fp32"
)
"""A training that is planned at once, and goes on for longer than is measured."""
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
    """Draw a line of several corners with the mouse, at its usual rate.

    The moves come out of the event loop, as a user's do: `QTest.qWait` sleeps up to
    10 ms at a time, in which no event is heard.
    """
    size = np.array([canvas.width(), canvas.height()])
    corners = [QPointF(*(size * rng.uniform(0.35, 0.65, 2))) for _ in range(3)]
    moves = (
        begin + share * (end - begin)
        for begin, end in pairwise(corners)
        for share in np.linspace(0, 1, POINTS)
    )
    loop, mouse = QEventLoop(), QTimer()

    def move() -> None:
        to = next(moves, None)
        if to is None:
            mouse.stop()
            loop.quit()
            return
        where = QPointF(canvas.mapToGlobal(to.toPoint()))
        kind, button = QEvent.Type.MouseMove, Qt.MouseButton.NoButton
        QApplication.sendEvent(canvas, QMouseEvent(kind, to, where, button, LEFT, NONE))

    QTest.mousePress(canvas, LEFT, NONE, corners[0].toPoint())
    mouse.timeout.connect(move)
    mouse.start(POINT_MS)
    loop.exec()
    QTest.mouseRelease(canvas, LEFT, NONE, corners[-1].toPoint())


def paint(mask, canvas, what: str, steps) -> dict[str, object]:
    """Paint strokes while the training goes on."""
    mask.mode = "paint"
    mask.brush_size = BRUSH_VOXELS
    rng, before, trained = np.random.default_rng(0), mask.data.copy(), steps()
    heart = Heartbeat()
    for number in range(STROKES):
        mask.selected_label = 1 - number % 2
        stroke(canvas, rng)
    heart.stop()
    assert not np.array_equal(before, mask.data)
    return {
        "what": f"stall of the event loop, {STROKES} strokes while training, {what}",
        **percentiles("ms", heart.gaps),
        **percentiles("ms_without_waiting_for_a_core", heart.own),
        "beats": len(heart.gaps),
        "steps_trained_meanwhile": steps() - trained,
    }


def alone(image: np.ndarray, scale, steps) -> dict[str, object]:
    """Paint the same strokes without anything of ours."""
    viewer = napari.Viewer()
    viewer.window._qt_window.setGeometry(0, 0, *SIZE)
    viewer.add_image(image, scale=scale)
    mask = viewer.add_labels(np.zeros(image.shape, np.uint8), scale=scale)
    viewer.dims.set_point(0, scale[0] * (len(image) // 2))
    QTest.qWait(SETTLED_MS)
    canvas = canvas_widget(viewer.window._qt_viewer)
    row = paint(mask, canvas, "napari alone, one canvas", steps)
    viewer.close()
    return row


class Paints(QObject):
    """Notes which widgets have been drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[QObject] = []

    def eventFilter(self, watched, event) -> bool:
        if event.type() == QEvent.Type.Paint:
            self.seen.append(watched)
        return False


def drawn(canvases) -> None:
    """Come back when all of them have been drawn anew, in as few frames as may be."""
    paints = Paints()
    for canvas in canvases:
        canvas.installEventFilter(paints)
        canvas.update()
    while not all(canvas in paints.seen for canvas in canvases):
        QApplication.processEvents()
    for canvas in canvases:
        canvas.removeEventFilter(paints)


def switch(panel, canvases, cases: list[str]) -> dict[str, object]:
    """Open two cases in turns."""
    seconds = []
    for number in range(SWITCHES + 2):
        start = time.perf_counter()
        assert panel.case_view.open(cases[number % 2])
        drawn(canvases())
        seconds.append(time.perf_counter() - start)
    seconds = seconds[2:]  # the canvases are made for the first case
    return {
        "what": "another case with prediction on three canvases",
        **percentiles("s", seconds),
    }


class Yes:
    """Says yes to every question, and counts them."""

    def __init__(self) -> None:
        self.asked = 0

    def confirm(self, *_: str) -> bool:
        self.asked += 1
        return True


def review(panel, canvas, canvases, cases: int, keys, what: str) -> dict[str, object]:
    """Accept cases by keys; the last one is *Accept & next*, from which time counts."""
    view, yes = panel.case_view, Yes()
    view.annotation.questions = yes
    seconds, own, pressed = [], [], 0
    for _ in range(cases):
        QTest.qWait(SETTLED_MS)
        before = panel.session.case_id
        for key in keys:
            start, waited = time.perf_counter(), queued_s()
            QTest.keyClick(canvas, key)
            pressed += 1
            if key != keys[-1]:
                QTest.qWait(SETTLED_MS)
        while panel.session.case_id == before:
            QApplication.processEvents()
        drawn(canvases())
        took = time.perf_counter() - start
        seconds.append(took)
        own.append(took - (queued_s() - waited))
        assert panel.session.project.case(before).has_label
    return {
        "what": f"Accept & next until the next case is drawn, {what}",
        **percentiles("s", seconds),
        **percentiles("s_without_waiting_for_a_core", own),
        "cases": cases,
        "keys_and_clicks_per_case": (pressed + yes.asked) / cases,
        "of_them_questions": yes.asked,
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


def ratio(what: str, idle: dict, busy: dict, key: str) -> dict[str, object]:
    """Tell how many times as long something takes while a training runs."""
    return {"what": what, "times_idle": round(busy[key] / max(idle[key], 1e-9), 2)}


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else REVIEWED
    n, w = Qt.Key.Key_N, Qt.Key.Key_W
    with tempfile.TemporaryDirectory() as folder:
        project, predicted = make(Path(folder), labelled=2, predicted=3 + 3 * cases)
        viewer = napari.Viewer()
        viewer.window._qt_window.setGeometry(0, 0, *SIZE)
        panel = open_project_in_viewer(project.folder, viewer)
        view = panel.case_view
        assert view.open(predicted[0])
        QTest.qWait(SETTLED_MS)
        canvas = canvas_widget(viewer.window._qt_viewer)

        def canvases():
            views = view.canvases.views
            sides = () if views is None else views.sides
            return [canvas, *(canvas_widget(side.view) for side in sides)]

        pair = predicted[:2]
        tell(idle_switch := switch(panel, canvases, pair))
        idle = review(panel, canvas, canvases, cases, (n,), "untouched, no training")
        tell(idle)
        pair = [case.id for case in project.cases(state="proposed")][-2:]
        run, handle = start_training(LocalExecutor(), project, LONG)

        def steps() -> int:
            return run.steps_done

        try:
            panel.open_project(project.folder)  # the panel finds and follows it
            while not steps():
                QTest.qWait(200)
                assert handle.poll() is None
            row = switch(panel, canvases, pair)
            tell(row | {"what": f"{row['what']}, while training"})
            tell(ratio("another case", idle_switch, row, "median_s"))
            for keys, words in (((n,), "untouched"), ((w, n), "with W")):
                trained = steps()
                row = review(
                    panel, canvas, canvases, cases, keys, f"{words}, while training"
                )
                tell(row | {"steps_trained_meanwhile": steps() - trained})
                tell(ratio(f"Accept & next, {words}", idle, row, "median_s"))
            ours = paint(view.mask, canvas, f"panel, {len(canvases())} canvases", steps)
            tell(ours)
            view.save_draft()  # else it would be asked for when the window closes
            image, scale = view.image.data, view.image.scale
            viewer.close()
            tell(bare := alone(image, scale, steps))
            times = round(float(ours["p95_ms"]) / float(bare["p95_ms"]), 2)
            tell({"what": "strokes, 95th percentile", "times_napari_alone": times})
        finally:
            handle.terminate()


if __name__ == "__main__":
    main()
