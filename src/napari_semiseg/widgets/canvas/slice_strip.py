"""A strip along napari's slice slider that shows which slices are annotated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QRectF, Qt, QTimer
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QWidget

from napari_semiseg.widgets.common.connections import Connections

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_semiseg.widgets.canvas.case_view import CaseView

DONE, SOME = QColor("#009E73"), QColor("#E69F00")
HEIGHT = 4


class SliceStrip(QWidget):
    """Green where a slice is annotated throughout, orange where in part.

    Lies over the lower edge of the slider of the axis that is sliced; the mouse goes
    through it.

    Parameters
    ----------
    dims : QWidget
        napari's sliders, ``slider_widgets`` one per axis.
    """

    def __init__(self, dims: Any) -> None:
        super().__init__(dims)
        self._dims = dims
        self._axis = 0
        self.parts: NDArray[np.float64] = np.zeros(0)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.timeout.connect(self._place)
        dims.installEventFilter(self)
        self.hide()

    def show_slices(self, axis: int, parts: NDArray[np.float64]) -> None:
        """Show the annotated part, 0 to 1, of each slice across an axis."""
        self._axis, self.parts = axis, parts
        self._settle.start(0)
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self.parts = np.zeros(0)
        self.hide()

    def close_strip(self) -> None:
        """Leave the sliders."""
        self._settle.stop()
        self.hide()
        self.deleteLater()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Follow the sliders when they are laid out anew."""
        if event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest):
            self._settle.start(0)
        return False

    def paintEvent(self, event: Any) -> None:
        """Draw one mark per slice."""
        count = len(self.parts)
        if not count:
            return
        painter = QPainter(self)
        width = self.width() / count
        for index in np.flatnonzero(self.parts > 0):
            colour = DONE if self.parts[index] == 1 else SOME
            mark = QRectF(index * width, 0, max(width, 1.5), self.height())
            painter.fillRect(mark, colour)

    def _place(self) -> None:
        sliders = self._dims.slider_widgets
        shown = self._axis < len(sliders) and sliders[self._axis].isVisible()
        if not shown or not len(self.parts):
            self.hide()
            return
        slider = sliders[self._axis].slider
        corner = slider.mapTo(self._dims, QPoint(0, slider.height() - HEIGHT))
        self.setGeometry(corner.x(), corner.y(), slider.width(), HEIGHT)
        self.show()
        self.raise_()


class StripKeeper:
    """Keeps the strip of the main viewer to the mask that is open.

    Parameters
    ----------
    view : CaseView
        The case that is open.
    """

    def __init__(self, view: CaseView) -> None:
        self._view = view
        self.strip: SliceStrip | None = None
        order = view.viewer.dims.events.order
        self._connected = Connections()
        self._connected.add(self._show, view.shown, view.counted, order)

    def close(self) -> None:
        """Take the strip away."""
        self._connected.close()
        if self.strip is not None:
            strip, self.strip = self.strip, None
            strip.destroyed.disconnect(self._gone)
            strip.close_strip()

    def _gone(self, _: object = None) -> None:
        """The window took the strip along."""
        self.strip = None

    def _show(self, _: object = None) -> None:
        view = self._view
        if view.editing is None or view.canvases.sliders is None:
            if self.strip is not None:
                self.strip.clear()
            return
        if self.strip is None:
            self.strip = SliceStrip(view.canvases.sliders)
            self.strip.destroyed.connect(self._gone)
        axis = int(view.viewer.dims.order[0])
        self.strip.show_slices(axis, view.editing.annotated_slices(axis))
