"""Show the case in hand: name, state, doubt per slice, and what to look at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QFrame, QMenu, QPushButton, QSizePolicy, QWidget

from napari_semiseg.widgets.canvas.slice_strip import DONE, SOME, pointer
from napari_semiseg.widgets.common import planes
from napari_semiseg.widgets.elements.buttons import action_button, icon_button
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    ElidedLabel,
    plain,
    plain_label,
    row_of,
    stack,
)
from napari_semiseg.widgets.elements.style import colours_of, look, set_icon

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from qtpy.QtGui import QResizeEvent

    from napari_semiseg.core.prediction import SliceScore
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.elements.actions import Action

CHIPS = 3
MARK = 5.0
"""Height of the triangle at the slice that is shown."""
ROOMY = 330
"""Pixels across from which the card names the slices."""
STEP = 4
"""Every so many voxels of a slice are enough to tell how doubtful it is."""
STRIP, FOOT = 30, 4
LONG = re.compile(r"^Proposed by |\d{4}-\d\d-\d\d_|, step \d+")
"""Of where a mask comes from: what the chip says, and what is in the tooltip."""


class DoubtStrip(QWidget):
    """A bar per slice of the plane: how doubtful, done or not, and which is shown.

    Signals
    -------
    asked(int)
        The slice that was clicked.
    """

    asked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(STRIP)
        self.setAccessibleName("Doubt per slice")
        self.setToolTip("Doubt per slice, orange where most; below it what is done")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.doubt: NDArray[np.floating] = np.zeros(0)
        self.parts: NDArray[np.float64] = np.zeros(0)
        self.worst: frozenset[int] = frozenset()
        self.index = 0

    def minimumSizeHint(self) -> QSize:
        """As narrow as its layout needs it."""
        return QSize(60, STRIP)

    def mousePressEvent(self, event: Any) -> None:
        """Go to the slice under the pointer."""
        share = event.position().x() / max(self.width(), 1)
        self.asked.emit(int(np.clip(share, 0, 0.999) * max(len(self.parts), 1)))

    def paintEvent(self, event: Any) -> None:
        """Draw the bars, their feet, and a mark at the slice that is shown."""
        count = len(self.parts)
        if not count:
            return
        painter, found = QPainter(self), colours_of(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        wide, bottom = self.width() / count, self.height() - FOOT - 1
        quiet, loud = QColor(found["secondary"]), SOME
        quiet.setAlpha(150)
        for index in range(count):
            part = float(self.doubt[index]) if index < len(self.doubt) else 0.0
            high = max(1.0, part * (bottom - 8))
            bar = QRectF(index * wide, bottom - high, max(wide - 0.8, 0.8), high)
            painter.fillRect(bar, loud if index in self.worst else quiet)
            if self.parts[index] > 0:
                foot = DONE if self.parts[index] == 1 else SOME
                area = QRectF(index * wide, self.height() - FOOT, max(wide, 2), FOOT)
                painter.fillRect(area, foot)
        middle = (self.index + 0.5) * wide
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(found["text"]))
        painter.drawPolygon(pointer(QPointF(middle, MARK), MARK))
        painter.fillRect(
            QRectF(middle - 0.75, 5, 1.5, bottom - 5), QColor(found["text"])
        )


class CaseCard(QFrame):
    """Name and state of the open case, its slices by doubt, and *Slice done*.

    Parameters
    ----------
    view : CaseView
        The case that is open.
    actions : mapping of str to Action
        Of the review.
    panel : object
        What they are run with.
    menu : QMenu
        Of the three dots.
    """

    def __init__(
        self,
        view: CaseView,
        actions: Mapping[str, Action[Any]],
        panel: Any,
        menu: QMenu,
    ) -> None:
        super().__init__()
        look(self, "card")
        self._view = view
        self._axis = -1
        self._doubt_of: object = None
        self._flagged = False
        self.title = ElidedLabel("title")
        self.chip = look(plain_label(), "chip")
        self.source = ElidedLabel("secondary")
        self.quality = look(plain_label(), "title")
        self.likely = look(plain_label(), "secondary")
        self.strip = DoubtStrip()
        self.strip.asked.connect(lambda index: view.go_to(self._axis, index))
        names = ("previous_case", "skip_case", "flag_case")
        self.buttons = {name: icon_button(actions[name], panel) for name in names}
        more = look(QPushButton(), "flat")
        set_icon(more, "dots_vertical", 16)
        if more.icon().isNull():
            more.setText("More")
        more.setAccessibleName("More")
        more.setToolTip("Drafts, earlier masks, export, all keys")
        more.setMenu(menu)
        self.kind = look(plain_label(), "secondary")
        self.chips = [look(QPushButton(), "doubt") for _ in range(CHIPS)]
        for chip in self.chips:
            chip.setCheckable(True)
            chip.setToolTip("Go to this slice")
            chip.clicked.connect(self._go)
        done = action_button(actions["mark_slice_done"], panel)
        done.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.buttons["mark_slice_done"] = done
        head = row_of(self.title, *list(self.buttons.values())[:3], more)
        head.setSpacing(2)
        row = row_of(self.kind, *self.chips, None, done)
        state = row_of(self.source, self.quality, self.likely)
        state.insertWidget(0, self.chip)
        state.insertStretch(2)  # where there is no room for the source
        layout = stack(self, head, state, self.strip, row)
        layout.setContentsMargins(10, 6, 8, 8)
        layout.setSpacing(4)
        dims = view.viewer.dims.events
        Connections(self).add(
            self.show_slice, dims.point, dims.order, view.model.counted
        )

    def show_case(self, flag: str | None, quality: str, why: str) -> None:
        """Show the case that is open; its flag, and how good the mask may be."""
        case = self._view.case
        if case is None:
            return
        self.title.setText(case.id)
        self.chip.setText(case.state)
        source = LONG.sub("", self._view.text)
        words = "" if flag is None else f"\u2691 Flagged{f': {flag}' if flag else ''}"
        self.source.setText(" \u00b7 ".join(filter(None, (words, source))))
        for label in (self.source, self.chip):
            label.setToolTip(plain(self._view.text))
        self._flagged = flag is not None
        self._fit()
        number, _, likely = quality.partition(" ")
        known = number[:1].isdigit()
        self.quality.setVisible(known)
        self.quality.setText(number)
        self.likely.setText(likely if known else quality)
        for label in (self.quality, self.likely):
            label.setToolTip(plain(why))
        self.show_slice()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave the room of a narrow panel to what can be pressed."""
        super().resizeEvent(event)
        QTimer.singleShot(0, self._fit)

    def _fit(self) -> None:
        roomy = self.width() >= ROOMY
        self.kind.setVisible(roomy)
        self.source.setVisible(roomy or self._flagged)

    def show_slice(self, _: object = None) -> None:
        """Show the plane and the slice that the canvas shows."""
        view, editing = self._view, self._view.editing
        if view.case is None or editing is None or view.viewer.dims.ndim != 3:
            return
        axis, here = int(view.viewer.dims.order[0]), view.slice_index
        strip = self.strip
        strip.parts, strip.index = editing.annotated_slices(axis), here
        if axis != self._axis or self._doubt_of is not view.prediction:
            self._axis, self._doubt_of = axis, view.prediction
            strip.doubt = _doubt(view, axis)
        worst = [one.index for one in view.model.doubtful_slices(axis)]
        strip.worst = frozenset(worst)
        strip.update()
        self.kind.setText("Doubtful" if worst else "Done")
        shown = worst or [int(n) for n in np.flatnonzero(strip.parts == 1)]
        if here in shown[CHIPS:]:
            shown = [here, *shown]
        for number, chip in enumerate(self.chips):
            chip.setVisible(number < len(shown))
            if number < len(shown):
                index = shown[number]
                seen = bool(worst) and editing.was_seen(axis, index)
                shown_as = index + 1
                chip.setText(f"{shown_as} \u2713" if seen else str(shown_as))
                chip.setAccessibleName(f"Slice {shown_as}")
                chip.setProperty("index", index)
                chip.setChecked(index == here)
                chip.setToolTip(plain(_reason(view.model.doubtful_slices(axis), index)))

    def _go(self) -> None:
        index = self.sender().property("index")
        self._view.go_to(self._axis, int(index))


def _doubt(view: CaseView, axis: int) -> NDArray[np.floating]:
    """Doubt of each slice across an axis, of the most doubtful one."""
    if view.prediction is None:
        return np.zeros(0)
    cut = [slice(None, None, STEP)] * 3
    cut[axis] = slice(None)
    across = tuple(other for other in range(3) if other != axis)
    found = view.prediction.uncertainty[tuple(cut)].mean(axis=across, dtype=np.float32)
    return np.asarray(found / max(float(found.max()), 1e-6))


def _reason(slices: list[SliceScore], index: int) -> str:
    for one in slices:
        if one.index == index:
            name = planes.NAMES[one.axis]
            return f"{name} slice {index + 1}: {one.reason}, doubt {one.score:.2f}"
    return f"Slice {index + 1} is done"
