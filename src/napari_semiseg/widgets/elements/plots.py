"""Draw live curves of a training run."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import pyqtgraph as pg
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt.utils import QSignalThrottler

from napari_semiseg.core.labels import free_colour
from napari_semiseg.widgets.elements.forms import markup_label
from napari_semiseg.widgets.elements.style import colours_of

if TYPE_CHECKING:
    from collections.abc import Mapping

REDRAW_MS = 250
HEIGHT = 150


def dotted(colours: Mapping[str, str]) -> str:
    """Names, each behind a dot of its colour and on one line, as rich text."""
    return "&nbsp;&nbsp; ".join(
        f'<span style="color:{colour}">⬤</span>&nbsp;{_unbroken(words)}'
        for words, colour in colours.items()
    )


def _unbroken(words: str) -> str:
    return escape(words).replace(" ", "&nbsp;")


class PlotBox(QWidget):
    """A small plot with a title and a legend, in the colours of the theme.

    ``ground`` is the colour that it stands on, see `style.colours`.
    """

    def __init__(
        self,
        title: str,
        *,
        limits: tuple[float, float] | None = None,
        ground: str = "background",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._title, self._ground = title, ground
        self._plot = pg.PlotWidget()
        self._plot.setMenuEnabled(False)
        self._plot.setMouseEnabled(x=False, y=False)
        self._plot.hideButtons()
        self._plot.setFixedHeight(HEIGHT)
        self._plot.setMinimumWidth(0)
        self._plot.setStyleSheet("border: none; background: transparent")
        self._plot.getPlotItem().getAxis("left").setWidth(38)
        if limits is not None:
            self._plot.setYRange(*limits, padding=0.02)
        self.legend = markup_label(wrapped=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._plot)
        layout.addWidget(self.legend)
        self._follow_theme()

    def show_legend(self, colours: Mapping[str, str]) -> None:
        """Name what is drawn in which colour."""
        self.legend.setText(dotted(colours))

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._follow_theme()
        super().changeEvent(event)

    def _follow_theme(self) -> None:
        palette = self.palette()
        text = palette.color(QPalette.ColorRole.WindowText)
        self._plot.setBackground(colours_of(self)[self._ground])
        self._plot.setTitle(self._title or None, color=text, size="9pt")
        for side in ("left", "bottom"):
            axis = self._plot.getPlotItem().getAxis(side)
            axis.setPen(text)
            axis.setTextPen(text)


class Curves(PlotBox):
    """Curves of named values over steps; drawn a few times a second at most.

    Parameters
    ----------
    title : str
        Written above the plot.
    limits : tuple of float, optional
        Fixed range of the values.
    points : bool
        Mark each value, for sparse curves.
    """

    def __init__(
        self,
        title: str,
        *,
        limits: tuple[float, float] | None = None,
        points: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(title, limits=limits, parent=parent)
        self.values: dict[str, tuple[list[float], list[float]]] = {}
        self.marks: list[pg.InfiniteLine] = []
        self._points = points
        self._colours: Mapping[str, str] = {}
        self._drawn: dict[str, str] = {}
        self._items: dict[str, pg.PlotDataItem] = {}
        item = self._plot.getPlotItem()
        item.setDownsampling(auto=True, mode="mean")
        item.setClipToView(True)
        policy = QSignalThrottler.EmissionPolicy.Trailing
        self._redraw = QSignalThrottler(policy, parent=self)
        self._redraw.setTimeout(REDRAW_MS)
        self._redraw.triggered.connect(self.draw)

    def add(self, step: float, values: Mapping[str, float]) -> None:
        """Append one value per named curve."""
        for name, value in values.items():
            steps, known = self.values.setdefault(name, ([], []))
            steps.append(step)
            known.append(value)
        self._redraw.throttle()

    def mark(self, step: float) -> None:
        """Draw a dashed line where something happened."""
        colour = self.palette().color(QPalette.ColorRole.WindowText)
        pen = pg.mkPen(colour, width=1, style=Qt.PenStyle.DashLine)
        line = pg.InfiniteLine(step, angle=90, pen=pen)
        self._plot.addItem(line)
        self.marks.append(line)

    def clear(self, colours: Mapping[str, str] | None = None) -> None:
        """Remove all curves; ``colours`` by name for those to come."""
        self._redraw.cancel()
        self.values.clear()
        for item in self._items.values():
            self._plot.removeItem(item)
        self._items.clear()
        for line in self.marks:
            self._plot.removeItem(line)
        self.marks.clear()
        self._colours = colours or {}
        self._drawn.clear()
        self.legend.clear()

    def draw(self) -> None:
        """Show what was added."""
        for name, (steps, values) in self.values.items():
            if name not in self._items:
                self._items[name] = self._new(name)
            self._items[name].setData(steps, values)

    def _new(self, name: str) -> pg.PlotDataItem:
        number = len(self._items)
        colour = self._colours.get(name, free_colour(number + 1))
        self._drawn[name.replace("_", " ")] = colour
        self.show_legend(self._drawn)
        item = self._plot.plot(pen=pg.mkPen(colour, width=2))
        if self._points:
            item.setSymbol("o")
            item.setSymbolSize(6)
            item.setSymbolBrush(colour)
            item.setSymbolPen(None)
        return item
