"""Choose the class to paint and the brush to paint it with."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QWidget,
)
from superqt import QLabeledSlider
from superqt.utils import signals_blocked

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.core.text import millilitres
from napari_semiseg.widgets.common.scrolling import VerticalScroll
from napari_semiseg.widgets.elements.actions import short
from napari_semiseg.widgets.elements.buttons import KeyButton, show_action
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    plain,
    plain_label,
    push_button,
    row_of,
    stack,
)
from napari_semiseg.widgets.elements.style import look

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from qtpy.QtGui import QResizeEvent

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.widgets.elements.actions import Action

BRUSH_MAX = 60
PAN = "pan_zoom"
"""Mode without a tool in hand, unless marks are drawn in it."""
ROWS = 5.5
"""Structures that are shown at a time; half of one says that there are more."""
WIDE = 300
"""Pixels across from which on volumes are written in words."""


class ClassButtons(QWidget):
    """One button per class, with its key, colour, name, volume in mL and lock.

    Parameters
    ----------
    actions : mapping of str to Action
        Of the review; the tooltips name their keys.

    Signals
    -------
    chosen(int)
        The value to paint.
    lock_asked(int, bool)
        Nothing shall paint over this class, or may again.
    """

    chosen = Signal(int)
    lock_asked = Signal(int, bool)

    def __init__(self, actions: Mapping[str, Action[Any]]) -> None:
        super().__init__()
        self._actions = actions
        self.buttons: dict[int, KeyButton] = {}
        self.locks: dict[int, QPushButton] = {}
        self._volumes: dict[int, QLabel] = {}
        self._parts: dict[int, tuple[float, float]] = {}
        self._group = QButtonGroup(self)
        self._group.idClicked.connect(self.chosen)
        rows = QWidget()
        self._layout = QGridLayout(rows)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setVerticalSpacing(2)
        self._layout.setColumnStretch(0, 1)
        rows.installEventFilter(self)
        self._scroll = VerticalScroll(rows, least=0)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._others = QHBoxLayout()
        self._others.setSpacing(4)
        stack(self, self._scroll, self._others, margin=0).setSpacing(2)

    def set_scheme(self, scheme: LabelScheme | None) -> None:
        """Show the classes of a project."""
        for widgets in (self.buttons, self._volumes, self.locks):
            for widget in widgets.values():
                widget.hide()
                widget.deleteLater()
            widgets.clear()
        if scheme is None:
            return
        for position, item in enumerate(scheme, start=1):
            key = str(position) if position <= 9 else ""
            self._add(position, item.value, item.name, item.colour, key)
        background = self._button(0, "background", "#000000", "0")
        key = short(self._actions["paint_unannotated"].key)
        unknown = self._button(UNANNOTATED, "not annotated", "#5f7399", key)
        background.setToolTip("Paint background: there is none of the structures (0)")
        unknown.setToolTip(f"Paint as not annotated ({key})")
        self._others.addWidget(background)
        self._others.addWidget(unknown)

    def show_counts(
        self, counts: dict[int, int], proposed: dict[int, int], voxel_ml: float
    ) -> None:
        """Write the volume of each class: what is painted, and what is only proposed.

        Parameters
        ----------
        counts, proposed : dict of int to int
            Voxels of each class, and those of them that nobody has annotated.
        voxel_ml : float
            Volume of a voxel.
        """
        for value in self._volumes:
            waits = proposed.get(value, 0)
            parts = (counts.get(value, 0) - waits, waits)
            self._parts[value] = (parts[0] * voxel_ml, parts[1] * voxel_ml)
        self._show_volumes()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Say as much of the volumes as there is room for."""
        super().resizeEvent(event)
        QTimer.singleShot(0, self._show_volumes)  # once it is laid out

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the height of the rows, which theme and font change."""
        if event.type() == QEvent.Type.LayoutRequest:
            QTimer.singleShot(0, self._fit)
        return False

    def _fit(self) -> None:
        """Show all structures, or as many as leave the tools in sight."""
        rows = list(self.locks.values())
        if rows:
            row = self._layout.sizeHint().height() / len(rows)
            frame = self._scroll.height() - self._scroll.viewport().height()
            self._scroll.setFixedHeight(round(row * min(len(rows), ROWS)) + frame)

    def in_order(self) -> list[QWidget]:
        """Buttons in the order in which the Tab key goes through them."""
        pairs = ((self.buttons[value], self.locks.get(value)) for value in self.buttons)
        return [one for pair in pairs for one in pair if one is not None]

    def _show_volumes(self) -> None:
        for value, label in self._volumes.items():
            painted, waits = self._parts.get(value, (0.0, 0.0))
            label.setText(volume_words(painted, waits, wide=self.width() >= WIDE))
            label.setToolTip(
                f"{millilitres(painted)} mL painted, {millilitres(waits)} mL only "
                f"proposed"
            )

    def show_locked(self, locked: Collection[int]) -> None:
        """Mark the classes that are locked."""
        for value, button in self.locks.items():
            with signals_blocked(button):
                button.setChecked(value in locked)
            button.setIcon(padlock(closed=value in locked))

    def select(self, value: int) -> None:
        """Mark the class that is painted."""
        if value in self.buttons:
            self.buttons[value].setChecked(True)
        if value in self.locks:
            self._scroll.ensureWidgetVisible(self.buttons[value], 0, 0)

    def _add(self, row: int, value: int, name: str, colour: str, key: str) -> None:
        button = self._button(value, name, colour, key)
        volume = plain_label()
        volume.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        volume.setMinimumWidth(volume.fontMetrics().horizontalAdvance("0000.0 mL"))
        lock = QPushButton()
        lock.setCheckable(True)
        lock.setIcon(padlock(closed=False))
        look(lock, "flat").setFixedWidth(28)
        key = short(self._actions["toggle_lock"].key)
        tip = f"Lock {name}: nothing paints over it ({key})"
        lock.setToolTip(plain(tip))
        lock.setAccessibleName(f"Lock {name}")
        lock.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        lock.toggled.connect(lambda on: self.lock_asked.emit(value, on))
        for column, widget in enumerate((button, volume, lock)):
            self._layout.addWidget(widget, row, column)
        self._volumes[value] = volume
        self.locks[value] = lock

    def _button(self, value: int, name: str, colour: str, key: str) -> KeyButton:
        button = KeyButton(name, key, shape="structure", left=True)
        button.setToolTip(plain(f"Paint {name}" + (f" (key {key})" if key else "")))
        button.setIcon(swatch(colour))
        button.setIconSize(QSize(16, 16))
        button.setCheckable(True)
        self._group.addButton(button, value)
        self.buttons[value] = button
        return button


class BrushControls(QWidget):
    """Modes and brush size of the mask layer.

    Parameters
    ----------
    modes : iterable of Action
        A button each; the ids are modes of a Labels layer, such as ``paint``.
    """

    def __init__(self, modes: Iterable[Action[Any]]) -> None:
        super().__init__()
        self._mask: Any = None
        self._connections = Connections(self)
        self.modes: dict[str, KeyButton] = {}
        self._group = QButtonGroup(self)
        for mode in modes:
            run = partial(self.set_mode, mode.id)
            button = KeyButton(mode.button, mode.key, mode.icon, "draw", run)
            show_action(button, mode)
            button.setCheckable(True)
            self._group.addButton(button)
            self.modes[mode.id] = button
        self.brush = QLabeledSlider(Qt.Orientation.Horizontal)
        self.brush.setRange(1, BRUSH_MAX)
        self.brush.setAccessibleName("Brush size in voxels")
        for part in (self.brush, *self.brush.findChildren(QWidget)):
            part.setAccessibleName(self.brush.accessibleName())
            part.setToolTip("Brush size in voxels: keys [ and ]")
        self.brush.valueChanged.connect(self._set_brush)
        row = QHBoxLayout()
        row.setSpacing(2)
        for button in self.modes.values():
            row.addWidget(button)
        brush_row = row_of(self.brush)
        brush_row.insertWidget(0, plain_label("Brush"))
        self.reach = look(push_button("3D"), "doubt")
        self.reach.setCheckable(True)
        self.reach.setAccessibleName("Paint in 3D")
        self.reach.setToolTip("Paint a ball through the slices, not only in this one")
        self.reach.toggled.connect(self._set_reach)
        brush_row.addWidget(self.reach)
        stack(self, row, brush_row, margin=0).setSpacing(4)

    def follow(self, mask: Any) -> None:
        """Steer this mask layer from now on; None for no layer."""
        self._connections.close()
        self._mask = mask
        if mask is not None:
            events = mask.events
            changed = (events.mode, events.brush_size, events.n_edit_dimensions)
            self._connections.add(self._show, *changed, events.mouse_pan)
            self._show()
        self.setEnabled(mask is not None)

    def set_mode(self, mode: str) -> None:
        """Set the mode of the layer: paint, erase, fill or pan_zoom."""
        if self._mask is not None:
            self._mask.mode = mode
            if mode == PAN:  # also where marks are drawn in this mode
                self._mask.mouse_pan = True

    def _set_brush(self, size: int) -> None:
        if self._mask is not None and int(self._mask.brush_size) != size:
            self._mask.brush_size = size

    def _set_reach(self, on: bool) -> None:
        if self._mask is not None:
            self._mask.n_edit_dimensions = 3 if on else 2

    def _show(self, event: Any = None) -> None:
        mode = str(self._mask.mode)
        in_hand = mode != PAN or self._mask.mouse_pan
        self._group.setExclusive(in_hand)
        for name, button in self.modes.items():
            button.setChecked(in_hand and name == mode)
        with signals_blocked(self.brush, self.reach):
            self.brush.setValue(int(self._mask.brush_size))
            self.reach.setChecked(self._mask.n_edit_dimensions == 3)


def volume_words(painted: float, proposed: float, *, wide: bool) -> str:
    """Say how many mL of a structure are painted, and how many only proposed."""
    done, waits = millilitres(painted), millilitres(proposed)
    if not proposed:
        return f"{done} mL"
    if not painted:
        return f"{waits} mL proposed" if wide else f"+ {waits} mL"
    return f"{done} mL + {waits} proposed" if wide else f"{done} + {waits} mL"


def swatch(colour: str) -> QIcon:
    """Draw a small square of a colour."""
    with _picture() as (picture, painter):
        painter.setPen(QColor("#aaaaaa"))
        painter.setBrush(QColor(colour))
        painter.drawRoundedRect(2, 2, 23, 23, 5, 5)
    return QIcon(picture)


def padlock(*, closed: bool) -> QIcon:
    """Draw a padlock: bright and shut, or dim and open."""
    colour = QColor("#F0E442" if closed else "#8a9099")
    with _picture() as (picture, painter):
        painter.setPen(QPen(colour, 2.6))
        painter.drawArc(8 if closed else 14, 3, 12, 16, 0, 180 * 16)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
        painter.drawRoundedRect(5, 12, 18, 13, 3, 3)
    return QIcon(picture)


@contextmanager
def _picture() -> Iterator[tuple[QPixmap, QPainter]]:
    picture = QPixmap(28, 28)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    yield picture, painter
    painter.end()
