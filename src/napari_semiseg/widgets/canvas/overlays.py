"""Draw over and under a canvas: directions, cursor, colour scale."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QLinearGradient, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_semiseg.core.boxes import others
from napari_semiseg.imaging.outlines import outlines
from napari_semiseg.widgets.common.compat import camera_of, view_and_up_of
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ENDS = (("I", "S"), ("A", "P"), ("R", "L"))
"""Patient directions at the low and high end of the canonical axes (z, y, x)."""

STOPS = 33
GREY = 0.4
"""Of a scan that shows through a map of colours."""
SIGN_RADIUS = 8.0
"""Pixels, of the disc that shows a sign."""
LETTER_ROOM = 12
"""Pixels between the end of a title and the middle of the letter beside it."""


class Line(NamedTuple):
    """A line of a colour through places (N, 3) of the world, mm.

    With a sign, such as "+", it is broad, and begins with a disc that shows it.
    """

    colour: str
    places: NDArray[np.float64]
    sign: str = ""


def lines_around(
    inside: NDArray[np.bool_],
    axis: int,
    index: int,
    spacing_mm: Sequence[float],
    colour: str,
) -> list[Line]:
    """Outline what is inside (H, W) of the slice at an index across an axis."""
    found = []
    for line in outlines(inside):
        places = np.full((len(line), 3), float(index))
        places[:, others(axis)] = line
        found.append(Line(colour, places * spacing_mm))
    return found


class LegendEntry(NamedTuple):
    """What a line of a colour and with a sign means; whether the mouse draws it now."""

    colour: str
    sign: str
    text: str
    in_hand: bool


class CanvasNotes(QWidget):
    """Title, patient directions at the edges, and the cursor of the other canvases.

    A transparent child of the canvas, so that no layer is needed for it and it never
    appears in the layer list.
    """

    def __init__(
        self, canvas: QWidget, viewer: Any, title: str = "", top: int = 0
    ) -> None:
        super().__init__(canvas)
        self.canvas = canvas
        self.title = title
        self._top = top
        self.footnote = ""
        self._viewer = viewer
        self._cursor: tuple[float, ...] | None = None
        self.outlines: dict[str, Sequence[Line]] = {}
        self.legend: Sequence[LegendEntry] = ()
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setGeometry(canvas.rect())
        canvas.installEventFilter(self)
        dims, camera = viewer.dims.events, camera_of(viewer).events
        moved = (camera.orientation, camera.center, camera.zoom, camera.angles)
        Connections(self).add(self._repaint, dims.order, dims.ndisplay, *moved)
        self.show()

    def set_footnote(self, text: str) -> None:
        """Say at the lower edge where that comes from; shortened where it must be."""
        self.footnote = text
        self.setToolTip(plain(text))
        self.update()

    def set_cursor(self, world: Sequence[float] | None) -> None:
        """Mark a place in world coordinates (z, y, x), mm; None removes the mark."""
        self._cursor = None if world is None else tuple(world)
        self.update()

    def set_outlines(self, kind: str, lines: Sequence[Line]) -> None:
        """Draw these lines in place of those of the same kind."""
        self.outlines[kind] = lines
        self.update()

    def set_legend(self, entries: Sequence[LegendEntry]) -> None:
        """Say above the lower edge what can be drawn, and what is; () says nothing."""
        self.legend = entries
        self.update()

    def edges(self) -> dict[str, str]:
        """Patient direction at the left, right, top and bottom edge of the picture."""
        dims = self._viewer.dims
        if dims.ndim != 3:
            return {}
        if dims.ndisplay == 3:
            up, right = self._directions()
        else:
            down, across = self._signs()
            up, right = np.array([-down, 0]), np.array([0, across])
        towards = {"top": up, "bottom": -up, "left": -right, "right": right}
        return {
            edge: _letter(vector, dims.displayed) for edge, vector in towards.items()
        }

    def to_canvas(self, world: Sequence[float]) -> QPointF:
        """Pixel of the canvas at which a place of the world is drawn."""
        ((x, y),) = self._to_pixels(np.asarray([world], float))
        return QPointF(x, y)

    def _to_pixels(self, world: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (x, y) of places (N, 3)."""
        camera, ratio = camera_of(self._viewer), self.devicePixelRatioF()
        centre, zoom = camera.center, camera.zoom / ratio
        row, column = self._viewer.dims.displayed
        down, right = self._signs()
        x = self.width() / 2 + right * (world[:, column] - centre[-1]) * zoom
        y = self.height() / 2 + down * (world[:, row] - centre[-2]) * zoom
        return np.column_stack([x, y])

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Follow the size of the canvas."""
        if event.type() == QEvent.Type.Resize:
            self.resize(event.size())
        return False

    def paintEvent(self, event: Any) -> None:
        """Draw outlines, the title, the directions and the cursor."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._viewer.dims.ndisplay == 2:
            self._draw_outlines(painter)
        font = QFont(self.font())
        font.setPointSizeF(9.5)
        painter.setFont(font)
        area = QRectF(self.rect()).adjusted(8, 6 + self._top, -8, -6)
        top_left = Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft
        self._write(painter, area, top_left, self.title)
        titled = QRectF(painter.boundingRect(area, top_left, self.title))
        if self.footnote:
            area.setBottom(self._draw_footnote(painter, area))
        if self.legend and painter.fontMetrics().height() * 8 < self.height():
            lower = self.height() - 3 * painter.fontMetrics().height()
            self._draw_legend(painter, min(area.bottom(), lower))
        font.setBold(True)
        painter.setFont(font)
        centre = Qt.AlignmentFlag.AlignVCenter
        middle = Qt.AlignmentFlag.AlignHCenter
        places = {
            "left": Qt.AlignmentFlag.AlignLeft | centre,
            "right": Qt.AlignmentFlag.AlignRight | centre,
            "top": Qt.AlignmentFlag.AlignTop | middle,
            "bottom": Qt.AlignmentFlag.AlignBottom | middle,
        }
        if titled.right() + LETTER_ROOM > area.center().x():
            area.setTop(titled.bottom())
        for edge, letter in self.edges().items():
            self._write(painter, area, places[edge], letter)
        if self._cursor is not None and self._viewer.dims.ndisplay == 2:
            self._draw_cursor(painter, self.to_canvas(self._cursor))

    def _write(self, painter: QPainter, area: QRectF, side: Any, text: str) -> None:
        """Write in a colour that is seen on the canvas and on the scan."""
        inside, outline = ink(QColor(get_theme(self._viewer.theme).canvas.as_hex()))
        painter.setPen(outline)
        for dx, dy in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
            painter.drawText(area.translated(dx, dy), side, text)
        painter.setPen(inside)
        painter.drawText(area, side, text)

    def _draw_footnote(self, painter: QPainter, area: QRectF) -> float:
        """Draw it in one line or two; returns the height above which there is room."""
        metrics, width = painter.fontMetrics(), int(area.width())
        fits = metrics.horizontalAdvance(self.footnote) <= width
        lines = [self.footnote] if fits else self.footnote.split(", ", 1)
        left = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft
        area = QRectF(area)
        for line in reversed(lines):
            text = metrics.elidedText(line, Qt.TextElideMode.ElideRight, width)
            self._write(painter, area, left, text)
            area.setBottom(area.bottom() - metrics.height())
        return float(area.bottom())

    def _draw_outlines(self, painter: QPainter) -> None:
        for colour, places, sign in chain.from_iterable(self.outlines.values()):
            points = [QPointF(x, y) for x, y in self._to_pixels(places)]
            line, first = QPolygonF(points), points[0]
            width = 5.0 if sign else 2.0
            for ink, wide in (
                (QColor(0, 0, 0, 200), width + 2),
                (QColor(colour), width),
            ):
                painter.setPen(_round_pen(ink, wide))
                painter.drawPolyline(line)
            if sign:
                _draw_sign(painter, first, colour, sign)

    def _draw_legend(self, painter: QPainter, bottom: float) -> None:
        """Draw entries beside each other in a dark box; what is in hand is bright."""
        metrics, pad = painter.fontMetrics(), SIGN_RADIUS
        widths = [6 * pad + metrics.horizontalAdvance(e.text) for e in self.legend]
        height, total = metrics.height() + 2 * pad, sum(widths) + pad
        box = QRectF((self.width() - total) / 2, bottom - height, total, height)
        painter.setPen(QPen(QColor("#5a626c"), 1))
        painter.setBrush(QColor("#262930"))
        painter.drawRoundedRect(box, 6, 6)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        left, middle = box.left() + pad, box.center().y()
        for entry, width in zip(self.legend, widths, strict=True):
            painter.setOpacity(1.0 if entry.in_hand else 0.55)
            painter.setPen(_round_pen(QColor(entry.colour), 4.0))
            first = QPointF(left + pad, middle)
            if entry.sign:
                painter.drawLine(first, first + QPointF(2.5 * pad, 0))
                _draw_sign(painter, first, entry.colour, entry.sign)
            else:
                painter.setPen(QPen(QColor(entry.colour), 2.0))
                painter.drawRect(QRectF(left, middle - pad, 3.5 * pad, 2 * pad))
            painter.setPen(QColor("#f0f1f2"))
            text = QRectF(left + 4.5 * pad, box.top(), width, height)
            painter.drawText(text, Qt.AlignmentFlag.AlignVCenter, entry.text)
            left += width
        painter.setOpacity(1.0)

    def _draw_cursor(self, painter: QPainter, at: QPointF) -> None:
        for colour, width in ((QColor(0, 0, 0, 160), 3.0), (QColor("#ffffff"), 1.2)):
            painter.setPen(QPen(colour, width))
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                painter.drawLine(
                    QPointF(at.x() + 3 * dx, at.y() + 3 * dy),
                    QPointF(at.x() + 9 * dx, at.y() + 9 * dy),
                )

    def _directions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Up and right on the screen in 3D, along the displayed axes."""
        view, up = view_and_up_of(self._viewer)
        right = np.cross(view, up)
        orientation = camera_of(self._viewer).orientation
        flips = zip(orientation, ("towards", "up", "left"), strict=True)
        mirrored = sum(str(one) == flipped for one, flipped in flips) % 2
        return up, right if mirrored else -right

    def _signs(self) -> tuple[int, int]:
        orientation = camera_of(self._viewer).orientation
        return (
            1 if str(orientation[1]) == "down" else -1,
            1 if str(orientation[2]) == "right" else -1,
        )

    def _repaint(self, event: Any = None) -> None:
        self.update()


class ColourScale(QWidget):
    """A colour scale with the values at its ends and in its middle.

    Parameters
    ----------
    colormap : napari.utils.Colormap
        Colours; their alpha is shown over dark grey.
    """

    def __init__(self, colormap: Any) -> None:
        super().__init__()
        self.texts = ("", "", "")
        self._colours = _over_grey(colormap.map(np.linspace(0, 1, STOPS)))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(120)

    def sizeHint(self) -> QSize:
        """Room for the bar and one line of text."""
        return QSize(160, 14 + self.fontMetrics().height())

    def set_texts(self, low: str, middle: str, high: str) -> None:
        """Write these under the scale."""
        self.texts = (low, middle, high)
        self.update()

    def paintEvent(self, event: Any) -> None:
        """Draw the bar and its texts."""
        painter = QPainter(self)
        bar = QRectF(1, 1, self.width() - 2, 9)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        for place, colour in zip(np.linspace(0, 1, STOPS), self._colours, strict=True):
            gradient.setColorAt(float(place), QColor(*(int(c) for c in colour)))
        painter.fillRect(bar, gradient)
        painter.setPen(self.palette().text().color())
        below = QRectF(1, 11, self.width() - 2, self.height() - 11)
        sides = (
            Qt.AlignmentFlag.AlignLeft,
            Qt.AlignmentFlag.AlignHCenter,
            Qt.AlignmentFlag.AlignRight,
        )
        metrics = self.fontMetrics()
        needed = sum(metrics.horizontalAdvance(f"{text}  ") for text in self.texts)
        low, middle, high = self.texts
        texts = (low, middle if needed < self.width() else "", high)
        for side, text in zip(sides, texts, strict=True):
            painter.drawText(below, side | Qt.AlignmentFlag.AlignTop, text)


def _round_pen(colour: QColor, width: float) -> QPen:
    pen = QPen(colour, width)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    return pen


def _draw_sign(painter: QPainter, at: QPointF, colour: str, sign: str) -> None:
    """Draw a disc with a plus or a minus."""
    painter.setPen(QPen(QColor("#101214"), 1.5))
    painter.setBrush(QColor(colour))
    painter.drawEllipse(at, SIGN_RADIUS, SIGN_RADIUS)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor("#101214"), 2.0))
    ends = QPointF(SIGN_RADIUS / 2, 0), QPointF(0, SIGN_RADIUS / 2)
    for end in ends if sign == "+" else ends[:1]:
        painter.drawLine(at - end, at + end)


def _letter(vector: NDArray[np.float64], displayed: Sequence[int]) -> str:
    """Patient direction that is nearest to a vector along the displayed axes."""
    axis = int(np.argmax(np.abs(vector)))
    return ENDS[displayed[axis]][int(vector[axis] > 0)]


def _over_grey(rgba: Any) -> Any:
    alpha = rgba[:, 3:]
    return np.rint(255 * (rgba[:, :3] * alpha + GREY * (1 - alpha))).astype(int)


def ink(canvas: QColor) -> tuple[QColor, QColor]:
    """Colours of text on a canvas and of the outline that parts it from the scan."""
    bright, dark = QColor("#f2f2f2"), QColor("#101214")
    return (bright, dark) if canvas.lightnessF() < 0.5 else (dark, bright)
