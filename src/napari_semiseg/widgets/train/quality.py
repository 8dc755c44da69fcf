"""Draw how well a training does, by the best measure that there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from superqt.utils import QSignalThrottler

from napari_semiseg.core.events import (
    Learned,
    Pictured,
    Started,
    Stepped,
    Validated,
)
from napari_semiseg.core.text import ranged
from napari_semiseg.project.review.quality_estimate import COVERAGE
from napari_semiseg.widgets.elements.cards import NumberCard
from napari_semiseg.widgets.elements.forms import wrapped_label
from napari_semiseg.widgets.elements.plots import REDRAW_MS, PlotBox
from napari_semiseg.widgets.elements.style import PROPOSED, colours_of, look

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.events import Event

SMOOTH = 1 / 8
"""Width of the smoothing, over the time that the curve spans."""
RISING = 0.005
"""By as much more than a fifth of the curve before it still rises."""
FEWEST = 3
"""Number of scans from which on their spread is shown."""
LOW = 0.5
"""Lowest value shown, unless the curve goes below it."""
MARK, MARKED = "#e0a800", " Dashed: labels came in."


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that tells how well a training does.

    Attributes
    ----------
    title, note : str
        What is drawn, and of which scans.
    unit : str
        Behind the newest value.
    words : str
        How to read it.
    fewest : int
        Points before it is drawn.
    """

    title: str
    note: str
    unit: str
    words: str
    fewest: int = 1


VALIDATION = Measure(
    "How well it does",
    "labels not learnt from",
    "Dice",
    "1.0 = the same as your masks, which it does not learn from.",
)
CORRECTED = Measure(
    "How well it does",
    "your corrections",
    "Dice",
    "1.0 = you changed nothing. A dot is a case that you corrected.",
    fewest=2,
)
AGREEMENT = Measure(
    "How much it still changes",
    "one scan",
    "agreement",
    "1.0 = as in the picture before. It says that the masks settle, not that they are "
    "right: a few labels that are used for validation would say that.",
)
MEASURES = (VALIDATION, CORRECTED, AGREEMENT)
"""The best first."""


def smoothed(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average neighbours with Gaussian weights, an eighth of the span wide."""
    span = float(np.ptp(x)) or 1.0
    weights = np.exp(-0.5 * ((x[:, None] - x) / (SMOOTH * span)) ** 2)
    result: NDArray[np.float64] = weights @ y / weights.sum(axis=1)
    return result


class QualityCurve(PlotBox):
    """A smoothed curve over minutes, its points pale, and lines where labels came."""

    def __init__(self) -> None:
        super().__init__("", ground="card")
        self.legend.hide()
        self._plot.setFixedHeight(130)
        self.points = pg.ScatterPlotItem(size=5, pen=None)
        self.line = pg.PlotDataItem(pen=pg.mkPen(PROPOSED, width=2))
        self.newest = pg.ScatterPlotItem(size=9, pen=None)
        self.marks: list[pg.InfiniteLine] = []
        pale = QColor(PROPOSED)
        pale.setAlpha(110)
        self.points.setBrush(pg.mkBrush(pale))
        for item in (self.points, self.line, self.newest):
            self._plot.addItem(item)
        axis = self._plot.getPlotItem().getAxis("bottom")
        axis.setTickSpacing(None)
        axis.setLabel("minutes")
        self._plot.getPlotItem().showGrid(y=True, alpha=0.15)

    def draw(
        self,
        minutes: NDArray[np.float64],
        values: NDArray[np.float64],
        total: float,
        marks: Sequence[float],
    ) -> None:
        """Draw points and their smoothed curve, up to ``total`` minutes."""
        curve = smoothed(minutes, values)
        self.points.setData(minutes, values)
        self.line.setData(minutes, curve)
        self.newest.setData(minutes[-1:], curve[-1:])
        self._plot.setXRange(0, max(total, float(minutes[-1])), padding=0.02)
        low = LOW if curve.min() >= LOW else 0.0
        self._plot.setYRange(low, 1, padding=0.04)
        for line in self.marks:
            self._plot.removeItem(line)
        pen = pg.mkPen(MARK, width=1, style=Qt.PenStyle.DashLine)
        self.marks = [pg.InfiniteLine(at, angle=90, pen=pen) for at in marks]
        for line in self.marks:
            self._plot.addItem(line)

    def _follow_theme(self) -> None:
        super()._follow_theme()
        if hasattr(self, "newest"):
            self.newest.setBrush(pg.mkBrush(colours_of(self)["text"]))


class QualityCard(NumberCard):
    """The best measure that has points: validation, corrections, or agreement."""

    def __init__(self) -> None:
        super().__init__()
        self.curve = QualityCurve()
        self.words = look(wrapped_label(), "secondary")
        self.add(self.curve, self.words)
        policy = QSignalThrottler.EmissionPolicy.Trailing
        self._redraw = QSignalThrottler(policy, parent=self)
        self._redraw.setTimeout(REDRAW_MS)
        self._redraw.triggered.connect(self.draw)
        self.clear()

    def clear(self) -> None:
        """Show nothing yet."""
        self._redraw.cancel()
        self._times: list[tuple[float, float]] = [(0.0, 0.0)]
        self._total = 0.0
        self._found: dict[Measure, list[tuple[float, float]]] = {}
        self._classes: Mapping[str, float] = {}
        self._checked: Mapping[str, float] = {}
        self._labels: list[float] = []
        self.hide()

    def show_event(self, event: Event) -> None:
        """Take what an event tells of the quality, and when it was."""
        match event:
            case Started():  # from its checkpoint on, all comes once more
                for points in (self._times, *self._found.values()):
                    points[:] = [point for point in points if point[0] <= event.step]
            case Stepped():
                self._times.append((event.step, event.seconds))
                self._total = event.seconds + event.seconds_left
            case Validated(dice=dice, cases=cases):
                self._classes, self._checked = dice, cases
                self._add(VALIDATION, event.step, float(np.mean([*dice.values()])))
            case Pictured(agreement=float(agreement)):
                self._add(AGREEMENT, event.step, agreement)
            case Learned():
                self._labels.append(event.step)
                self._redraw.throttle()
            case _:
                pass

    def _add(self, measure: Measure, step: float, value: float) -> None:
        self._found.setdefault(measure, []).append((step, value))
        self._redraw.throttle()

    def set_corrections(self, found: Iterable[tuple[float, float]]) -> None:
        """Take training step and Dice of each corrected prediction."""
        self._found[CORRECTED] = list(found)
        self._redraw.throttle()

    @property
    def dice(self) -> float | None:
        """Newest Dice on labels that are not learnt from; None without."""
        points = self._found.get(VALIDATION)
        return points[-1][1] if points else None

    @property
    def measure(self) -> Measure | None:
        """What is drawn."""
        for measure in MEASURES:
            if len(self._found.get(measure, ())) >= measure.fewest:
                return measure
        return None

    def draw(self) -> None:
        """Show what is known."""
        measure = self.measure
        self.setVisible(measure is not None)
        if measure is None:
            return
        points = sorted(self._found[measure])
        minutes = self._minutes([step for step, _ in points])
        values = np.array([value for _, value in points])
        curve = smoothed(minutes, values)
        self.title.setText(measure.title)
        scans = {VALIDATION: [*self._checked.values()], CORRECTED: values.tolist()}
        number, _, likely = _spread(curve[-1], scans.get(measure, [])).partition(" ")
        of = f"{len(self._checked)} " if measure is VALIDATION and self._checked else ""
        self.note.setText(f"{of}{measure.note}")
        self.value.setText(number)
        self.unit.setText(f"{measure.unit} {likely}".rstrip())
        self.unit.setToolTip("In brackets: the range of 4 of 5 scans" if likely else "")
        self.curve.setVisible(bool(np.ptp(minutes)) or len(minutes) == 1)
        parts = [f"{name} {value:.2f}" for name, value in self._classes.items()]
        single = measure is not VALIDATION or len(parts) < 2
        words = measure.words if single else " \u00b7 ".join(parts)
        words += MARKED if self._labels else ""
        self.words.setText(_trend(minutes, curve) + words)
        self.curve.draw(
            minutes, values, self._total / 60, self._minutes(self._labels).tolist()
        )

    def _minutes(self, steps: Sequence[float]) -> NDArray[np.float64]:
        known, times = zip(*self._times, strict=True)
        minutes: NDArray[np.float64] = np.interp(steps, known, times) / 60
        return minutes


def _spread(value: float, scans: Sequence[float]) -> str:
    """Write a value with the range in which `COVERAGE` of some scans are."""
    if len(scans) < FEWEST:
        return f"{value:.2f}"
    tail = (1 - COVERAGE) / 2
    return ranged(value, *np.quantile(scans, (tail, 1 - tail)))


def _trend(minutes: NDArray[np.float64], curve: NDArray[np.float64]) -> str:
    """Say whether a curve still rises; nothing of few points."""
    if len(curve) < 4 or not np.ptp(minutes):
        return ""
    before = np.interp(minutes[-1] - np.ptp(minutes) / 5, minutes, curve)
    return "Still rising. " if curve[-1] - before > RISING else "Level by now. "
