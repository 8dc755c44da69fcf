"""Scroll a tab that may be higher than the screen, and slices with the wheel."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QSize, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QFrame, QScrollArea, QWidget

from napari_semiseg.widgets.common.preferences import setting

NARROW = 276
"""Pixels across that every tab of the panel must do with."""


class VerticalScroll(QScrollArea):
    """Scrolls up and down only; no content makes it, and the window, wider.

    Parameters
    ----------
    content : QWidget
        What scrolls.
    least : int
        Pixels across that it must do with, less those of a scroll bar.
    """

    def __init__(self, content: QWidget, least: int = NARROW) -> None:
        super().__init__()
        self._least = least
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(content)

    def minimumSizeHint(self) -> QSize:
        """As wide as asked for, and a scroll bar, whatever is inside."""
        bar = self.verticalScrollBar().sizeHint().width()
        return QSize(self._least + bar, 120)


class WheelScrollsSlices(QObject):
    """The wheel scrolls slices and Ctrl with the wheel zooms: napari, swapped.

    Only where slices are shown, and while the user wants it.
    """

    def __init__(self, viewer: Any, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._viewer = viewer
        self._swapping = False
        canvas.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Pass a turn of the wheel on with Ctrl up in place of down, or down."""
        if (
            event.type() != QEvent.Type.Wheel
            or self._swapping
            or self._viewer.dims.ndisplay != 2
            or not setting("wheel_scrolls")
        ):
            return False
        control = Qt.KeyboardModifier.ControlModifier
        swapped = QWheelEvent(
            event.position(),
            event.globalPosition(),
            event.pixelDelta(),
            event.angleDelta(),
            event.buttons(),
            event.modifiers() ^ control,
            event.phase(),
            event.inverted(),
        )
        self._swapping = True
        QCoreApplication.sendEvent(watched, swapped)
        self._swapping = False
        event.accept()
        return True
