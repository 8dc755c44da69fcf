"""Buttons with icon, a text that is shortened where it must be, and their key."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QFontMetricsF, QIcon, QPen
from qtpy.QtWidgets import (
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionButton,
    QStylePainter,
    QWidget,
)

from napari_semiseg.widgets.elements.actions import short
from napari_semiseg.widgets.elements.forms import plain
from napari_semiseg.widgets.elements.style import look, set_icon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qtpy.QtGui import QFont, QPaintEvent

    from napari_semiseg.widgets.elements.actions import Action, C

GAP, LEAST_PT = 6, 7.0
"""Pixels between the parts of a button, and points of its smallest letters."""
ACTION = "action"
"""Property of a widget: the id of the action that it runs."""


class KeyButton(QPushButton):
    """Shows icon, text and the key that does the same.

    Parameters
    ----------
    text : str
        Shortened in the middle where the button is narrower.
    key : str
        As napari writes it; empty for none.
    icon : str
        Name in the icon font; empty for none.
    shape : str
        Look in the style sheet; ``tool`` has the icon above the text.
    left : bool
        Whether the text begins at the left edge; else it is in the middle.
    """

    def __init__(
        self,
        text: str,
        key: str = "",
        icon: str = "",
        shape: str = "quiet",
        run: Callable[[], object] | None = None,
        *,
        left: bool = False,
    ) -> None:
        super().__init__(text)
        self.key, self._left = short(key), left
        self._above, self._draws = shape == "tool", shape == "draw"
        self._says = left or shape == "state"
        self.elide = Qt.TextElideMode.ElideMiddle
        look(self, shape)
        if icon:
            set_icon(self, icon)
        self.setAccessibleName(text.replace("&&", "&"))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMinimumWidth(28)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        if run is not None:
            self.clicked.connect(lambda *_: run())

    def set_step(self, text: str, key: str) -> None:
        """Show another text and key."""
        self.key = short(key)
        self.setText(text.replace("&", "&&"))
        self.setAccessibleName(text)
        self.update()

    def minimumSizeHint(self) -> QSize:
        """As narrow as its layout needs it."""
        return QSize(self.minimumWidth(), super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        """Room for icon, text and key."""
        self.ensurePolished()
        words, high = self.text().replace("&&", "&"), super().sizeHint().height()
        if self._above:
            return QSize(self.fontMetrics().horizontalAdvance(words) + 16, high)
        return QSize(self.width_for([words]) + (0 if self._left else 8), high)

    def width_for(self, texts: Iterable[str]) -> int:
        """Pixels across for icon, key and the widest of these texts."""
        full = self.fontMetrics().horizontalAdvance
        icon = 0 if self.icon().isNull() else self.iconSize().width()
        parts = [icon, max(map(full, texts), default=0), self._cap_width()]
        shown = [part for part in parts if part]
        return sum(shown) + GAP * (len(shown) - 1) + 12

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the frame as the style does, and what is in it."""
        painter, option = QStylePainter(self), QStyleOptionButton()
        self.initStyleOption(option)
        text, option.text, option.icon = self.text(), "", QIcon()
        painter.drawControl(QStyle.ControlElement.CE_PushButton, option)
        painter.setPen(self.palette().buttonText().color())
        side = 6 if self._left else 5
        area = self.rect().adjusted(side, 0, -side, 0)
        if self._above:
            self._paint_above(painter, self.rect(), text)
        else:
            self._paint_beside(painter, area, text)

    def _paint_above(self, painter: QStylePainter, area: QRect, text: str) -> None:
        centre = Qt.AlignmentFlag.AlignHCenter
        top = area.adjusted(1, 4, -1, 0)
        font = self.font()
        if not self.icon().isNull():
            self.icon().paint(painter, QRect(top.left(), 4, top.width(), 18))
        small = self._small()
        painter.setFont(small)
        if self.key:
            cap = painter.fontMetrics().horizontalAdvance(self.key) + 7
            self._paint_cap(painter, QRect(area.right() - cap - 2, 3, cap, 14))
        small.setPointSizeF(min(one.letters() for one in self._in_row()))
        painter.setFont(small)
        words = text.replace("&&", "&")
        words = painter.fontMetrics().elidedText(
            words, Qt.TextElideMode.ElideRight, top.width()
        )
        painter.drawText(
            area.adjusted(0, 0, 0, -4), centre | Qt.AlignmentFlag.AlignBottom, words
        )
        painter.setFont(font)

    def letters(self) -> float:
        """Points of the largest letters in which the text fits below the icon."""
        font, words = self._small(), self.text().replace("&&", "&")
        while (
            font.pointSizeF() > LEAST_PT
            and QFontMetricsF(font).horizontalAdvance(words) > self.width() - 4
        ):
            font.setPointSizeF(font.pointSizeF() - 0.5)
        return font.pointSizeF()

    def _in_row(self) -> list[KeyButton]:
        """Buttons beside it that have the text below the icon: all in equal letters."""
        whole = self.parentWidget()
        only = Qt.FindChildOption.FindDirectChildrenOnly
        beside = [] if whole is None else whole.findChildren(KeyButton, options=only)
        return [one for one in beside if one._above] or [self]

    def _paint_beside(self, painter: QStylePainter, area: QRect, text: str) -> None:
        metrics, cap = painter.fontMetrics(), self._cap_width()
        picture = 0 if self.icon().isNull() else self.iconSize().width() + GAP
        words, full = text.replace("&&", "&"), metrics.horizontalAdvance
        room = area.width() - picture - (cap + GAP if cap else 0)
        if picture and full(words) > room - 2:
            # Half a word says less than icon and key, or than the word alone.
            if full(words) <= area.width() - picture and not self._draws:
                cap = 0
            elif not self.key and full(words) <= area.width():
                picture = 0
            elif not self._says:
                words = ""
        room = area.width() - picture - (cap + GAP if cap else 0)
        words = metrics.elidedText(words, self.elide, max(room + 1, 0))  # rounded
        used = picture + metrics.horizontalAdvance(words) + (cap + GAP if cap else 0)
        x = (
            area.left()
            if self._left
            else max(area.left(), area.left() + (area.width() - used) // 2)
        )
        if picture:
            size = self.iconSize().width()
            self.icon().paint(
                painter, QRect(x, (self.height() - size) // 2, size, size)
            )
            x += picture
        painter.drawText(
            QRect(x, 0, room + 2, self.height()), Qt.AlignmentFlag.AlignVCenter, words
        )
        if cap:
            right = (
                area.right() - cap
                if self._left
                else x + metrics.horizontalAdvance(words) + GAP
            )
            painter.setFont(self._small())
            self._paint_cap(painter, QRect(right, (self.height() - 16) // 2, cap, 16))

    def _paint_cap(self, painter: QStylePainter, area: QRect) -> None:
        colour = painter.pen().color()
        faint = self.palette().buttonText().color()
        faint.setAlpha(140)
        painter.setPen(QPen(faint, 1))
        painter.drawRoundedRect(area, 3, 3)
        painter.setPen(colour)
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter, self.key)

    def _small(self) -> QFont:
        font = self.font()
        font.setPointSizeF(max(font.pointSizeF() - 1, 6))
        return font

    def _cap_width(self) -> int:
        if not self.key:
            return 0
        return max(16, self.fontMetrics().horizontalAdvance(self.key) + 6)


def action_button(
    action: Action[C], panel: C, shape: str = "quiet", **options: bool
) -> KeyButton:
    """Make the button of an action, with its icon and key."""
    button = KeyButton(
        action.button,
        action.key,
        action.icon,
        shape,
        partial(action.run, panel),
        **options,
    )
    show_action(button, action)
    return button


def icon_button(action: Action[C], panel: C) -> QPushButton:
    """Make a button of an action that has room for its icon only.

    Without the icon font it shows its text.
    """
    button = QPushButton()
    look(button, "flat")
    set_icon(button, action.icon, 16)
    if button.icon().isNull():
        button.setText(action.button)
    button.setAccessibleName(action.button)
    show_action(button, action)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    button.clicked.connect(lambda *_: action.run(panel))
    return button


def show_action(widget: QWidget, action: Action[C]) -> None:
    """Show what an action does, and its key, on a widget that runs it."""
    widget.setProperty(ACTION, action.id)
    widget.setToolTip(tip_of(action))
    if isinstance(widget, KeyButton):
        widget.key = short(action.key)
        widget.update()


def show_actions(root: QWidget, actions: Mapping[str, Action[C]]) -> None:
    """Show on all widgets within one the keys that the actions have now."""
    for widget in root.findChildren(QWidget):
        action = actions.get(widget.property(ACTION) or "")
        if action is not None:
            show_action(widget, action)


def tip_of(action: Action[C]) -> str:
    """What an action does, and its key."""
    key = f" ({short(action.key)})" if action.key else ""
    return plain(f"{action.text}{key}")
