"""What to paint and with which tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.widgets.common import keys
from napari_semiseg.widgets.common.keys import short

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from napari_semiseg.core.labels import LabelScheme

MODES = (
    ("paint", "Paint", keys.PAINT),
    ("erase", "Erase", keys.ERASE),
    ("fill", "Fill", keys.BUCKET),
    ("pan_zoom", "Pan", keys.PAN),
)
BRUSH_MAX = 60


class ClassButtons(QWidget):
    """One button per class, with its key, colour, name, volume in mL and lock.

    Signals
    -------
    chosen(int)
        The value to paint.
    lock_asked(int, bool)
        Nothing shall paint over this class, or may again.
    """

    chosen = Signal(int)
    lock_asked = Signal(int, bool)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: dict[int, QPushButton] = {}
        self.locks: dict[int, QPushButton] = {}
        self._volumes: dict[int, QLabel] = {}
        self._group = QButtonGroup(self)
        self._group.idClicked.connect(self._choose)
        self._layout = QGridLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setVerticalSpacing(2)
        self._layout.setColumnStretch(0, 1)

    def set_scheme(self, scheme: LabelScheme | None) -> None:
        """Show the classes of a project."""
        old = (self.buttons, self._volumes, self.locks)
        for widget in (one for some in old for one in some.values()):
            self._layout.removeWidget(widget)
            widget.deleteLater()
        for some in old:
            some.clear()
        if scheme is None:
            return
        for position, item in enumerate(scheme, start=1):
            key = str(position) if position <= 9 else ""
            self._add(position, item.value, item.name, item.colour, key)
        row = len(scheme) + 1
        background = self._button(0, "background", "#000000", "0")
        unknown = self._button(
            UNANNOTATED, "not annotated", "#5f7399", short(keys.UNKNOWN.key)
        )
        background.setToolTip("Paint background: there is none of the structures (0)")
        unknown.setToolTip(
            f"Take annotation back: nobody has looked there ({keys.UNKNOWN.key})"
        )
        both = QHBoxLayout()
        both.setSpacing(4)
        both.addWidget(background)
        both.addWidget(unknown)
        self._layout.addLayout(both, row, 0, 1, 3)

    def show_counts(self, counts: dict[int, int], voxel_ml: float) -> None:
        """Write the volume of each class."""
        for value, label in self._volumes.items():
            if value:
                label.setText(f"{counts.get(value, 0) * voxel_ml:.1f} mL")

    def show_locked(self, locked: Collection[int]) -> None:
        """Mark the classes that are locked."""
        for value, button in self.locks.items():
            button.blockSignals(True)
            button.setChecked(value in locked)
            button.setIcon(padlock(closed=value in locked))
            button.blockSignals(False)

    def select(self, value: int) -> None:
        """Mark the class that is painted."""
        if value in self.buttons:
            self.buttons[value].setChecked(True)

    def _choose(self, value: int) -> None:
        self.chosen.emit(value)

    def _add(self, row: int, value: int, name: str, colour: str, key: str) -> None:
        button = self._button(value, name, colour, key)
        volume = QLabel("")
        volume.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        volume.setMinimumWidth(volume.fontMetrics().horizontalAdvance("0000.0 mL"))
        lock = QPushButton()
        lock.setCheckable(True)
        lock.setIcon(padlock(closed=False))
        lock.setFixedWidth(28)
        lock.setToolTip(f"Lock {name}: nothing paints over it ({keys.LOCK.key})")
        lock.setAccessibleName(f"Lock {name}")
        lock.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        lock.toggled.connect(lambda on: self.lock_asked.emit(value, on))
        for column, widget in enumerate((button, volume, lock)):
            self._layout.addWidget(widget, row, column)
        self._volumes[value] = volume
        self.locks[value] = lock

    def _button(self, value: int, name: str, colour: str, key: str) -> QPushButton:
        button = QPushButton()
        button.setText(f" {key}  {name}" if key else f"     {name}")
        button.setToolTip(f"Paint {name}" + (f" (key {key})" if key else ""))
        button.setIcon(swatch(colour))
        button.setIconSize(QSize(14, 14))
        button.setCheckable(True)
        button.setStyleSheet("text-align: left; padding: 3px 6px")
        button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._group.addButton(button, value)
        self.buttons[value] = button
        return button


class ToolRow(QWidget):
    """Paint, erase, fill, pan, and the size of the brush; follows the mask layer."""

    def __init__(self) -> None:
        super().__init__()
        self._mask: Any = None
        self.modes: dict[str, QPushButton] = {}
        group = QButtonGroup(self)
        row = QHBoxLayout()
        row.setSpacing(2)
        for mode, text, shortcut in MODES:
            button = QPushButton()
            button.setText(f"{text} ({shortcut.key})")
            button.setToolTip(f"{shortcut.text}: key {shortcut.key}")
            button.setCheckable(True)
            button.setMinimumWidth(40)
            button.setStyleSheet("padding: 3px 4px")
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.clicked.connect(self._setter(mode))
            group.addButton(button)
            row.addWidget(button)
            self.modes[mode] = button
        self.brush = QSlider(Qt.Orientation.Horizontal)
        self.brush.setRange(1, BRUSH_MAX)
        self.brush.setAccessibleName("Brush size in voxels")
        self.brush.setToolTip("Brush size in voxels: keys [ and ]")
        self.brush.valueChanged.connect(self._set_brush)
        self._size = QLabel("1")
        self._size.setMinimumWidth(self._size.fontMetrics().horizontalAdvance("000"))
        brush_row = QHBoxLayout()
        brush_row.addWidget(QLabel("Brush"))
        brush_row.addWidget(self.brush, 1)
        brush_row.addWidget(self._size)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row)
        layout.addLayout(brush_row)

    def follow(self, mask: Any) -> None:
        """Steer this mask layer from now on; None lets go of the present one."""
        if self._mask is not None:
            self._mask.events.mode.disconnect(self._show)
            self._mask.events.brush_size.disconnect(self._show)
        self._mask = mask
        if mask is not None:
            mask.events.mode.connect(self._show)
            mask.events.brush_size.connect(self._show)
            self._show()
        self.setEnabled(mask is not None)

    def set_mode(self, mode: str) -> None:
        """Take a tool in hand: paint, erase, fill or pan_zoom."""
        if self._mask is not None:
            self._mask.mode = mode

    def _setter(self, mode: str) -> Callable[[], None]:
        return lambda: self.set_mode(mode)

    def _set_brush(self, size: int) -> None:
        self._size.setText(str(size))
        if self._mask is not None and int(self._mask.brush_size) != size:
            self._mask.brush_size = size

    def _show(self, event: Any = None) -> None:
        if self._mask is None:
            return
        button = self.modes.get(str(self._mask.mode))
        if button is not None:
            button.setChecked(True)
        self.brush.blockSignals(True)
        self.brush.setValue(int(self._mask.brush_size))
        self.brush.blockSignals(False)
        self._size.setText(str(int(self._mask.brush_size)))


def swatch(colour: str) -> QIcon:
    """A small square of a colour."""
    picture = QPixmap(28, 28)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QColor("#aaaaaa"))
    painter.setBrush(QColor(colour))
    painter.drawRoundedRect(2, 2, 23, 23, 5, 5)
    painter.end()
    return QIcon(picture)


def padlock(*, closed: bool) -> QIcon:
    """A padlock: bright and shut, or dim and open."""
    picture = QPixmap(28, 28)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    colour = QColor("#F0E442" if closed else "#8a9099")
    painter.setPen(QPen(colour, 2.6))
    painter.drawArc(8 if closed else 14, 3, 12, 16, 0, 180 * 16)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    painter.drawRoundedRect(5, 12, 18, 13, 3, 3)
    painter.end()
    return QIcon(picture)
