"""Count the cases by what they are, and show only some of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QRectF, QSize, QTimer, Signal
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QButtonGroup, QPushButton, QSizePolicy, QWidget
from superqt.utils import QFlowLayout

from napari_semiseg.core.text import count
from napari_semiseg.widgets.cohort.model import FLAGGED, KINDS, TEST
from napari_semiseg.widgets.elements.forms import stack
from napari_semiseg.widgets.elements.style import colours_of, icon, look, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QMouseEvent, QPaintEvent, QResizeEvent

    from napari_semiseg.widgets.cohort.model import Row

ALL = ""
WORDS_FROM = 440
"""Pixels across from which the filters are named; below, they have icon and number."""
HEIGHT, GAP = 6, 2


class StateBar(QWidget):
    """Shares of the cohort by state, as a bar of colours.

    Signals
    -------
    asked(str)
        The kind that was clicked.
    """

    asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(HEIGHT)
        self._counts: dict[str, int] = {}

    def show_counts(self, counts: dict[str, int]) -> None:
        """Show how many cases there are of each kind; none is in two of them."""
        self._counts = counts
        words = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        self.setAccessibleName(f"States: {words}")
        self.setToolTip(words)
        self.update()

    def _parts(self) -> list[tuple[str, QRectF]]:
        whole, left, parts = sum(self._counts.values()), 0.0, []
        for kind, number in self._counts.items():
            wide = self.width() * number / whole
            parts.append((kind, QRectF(left, 0, max(wide - GAP, 1), HEIGHT)))
            left += wide
        return parts

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw a part for each kind."""
        painter = QPainter(self)
        for kind, area in self._parts():
            painter.fillRect(area, QColor(KINDS[kind].colour))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Ask for the kind under the pointer."""
        for kind, area in self._parts():
            if area.left() <= event.pos().x() <= area.right() + GAP:
                self.asked.emit(kind)


class Filters(QWidget):
    """A bar of the states, and a button for each kind of case with its number.

    Signals
    -------
    chosen(str)
        The kind of which cases shall be shown; empty for all.
    """

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.bar = StateBar()
        self.bar.asked.connect(self.choose)
        self.buttons: dict[str, QPushButton] = {}
        self._counts: Counter[str] = Counter()
        self._group = QButtonGroup(self)  # arrows go from one to the next
        chips = QWidget()
        self._flow = QFlowLayout(chips)
        self._flow.setContentsMargins(0, 0, 0, 0)
        self._flow.setHorizontalSpacing(4)
        self._flow.setVerticalSpacing(4)
        for kind in (ALL, *KINDS):
            button = look(QPushButton(), "filter")
            button.setCheckable(True)
            button.setMinimumWidth(28)
            button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
            button.setIconSize(QSize(14, 14))
            button.clicked.connect(lambda _, kind=kind: self.chosen.emit(kind))
            button.toggled.connect(self._paint_icons)
            self._group.addButton(button)
            self.buttons[kind] = button
            self._flow.addWidget(button)
        self.buttons[ALL].setChecked(True)
        stack(self, self.bar, chips, margin=0).setSpacing(6)

    @property
    def kind(self) -> str:
        """The kind that is chosen."""
        return next(kind for kind, one in self.buttons.items() if one.isChecked())

    def choose(self, kind: str) -> None:
        """Show the cases of a kind; empty for all."""
        self.buttons[kind].setChecked(True)
        self.chosen.emit(kind)

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Count the cases of each kind."""
        states = Counter(row.kind for row in rows)
        marks = {FLAGGED: 0, TEST: 0}
        for kind in marks:
            marks[kind] = sum(kind in row.kinds for row in rows)
        self._counts = Counter({ALL: len(rows)} | states | marks)
        self.bar.show_counts({kind: states[kind] for kind in KINDS if states[kind]})
        self._name()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Name the filters where there is room."""
        super().resizeEvent(event)
        QTimer.singleShot(0, self._name)  # a layout at work ignores a resize

    def changeEvent(self, event: QEvent) -> None:
        """Take the colours of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._paint_icons()

    def _name(self) -> None:
        for kind, button in self.buttons.items():
            number, title = self._counts[kind], kind.capitalize() or "All"
            short = bool(kind) and self.width() < WORDS_FROM
            text = str(number) if short and not button.icon().isNull() else ""
            button.setText(text or f"{title} {number}")
            button.setAccessibleName(f"{title}, {count(number, 'case')}")
            tip = (
                f"Show only these: {KINDS[kind].meaning}" if kind else "Show all cases"
            )
            button.setToolTip(tip)
            shown = number > 0 or not kind or button.isChecked()
            self._flow.removeWidget(button)  # hidden, it would still part the others
            button.setVisible(shown)
            if shown:
                self._flow.addWidget(button)
        self._flow.activate()

    def _paint_icons(self, _checked: bool = False) -> None:
        found = colours_of(self)
        for kind, button in self.buttons.items():
            if kind:
                ground = found["text" if button.isChecked() else "background"]
                colour = readable(KINDS[kind].colour, ground)
                button.setIcon(icon(KINDS[kind].icon, colour))
