"""Mark done and doubtful slices along napari's sliders, and count slices from 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, QPoint, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPolygonF
from qtpy.QtWidgets import QAbstractSpinBox, QSpinBox, QWidget
from superqt.utils import QSignalDebouncer, signals_blocked

from napari_semiseg.widgets.elements.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from napari_semiseg.widgets.canvas.case_model import CaseModel
    from napari_semiseg.widgets.canvas.linked_canvases import LinkedCanvases

DONE, SOME = QColor("#009E73"), QColor("#E69F00")
HEIGHT = 4
POINTER = 4.0
"""Height of a triangle."""
SLIDER_WIDTH = 40


def pointer(tip: QPointF, height: float) -> QPolygonF:
    """Make a triangle that points down, twice as wide as it is high."""
    ends = [tip + QPointF(side * height, -height) for side in (-1, 1)]
    return QPolygonF([*ends, tip])


class SliceNumber(QSpinBox):
    """Number of the slice, from 1, in place of napari's numbers, which are from 0.

    Also lets the slider be narrow, which would keep the window wide.
    """

    def __init__(self, slider_widget: Any) -> None:
        super().__init__(slider_widget)
        self._dims, self._axis = slider_widget.dims, slider_widget.axis
        self._hidden = [
            part
            for name in ("slice_label", "slice_label_sep")
            for part in slider_widget.findChildren(QWidget, name)
        ]
        for part in self._hidden:
            part.hide()
        slider_widget.slider.setMinimumWidth(SLIDER_WIDTH)
        self.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setKeyboardTracking(False)
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setStyleSheet("min-width: 0; padding: 0 2px")
        self.setAccessibleName("Slice")
        self.setToolTip("Slice in view, counted from 1")
        slider_widget.layout().addWidget(self)
        self.valueChanged.connect(self._go)
        self._connections = Connections(self)
        events = self._dims.events
        self._connections.add(self._show, events.current_step, events.range)
        self._show()

    def remove(self) -> None:
        """Show napari's own numbers again."""
        self._connections.close()
        for part in self._hidden:
            part.show()
        self.hide()
        self.deleteLater()

    def _go(self, number: int) -> None:
        self._dims.set_current_step(self._axis, number - 1)

    def _show(self, event: Any = None) -> None:
        if self._axis < self._dims.ndim:
            count = int(self._dims.nsteps[self._axis])
            with signals_blocked(self):
                self.setRange(1, count)
                self.setSuffix(f" / {count}")
                self.setValue(self._dims.current_step[self._axis] + 1)


class SliceStrip(QWidget):
    """Green where a slice is annotated throughout, orange where in part.

    The marks are on the lower edge of the slider of the axis that is sliced; on the
    upper one triangles point at doubtful slices. The mouse goes through it. Every
    slider gets a `SliceNumber`.
    """

    def __init__(self, dims: Any) -> None:
        super().__init__(dims)
        self._dims = dims
        self._axis = 0
        self.parts: NDArray[np.float64] = np.zeros(0)
        self.doubtful: frozenset[int] = frozenset()
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._laid_out = QSignalDebouncer(parent=self)
        self._laid_out.setTimeout(0)
        self._laid_out.triggered.connect(self._place)
        dims.installEventFilter(self)
        self.hide()

    def show_slices(
        self, axis: int, parts: NDArray[np.float64], doubtful: Collection[int]
    ) -> None:
        """Show the annotated part, 0 to 1, of slices across an axis, and doubt."""
        self._axis, self.parts, self.doubtful = axis, parts, frozenset(doubtful)
        self._laid_out.throttle()
        self.update()

    def remove(self) -> None:
        """Leave napari's sliders as they were."""
        for number in self._dims.findChildren(SliceNumber):
            number.remove()
        self.hide()
        self.deleteLater()

    def clear(self) -> None:
        """Show nothing."""
        self.parts, self.doubtful = np.zeros(0), frozenset()
        self.hide()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Follow the sliders when they are laid out anew."""
        if event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest):
            self._laid_out.throttle()
        return False

    def paintEvent(self, event: Any) -> None:
        """Draw one mark per slice, and what points at the doubtful ones."""
        count = len(self.parts)
        if not count:
            return
        painter = QPainter(self)
        width = self.width() / count
        for index in np.flatnonzero(self.parts > 0):
            colour = DONE if self.parts[index] == 1 else SOME
            left, top = index * width, self.height() - HEIGHT
            painter.fillRect(QRectF(left, top, max(width, 1.5), HEIGHT), colour)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(SOME)
        for doubtful in self.doubtful:
            tip = QPointF((doubtful + 0.5) * width, POINTER)
            painter.drawPolygon(pointer(tip, POINTER))

    def _place(self) -> None:
        sliders = self._dims.slider_widgets
        for one in sliders:
            if one.findChild(SliceNumber) is None:
                SliceNumber(one)
        shown = self._axis < len(sliders) and sliders[self._axis].isVisible()
        if not shown or not len(self.parts):
            self.hide()
            return
        slider = sliders[self._axis].slider
        corner = slider.mapTo(self._dims, QPoint(0, 0))
        self.setGeometry(corner.x(), corner.y(), slider.width(), slider.height())
        self.show()
        self.raise_()


class AnnotatedSlices(QObject):
    """Keeps the strip on the main viewer's slider to the mask that is open."""

    def __init__(
        self, viewer: Any, model: CaseModel, canvases: LinkedCanvases, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._model = model
        self._canvases = canvases
        self.strip: SliceStrip | None = None
        connections = Connections(self)
        connections.at_close(self._remove)
        order = viewer.dims.events.order
        connections.add(self._show, model.shown, model.counted, order)

    def _remove(self) -> None:
        if self.strip is not None:
            strip, self.strip = self.strip, None
            strip.remove()

    def _forget(self, _: object = None) -> None:
        """The window took the strip along."""
        self.strip = None

    def _show(self, _: object = None) -> None:
        editing, sliders = self._model.editing, self._canvases.sliders
        if editing is None or sliders is None:
            if self.strip is not None:
                self.strip.clear()
            return
        if self.strip is None:
            self.strip = SliceStrip(sliders)
            self.strip.destroyed.connect(self._forget)
        axis = int(self._viewer.dims.order[0])
        doubtful = [one.index for one in self._model.doubtful_slices(axis)]
        self.strip.show_slices(axis, editing.annotated_slices(axis), doubtful)
