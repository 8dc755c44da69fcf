"""Show a message over the canvas for a while, with a button that takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtCore import QEvent, QPoint, Qt, QTimer
from qtpy.QtWidgets import QFrame, QHBoxLayout, QWidget

from napari_semiseg.widgets.elements.buttons import KeyButton
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import ElidedLabel, push_button
from napari_semiseg.widgets.elements.style import Style, look

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SHOWN_MS = 10_000
TICK_MS = 250
HEIGHT, WIDTH, ABOVE, PARTED = 44, 640, 22, 90


class Toast(QFrame):
    """One message at a time, above the lower edge of a widget; it moves nothing.

    It stays while the pointer is on it.

    Parameters
    ----------
    over : QWidget
        What it lies over, a window.
    canvas : QWidget
        Above whose lower edge it stands.
    viewer : napari.Viewer
        Has its theme.
    """

    def __init__(self, over: QWidget, canvas: QWidget, viewer: Any) -> None:
        super().__init__(over)
        look(self, "toast")
        self.text = ElidedLabel()
        self.text.setElideMode(Qt.TextElideMode.ElideRight)
        self.button = KeyButton("", icon="undo_variant", run=self._take_back)
        self.close_button = push_button("\u2715", self.hide, "Close")
        look(self.close_button, "flat").setAccessibleName("Close")
        self.button.setSizePolicy(self.close_button.sizePolicy())
        self._bar = look(QFrame(self), "left")
        self._undo: Callable[[], object] | None = None
        self._left = 0
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 4, 6, 6)
        row.addWidget(self.text, 1)
        row.addWidget(self.button)
        row.addWidget(self.close_button)
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)
        self._canvas = ref(canvas)  # else it keeps the window alive
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Message")
        self._style = Style(self, viewer, Connections(self))
        canvas.installEventFilter(self)
        self.hide()

    def show_message(self, text: str, button: str, undo: Callable[[], object]) -> None:
        """Show a text for ten seconds, and the button that takes it back."""
        self.text.setText(text)
        self.button.set_step(button, "")
        self._undo, self._left = undo, SHOWN_MS
        self._place()
        self.show()
        self.raise_()
        self._timer.start()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Follow the size of what it lies over."""
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def hideEvent(self, event: Any) -> None:
        """Forget how to take it back."""
        self._timer.stop()
        self._undo = None

    def _take_back(self) -> None:
        undo = self._undo
        self.hide()
        if undo is not None:
            undo()

    def _place(self) -> None:
        canvas, over = self._canvas(), self.parentWidget()
        if canvas is None or over is None:
            return
        corner = canvas.mapTo(over, QPoint(0, 0))
        words = self.text.fontMetrics().horizontalAdvance(self.text.text())
        aside = self.button.sizeHint().width() + self.close_button.sizeHint().width()
        width = max(min(WIDTH, words + aside + PARTED, over.width() - 16), 1)
        left = corner.x() + (canvas.width() - width) // 2
        left = max(8, min(left, over.width() - width - 8))
        top = corner.y() + canvas.height() - HEIGHT - ABOVE
        self.setGeometry(left, max(top, 0), width, HEIGHT)
        self._show_left()

    def _show_left(self) -> None:
        # No progress bar, which paints at once, and the canvas below along with it.
        across = round((self.width() - 2) * max(self._left, 0) / SHOWN_MS)
        self._bar.setGeometry(1, HEIGHT - 3, across, 2)

    def _tick(self) -> None:
        if not self.underMouse():
            self._left -= TICK_MS
        self._show_left()
        if self._left <= 0:
            self.hide()
