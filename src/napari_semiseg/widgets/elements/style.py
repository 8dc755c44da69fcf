"""Give the panel one look: the colours of napari's theme, sizes, icons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QAbstractButton, QWidget
from superqt.fonticon import icon as font_icon

if TYPE_CHECKING:
    from napari_semiseg.widgets.elements.connections import Connections

W = TypeVar("W", bound=QWidget)

FONT = "mdi6"
"""Icon font, by its name in superqt; without it buttons show their text only."""
ICON = "icon_name"
THEME = "theme_name"
ACCENT = "#007acc"
LINK = "#5bb8ff"
DONE, PROPOSED, TROUBLE = "#2cc79a", "#6fc1ef", "#ff8a3d"
"""Of training: under way or done, masks being proposed, trouble."""

STYLE = """
QWidget[look="card"] { background: {card}; border-radius: 7px; }
QWidget[look="footer"] { background: {background}; }
QLabel[look="secondary"] { color: {secondary}; background: transparent; }
QLabel[look="title"] { font-weight: 600; background: transparent; }
QLabel[look="sentence"] { font-size: 11pt; }
QLabel[look="number"] { font-size: 16pt; font-weight: 600; background: transparent; }
QLabel[look="headline"] { font-size: 15pt; font-weight: 600; }
QLabel[look="subheadline"] { font-size: 15pt; font-weight: 600;
    color: {secondary}; }
QLabel[look="heading"] { font-weight: 600; color: {secondary}; margin-top: 4px; }
QWidget[look="clear"] { background: transparent; }
QLabel[look="small"] { background: transparent; }
QLabel[look="picture"] { background: {chip_ground}; border-radius: 6px; }
QFrame[look="drop"] { background: {card}; border: 1px dashed {outline};
    border-radius: 7px; }
QFrame[look="drop_over"] { background: {control}; border: 2px dashed {accent};
    border-radius: 7px; }
QPushButton[look="project"] { background: {card}; border: 1px solid {card};
    border-radius: 7px; padding: 0px; min-height: 50px; max-height: 50px; }
QPushButton[look="project"]:hover { background: {control};
    border: 1px solid {outline}; }
QPushButton[look="project"]:focus { border: 2px solid {text}; }
QLabel[look="chip"] { color: {chip_text}; background: {chip}; border-radius: 9px;
    padding: 1px 8px; }
QPushButton { border-radius: 6px; padding: 4px 8px; min-height: 18px; }
QPushButton[look="primary"] { background: {accent}; color: white; font-weight: 600;
    border: 1px solid {accent}; min-height: 22px; }
QPushButton[look="primary"]:disabled { background: {control};
    border: 1px solid {control}; }
QPushButton[look="primary"]:hover { background: {accent_hover}; }
QPushButton[look="quiet"] { background: transparent; color: {text};
    border: 1px solid {outline}; min-height: 22px; font-weight: normal; }
QPushButton[look="quiet"]:hover { background: {control}; }
QPushButton[look="flat"] { background: transparent; border: none; padding: 3px; }
QPushButton[look="flat"]:hover, QPushButton[look="flat"]:checked {
    background: {control}; }
QPushButton[look="title"] { background: transparent; border: none; font-weight: 600;
    text-align: left; padding: 3px; font-size: 11pt; }
QPushButton[look="state"] { background: {card}; border: 1px solid {control};
    border-radius: 11px; padding: 1px 9px; min-height: 18px; }
QPushButton[look="filter"] { background: transparent; border: 1px solid {outline};
    border-radius: 11px; padding: 1px 8px; min-height: 18px; }
QPushButton[look="filter"]:hover { background: {control}; }
QPushButton[look="filter"]:checked { background: {text}; color: {background};
    border: 1px solid {text}; }
QPushButton[look="filter"]:focus { border: 2px solid {accent}; }
QPushButton[look="segment"] { background: {background}; border: none;
    border-radius: 5px; padding: 2px 4px; min-height: 18px; }
QPushButton[look="segment"]:hover { background: {control}; }
QPushButton[look="segment"]:checked { background: {line}; font-weight: 600; }
QPushButton[look="doubt"] { background: {control}; border-radius: 5px;
    padding: 1px 5px; min-height: 16px; }
QPushButton[look="doubt"]:checked { background: {text}; color: {background}; }
QPushButton[look="tool"] { background: {card}; min-height: 38px; padding: 2px; }
QPushButton[look="tool"]:hover { background: {control}; }
QPushButton[look="tool"]:checked { background: {line}; }
QPushButton[look="draw"] { background: {card}; min-height: 26px; }
QPushButton[look="draw"]:hover { background: {control}; }
QPushButton[look="draw"]:checked { background: {line}; }
QPushButton[look="structure"] { background: {card}; text-align: left;
    min-height: 22px; border-left: 3px solid transparent; }
QPushButton[look="structure"]:hover { background: {control}; }
QPushButton[look="structure"]:checked { background: {control}; color: {text};
    border-left: 3px solid {text}; }
QPushButton:disabled { color: {disabled}; }
QPushButton:focus { border: 2px solid {text}; }
QPushButton::menu-indicator { image: none; width: 0; }
QProgressBar[look="bar"] { background: {control}; border: none; border-radius: 1px; }
QProgressBar[look="bar"]::chunk { background: {done}; border-radius: 1px; }
QProgressBar[look="bar"][kind="proposing"]::chunk { background: {proposed}; }
QProgressBar[look="bar"][kind="trouble"]::chunk { background: {trouble}; }
QTabWidget::pane { border: none; border-top: 1px solid {control}; }
QTabBar { background: transparent; qproperty-drawBase: 0; }
QTabBar::tab { background: transparent; border: none; color: {secondary};
    padding: 7px 10px; border-bottom: 2px solid transparent; }
QTabBar::tab:selected { background: transparent; color: {text}; font-weight: 600;
    border-bottom: 2px solid {text}; }
QTabBar::tab:hover { background: {card}; }
QTableView[look="cases"] { background: {background}; border: none;
    gridline-color: {card}; }
QTableView[look="cases"]:focus { border: 1px solid {outline}; }
QTableView[look="cases"] QHeaderView { background: {card}; }
QTableView[look="cases"] QHeaderView::section { background: {card}; border: none;
    color: {secondary}; font-weight: 600; padding: 5px 6px; }
QLineEdit[look="search"] { background: {background}; border: 1px solid {control};
    border-radius: 6px; padding: 4px 6px; min-height: 18px; }
QLineEdit[look="search"]:focus { border: 1px solid {text}; }
QScrollBar:vertical { background: transparent; width: 8px; margin: 0; }
QScrollBar::handle:vertical { background: {line}; border-radius: 4px;
    min-height: 24px; }
QScrollBar::handle:vertical:hover { background: {outline}; }
QScrollBar::add-line:vertical, QScrollBar::sub-line:vertical { height: 0; }
QScrollBar::add-page:vertical, QScrollBar::sub-page:vertical {
    background: transparent; }
QListWidget { background: {background}; border: none; }
QFrame[look="viewbar"] { background: {card}; border: 1px solid {line};
    border-radius: 7px; }
QFrame[look="rule"] { background: {line}; }
QComboBox[look="flat"] { background: transparent; border: none; padding: 3px 4px; }
QComboBox[look="flat"]:hover { background: {control}; }
QComboBox[look="flat"]:focus { border: 2px solid {text}; }
QPushButton[look="link"] { background: transparent; border: none; padding: 0;
    color: {link}; }
QFrame[look="left"] { background: {secondary}; }
QFrame[look="toast"] { background: {card}; border: 1px solid {line};
    border-radius: 7px; }
"""


def colours(theme: str) -> dict[str, str]:
    """Colours of the panel by what they are for, from a theme of napari."""
    found = get_theme(theme)
    text, back = _hex(found.text), _hex(found.background)
    card = _hex(found.foreground)
    return {
        "background": back,
        "card": card,
        "control": _hex(found.primary),
        "line": _hex(found.secondary),
        "text": text,
        "secondary": readable(readable(mix(text, back, 0.72), card, 4.5), back, 4.5),
        "disabled": mix(text, back, 0.45),
        "outline": mix(text, back, 0.5),
        "accent": ACCENT,
        "accent_hover": mix(ACCENT, "#000000", 0.88),
        "link": readable(LINK, back, 4.5),
        "chip": "#15405c",
        "chip_text": "#f0f1f2",
        "chip_ground": tint("#f0a830"),
        "done": DONE,
        "proposed": PROPOSED,
        "trouble": TROUBLE,
    }


def colours_of(widget: QWidget) -> dict[str, str]:
    """Colours of the theme of the window that a widget is in, see `Style`."""
    around: QWidget | None = widget
    while around is not None and not around.property(THEME):
        around = around.parentWidget()
    if around is None:  # it has no place yet
        return colours(get_settings().appearance.theme)
    return colours(around.property(THEME))


def mix(first: str, second: str, part: float) -> str:
    """Blend two colours; ``part`` of the first."""
    one, other = QColor(first), QColor(second)
    pairs = (
        (one.red(), other.red()),
        (one.green(), other.green()),
        (one.blue(), other.blue()),
    )
    return QColor(*(round(part * a + (1 - part) * b) for a, b in pairs)).name()


def tint(colour: str) -> str:
    """Darken a colour until the text of a chip can be read on it."""
    return mix(colour, "#16191d", 0.24)


def readable(colour: str, ground: str, least: float = 3.0) -> str:
    """Move a colour away from the ground until its contrast is enough (WCAG 2.1)."""
    away = "#000000" if luminance(ground) > 0.18 else "#ffffff"
    parts = (part / 10 for part in range(10, -1, -1))
    found = (mix(colour, away, part) for part in parts)
    return next(one for one in found if contrast(one, ground) >= least)


def contrast(first: str, second: str) -> float:
    """Contrast of two colours, 1 to 21, after WCAG 2.1."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of a colour, in [0, 1], after WCAG 2.1."""
    found = QColor(colour)
    parts = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (found.redF(), found.greenF(), found.blueF())
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def look(widget: W, name: str) -> W:
    """Give a widget a look of the style sheet, also when it has another one."""
    if widget.property("look") != name:
        widget.setProperty("look", name)
        widget.style().unpolish(widget)
        widget.style().polish(widget)
        if isinstance(widget, QAbstractButton):
            _paint_icon(widget)
    return widget


def set_icon(button: QAbstractButton, name: str, size: int = 18) -> None:
    """Show an icon of the font, in the colour of the text."""
    button.setProperty(ICON, name)
    button.setIconSize(QSize(size, size))
    _paint_icon(button)


def icon(name: str, colour: str) -> QIcon:
    """Draw an icon of the font; an empty one where the font is not installed."""
    try:
        return font_icon(f"{FONT}.{name}", color=colour)
    except (KeyError, ValueError):
        return QIcon()


def ring(part: float, colour: str) -> QIcon:
    """Draw how much of a circle is done."""
    picture = QPixmap(32, 32)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for shade, span in (("#808080", 1.0), (colour, part)):
        painter.setPen(QPen(QColor(shade), 5))
        painter.drawArc(5, 5, 22, 22, 1440, -round(5760 * span))
    painter.end()
    return QIcon(picture)


class Style:
    """Keeps a widget and all in it to the theme of a viewer.

    Parameters
    ----------
    root : QWidget
        Gets the style sheet.
    viewer : napari.Viewer
        Has a theme of its own once napari's *Toggle theme* was used.
    connections : Connections
        Of that widget.
    """

    def __init__(self, root: QWidget, viewer: Any, connections: Connections) -> None:
        self._root, self._viewer = root, viewer
        connections.add(self.apply, viewer.events.theme)
        self.apply()

    def apply(self, event: Any = None) -> None:
        """Take the colours of the theme that is chosen now."""
        self._root.setProperty(THEME, self._viewer.theme)
        style = STYLE
        for name, value in colours(self._viewer.theme).items():
            style = style.replace(f"{{{name}}}", value)
        self._root.setStyleSheet(style)
        for button in self._root.findChildren(QAbstractButton):
            _paint_icon(button)


def _paint_icon(button: QAbstractButton) -> None:
    name = button.property(ICON)
    if name:
        primary = button.property("look") == "primary"
        button.setIcon(icon(name, "#ffffff" if primary else colours_of(button)["text"]))


def _hex(colour: Any) -> str:
    return str(QColor(colour.as_hex()).name())  # "#fff" in six digits
