"""Plot how much each prediction had to be corrected: the Progress tab."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import QWidget

from napari_semiseg.core.text import count, duration
from napari_semiseg.project.cases.record import DOUBTED
from napari_semiseg.project.review.corrections import IN_A_ROW, QUICK_MINUTES
from napari_semiseg.project.review.quality_estimate import MINIMUM
from napari_semiseg.widgets.common.session import WAITING
from napari_semiseg.widgets.elements.buttons import KeyButton
from napari_semiseg.widgets.elements.cards import NumberCard
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    markup_label,
    row_of,
    stack,
    wrapped_label,
)
from napari_semiseg.widgets.elements.plots import PlotBox
from napari_semiseg.widgets.elements.style import look
from napari_semiseg.widgets.gallery.dialog import GalleryDialog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from qtpy.QtGui import QShowEvent

    from napari_semiseg.project.cases.record import Acceptance
    from napari_semiseg.project.review.corrections import Correction
    from napari_semiseg.widgets.common.session import Session

POINT, HEIGHT = 9, 110
MEAN = "mean"
SHOWN_MINUTES = 0.1
DICE_SPAN = 0.1
"""Least range of the axis, so that small changes look small."""
NOTHING_YET = (
    "Nothing to show yet. Each prediction that you correct and accept adds a point "
    "here: how well the two agreed, how long it took, and how many voxels changed."
)


@dataclass(frozen=True, slots=True)
class Points:
    """One row of points: a value (or None) for each correction, oldest first."""

    name: str
    colour: str
    values: Sequence[float | None]


class CorrectionPlot(PlotBox):
    """Values of corrections in the order in which they were accepted.

    Signals
    -------
    clicked(str)
        A point was clicked: its case.
    """

    clicked = Signal(str)

    def __init__(self, title: str = "", limit: float | None = None) -> None:
        super().__init__(title, ground="card")
        self._plot.setFixedHeight(HEIGHT)
        self.points: list[pg.ScatterPlotItem] = []
        self._limit = limit
        item = self._plot.getPlotItem()
        item.getAxis("bottom").setTickSpacing(None)

    def keep_within(self, low: float, high: float, span: float) -> None:
        """Limit the values shown, and the least span of the axis."""
        room = 0.02 * (high - low)
        self._plot.getPlotItem().getViewBox().setLimits(
            yMin=low - room, yMax=high + room, minYRange=span
        )

    def show_points(
        self, found: Sequence[Correction], rows: Sequence[Points], unit: str
    ) -> None:
        """Draw rows of values, a point for each correction that has one."""
        self._plot.clear()
        self.points.clear()
        places = np.arange(1, len(found) + 1)
        if self._limit is not None:
            text = self.palette().color(QPalette.ColorRole.WindowText)
            pen = pg.mkPen(text, style=Qt.PenStyle.DashLine)
            self._plot.addItem(pg.InfiniteLine(self._limit, angle=0, pen=pen))
        for row in rows:
            known = [n for n, value in enumerate(row.values) if value is not None]
            values = [row.values[n] for n in known]
            self._plot.plot(places[known], values, pen=pg.mkPen(row.colour, width=1.5))
            marks = pg.ScatterPlotItem(
                x=places[known],
                y=values,
                data=[found[n].case for n in known],
                size=POINT,
                brush=pg.mkBrush(row.colour),
                pen=None,
                hoverable=True,
                hoverSize=POINT + 4,
                tip=_tip(found, row, unit),
            )
            marks.sigClicked.connect(self._point_clicked)
            self._plot.addItem(marks)
            self.points.append(marks)
        self._plot.setXRange(0.5, len(found) + 0.5, padding=0)
        self._plot.getPlotItem().getAxis("bottom").setTicks([_ticks(len(found))])
        self.show_legend({row.name: row.colour for row in rows if len(rows) > 1})
        self.legend.setVisible(len(rows) > 1)

    def _point_clicked(self, _item: object, spots: Any, _event: object = None) -> None:
        if len(spots):
            self.clicked.emit(str(spots[0].data()))


class ProgressPanel(QWidget):
    """Plots of all corrections, a plateau in words, and what to do about it.

    Signals
    -------
    predict_requested()
        Predict all cases without a label.

    Parameters
    ----------
    session : Session
        Whose project is shown.
    before : callable
        Called before many predictions are shown: notes what is open as seen.
    parent : QWidget, optional
        Of the panel.
    """

    predict_requested = Signal()

    def __init__(
        self,
        session: Session,
        before: Callable[[], object] = lambda: None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._before = before
        self.gallery: GalleryDialog | None = None
        self.words = markup_label(wrapped=True)
        self.known = look(wrapped_label(), "secondary")
        self.predict_button = KeyButton(
            "Predict the rest", "", "creation", run=self.predict_requested.emit
        )
        self.predict_button.setToolTip(
            "Propose masks for all cases without a label, with the model in use"
        )
        self.accept_button = KeyButton(
            "Accept several\u2026", "", "view_grid_outline", run=self.accept_several
        )
        self.accept_button.setToolTip("See predictions side by side, and accept many")
        self.dice = CorrectionPlot()
        self.dice.keep_within(0, 1, DICE_SPAN)
        self.minutes = CorrectionPlot(limit=QUICK_MINUTES)
        self.changed = CorrectionPlot("Changed voxels, thousands")
        hint = "Oldest first; dashed: one minute. A click on a point opens its case."
        hints = look(wrapped_label(hint), "secondary")
        buttons = QWidget()
        row = row_of(self.predict_button, self.accept_button)
        row.setContentsMargins(0, 0, 0, 0)
        row.setStretch(1, 1)
        look(buttons, "clear").setLayout(row)
        self.minutes_per_case = NumberCard("A case now takes you")
        self.minutes_per_case.add(self.minutes, hints)
        self.agreement = NumberCard("Agreement with your corrections")
        self.agreement.add(self.dice, self.changed, self.known)
        self.left = NumberCard("Still to do")
        self.left.add(buttons)
        cards = (self.minutes_per_case, self.agreement, self.left)
        column = stack(self, self.words, *cards, None, margin=0)
        column.setContentsMargins(0, 10, 0, 4)
        column.setSpacing(10)
        for plot in self.plots:
            plot.clicked.connect(self._open)
        self._stale = True
        Connections(self).add(
            self._changed,
            session.project_changed,
            session.cases_changed,
            session.runs_changed,
        )
        self.refresh()

    @property
    def plots(self) -> tuple[CorrectionPlot, ...]:
        """Dice, minutes, and changed voxels."""
        return (self.dice, self.minutes, self.changed)

    def refresh(self) -> None:
        """Draw the plots again from the history of the cases."""
        self._stale = False
        found = [item for item in self._session.corrections() if item.dice is not None]
        doubted: Counter[Acceptance | None] = Counter(
            case.acceptance
            for case in self._session.cases()
            if case.acceptance in DOUBTED
        )
        waiting = sum(case.state in WAITING for case in self._session.cases())
        level = self._session.plateau()
        words = f"<b>{escape(level)}</b>" if level else ""
        self.words.setText(words or ("" if found else escape(NOTHING_YET)))
        self.words.setVisible(bool(level) or not found)
        self.known.setText(_known(self._session.estimator().counts, doubted))
        self.predict_button.setEnabled(waiting > 0)
        self.accept_button.setEnabled(self._session.project is not None)
        timed = [item.minutes for item in found if item.minutes is not None]
        now = float(np.mean(timed[-IN_A_ROW:])) if timed else None
        self.minutes_per_case.setVisible(now is not None)
        if now is not None:
            self.minutes_per_case.value.setText(_minutes(now))
            first = _minutes(float(np.mean(timed[:IN_A_ROW])))
            more = len(timed) > IN_A_ROW
            self.minutes_per_case.unit.setText(
                f"the first {IN_A_ROW} took {first}" if more else ""
            )
        dice = [item.dice for item in found[-IN_A_ROW:] if item.dice is not None]
        for plot in (self.dice, self.changed):
            plot.setVisible(bool(dice))
        self.agreement.value.setText(f"{np.mean(dice):.2f}" if dice else "\u2013")
        last = f"the last {len(dice)} corrections" if dice[1:] else "one correction"
        self.agreement.unit.setText(f"Dice, mean of {last}" if dice else "Dice")
        self.left.value.setText(count(waiting, "scan"))
        takes = 60 * (now or 0) * waiting
        self.left.unit.setText(f"about {duration(takes)} at this pace" if takes else "")
        self._draw(found)

    def accept_several(self, ticked: Iterable[str] = ()) -> None:
        """Show many predictions side by side, to accept or reopen; tick some."""
        project = self._session.project
        if project is None:
            self._session.say("Open a project first.")
            return
        if self.gallery is None:
            self.gallery = GalleryDialog(self._session, project, self._before, self)
            self.gallery.finished.connect(self._gallery_closed)
        self.gallery.model.check(ticked)
        self.gallery.show()
        self.gallery.raise_()

    def _gallery_closed(self, _: int = 0) -> None:
        gallery, self.gallery = self.gallery, None
        if gallery is not None:
            gallery.deleteLater()

    def showEvent(self, event: QShowEvent) -> None:
        """Bring the plots up to date when the tab is looked at."""
        super().showEvent(event)
        if self._stale:
            self.refresh()

    def _changed(self, _: object = None) -> None:
        self._stale = True
        if self.isVisible():
            self.refresh()

    def _draw(self, found: Sequence[Correction]) -> None:
        project = self._session.project
        classes = () if project is None else project.labels.classes
        text = self.palette().color(QPalette.ColorRole.WindowText).name()
        accent = classes[0].colour if classes else text
        rows = [
            Points(c.name, c.colour, [one.dice_by_class.get(c.name) for one in found])
            for c in classes
        ]
        if len(rows) > 1:
            rows.append(Points(MEAN, text, [item.dice for item in found]))
        self.dice.show_points(found, rows, "Dice")
        colour = accent if len(classes) == 1 else text
        minutes = Points("", colour, [item.minutes for item in found])
        self.minutes.show_points(found, [minutes], "min")
        voxels = [item.changed_voxels for item in found]
        thousands = [None if number is None else number / 1000 for number in voxels]
        changed = Points("", colour, thousands)
        self.changed.show_points(found, [changed], "thousand voxels")

    def _open(self, case_id: str) -> None:
        self._session.case_requested.emit(case_id)


def _minutes(minutes: float) -> str:
    return "<0.1 min" if minutes < SHOWN_MINUTES else f"{minutes:.1f} min"


def _known(counts: Mapping[str, int], doubted: Mapping[Acceptance | None, int]) -> str:
    """Say what estimates rest on, and how many cases nobody has verified."""
    most = max(counts.values(), default=0)
    if most < MINIMUM:
        text = f"Estimated Dice: not yet known, accept {MINIMUM - most} more."
    else:
        text = f"Estimated Dice of other cases rests on {most} corrections."
    for acceptance, number in doubted.items():
        noun = "prediction was" if number == 1 else "predictions were"
        text += f" {number} {noun} accepted {acceptance}: no point here."
    return text


def _tip(
    found: Sequence[Correction], row: Points, unit: str
) -> Callable[[float, float, object], str]:
    """Make the tool tips of points."""

    def say(x: float, y: float, data: object) -> str:
        item = found[round(x) - 1]
        when = time.strftime("%d %b %Y %H:%M", time.localtime(item.at))
        name = f"{row.name}: " if row.name else ""
        return f"{item.case}\n{name}{y:.3g} {unit}\n{when}, {item.by}"

    return say


def _ticks(count: int) -> list[tuple[float, str]]:
    """Place at most ten whole numbers along the axis."""
    step = max(1, -(-count // 10))
    return [(float(n), str(n)) for n in range(1, count + 1, step)]
