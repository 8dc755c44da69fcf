"""Draw the table of cases: ticks, states, shares and estimated quality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import (
    QEvent,
    QModelIndex,
    QPointF,
    QRect,
    QRectF,
    QSize,
    QSortFilterProxyModel,
    Qt,
)
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QHeaderView, QStyle, QStyledItemDelegate

from napari_semiseg.core.text import percent
from napari_semiseg.widgets.cohort.model import (
    COLUMNS,
    FIELDS,
    FLAGGED,
    KINDS,
    ROW_ROLE,
    SORT_ROLE,
    CohortModel,
    Row,
)
from napari_semiseg.widgets.elements.style import colours_of, icon, look, readable, tint
from napari_semiseg.widgets.elements.tables import RowTable, short_name

if TYPE_CHECKING:
    from qtpy.QtCore import QObject
    from qtpy.QtGui import QKeyEvent, QMouseEvent, QResizeEvent
    from qtpy.QtWidgets import QStyleOptionViewItem

    from napari_semiseg.widgets.elements.tables import Index

TICK = FIELDS.index("tick")
HEADER_ROOM, ARROW_ROOM, NAME_WIDTH = 18, 12, 72
"""Pixels around a title, of the sorting arrow, and of the narrowest name column."""
ROW_HEIGHT, MEASURED_ROWS = 28, 50
"""Pixels, and how many visible rows decide how wide a column is."""
FROM_WIDTH = {"annotated": 440, "use": 520, "minutes": 520}
"""Pixels across of the table from which a column is shown."""
WORDS_FROM, GAUGE_FROM, RANGE_FROM = 280, 300, 440
"""Pixels across from which states are named, and the quality has scale and range."""
PAD, MARK, BOX, BAR, GAUGE = 6, 14, 13, 28, 52
LEFT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
RIGHT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
SCALE = (0.5, 1.0)
"""Dice at both ends of the scale of the quality."""


class CaseFilter(QSortFilterProxyModel):
    """Sorts the cases, and leaves out those of another kind or without the words."""

    def __init__(self, rows: CohortModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows = rows
        self._kind = self._words = ""
        self.setSortRole(SORT_ROLE)
        self.setSourceModel(rows)

    def show_only(self, kind: str, words: str) -> None:
        """Leave out cases of other kinds (empty for none), or without the words."""
        self._kind, self._words = kind, words.strip().casefold()
        self.invalidateFilter()

    def filterAcceptsRow(self, source_row: int, source_parent: Index) -> bool:
        """Whether a row has the kind and the words."""
        found = self._rows.rows[source_row]
        return (not self._kind or self._kind in found.kinds) and (
            self._words in found.words
        )

    def ids(self) -> list[str]:
        """Ids of the cases that are shown, in their order."""
        rows = self._rows.rows
        places = (self.mapToSource(self.index(n, 0)) for n in range(self.rowCount()))
        return [rows[place.row()].id for place in places]


class CaseHeader(QHeaderView):
    """Sorts on a click, but ticks all that is shown in the column with the ticks."""

    def __init__(self, table: CaseTable) -> None:
        super().__init__(Qt.Orientation.Horizontal, table)
        self._table = table
        self.setSectionsClickable(True)
        self.setDefaultAlignment(LEFT)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Tick all, or sort."""
        if self.logicalIndexAt(event.pos()) == TICK:
            self._table.toggle_all()
        else:
            super().mousePressEvent(event)

    def paintSection(self, painter: QPainter, rect: QRect, section: int) -> None:
        """Draw the box that ticks all as the boxes of the rows."""
        super().paintSection(painter, rect, section)
        if section == TICK:
            ticked = self._table.ticked()
            part = len(ticked) < self._table.proxy.rowCount()
            draw_box(painter, rect, colours_of(self), ticked=bool(ticked), part=part)


class CaseTable(RowTable):
    """The cases, sorted and filtered."""

    def __init__(self, model: CohortModel) -> None:
        super().__init__(ROW_HEIGHT, model)
        self._delegate = CaseDelegate(self)
        look(self, "cases")
        self.setAccessibleName("Cases")
        self.open_case: str | None = None
        self._model = model
        self.proxy = CaseFilter(model, self)
        self.setHorizontalHeader(CaseHeader(self))
        self.setModel(self.proxy)
        self.setItemDelegate(self._delegate)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.setWordWrap(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.horizontalHeader()
        header.moveSection(TICK, 0)
        header.setMinimumSectionSize(24)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setResizeContentsPrecision(MEASURED_ROWS)
        header.sortIndicatorChanged.connect(self.fit_columns)
        self.clicked.connect(self._clicked)
        model.modelReset.connect(self.fit_columns)
        model.dataChanged.connect(self._changed)

    def ticked(self) -> list[str]:
        """Return the ids of the ticked cases that are shown, in their order."""
        checked = self._model.checked
        return [name for name in self.proxy.ids() if name in checked] if checked else []

    def toggle_all(self) -> None:
        """Tick all that is shown; where all of it is ticked, take the ticks away."""
        ids = self.proxy.ids()
        self._model.check(ids, not self._model.checked.issuperset(ids))

    def select(self, case_id: str) -> None:
        """Select and show a case."""
        ids = self.proxy.ids()
        if case_id in ids:
            self.selectRow(ids.index(case_id))

    def show_open(self, case_id: str | None) -> None:
        """Mark the row of the case that is open."""
        self.open_case = case_id
        self.viewport().update()

    def after(self, case_id: str | None) -> str | None:
        """Return the id of the row below that of a case, as sorted and filtered."""
        ids = self.proxy.ids()
        below = ids[ids.index(case_id) + 1 :] if case_id in ids else []
        return below[0] if below else None

    def fit_columns(self, *_: object) -> None:
        """Give every column the width that it needs, and the name the rest.

        Columns that say nothing, or have no room in a narrow panel, are hidden.
        """
        wide, empty = self.viewport().width(), self._model.empty_fields()
        letters, header = self.fontMetrics(), self.horizontalHeader()
        for column, (title, field, _tip) in enumerate(COLUMNS):
            hidden = field in empty or wide < FROM_WIDTH.get(field, 0)
            if field == "quality" and wide < GAUGE_FROM:
                hidden |= all(_value(row) is None for row in self._model.rows)
            self.setColumnHidden(column, hidden)
            if field == "id" or hidden:
                continue
            room = letters.horizontalAdvance(title) + HEADER_ROOM if title else 0
            if column == header.sortIndicatorSection():
                room += ARROW_ROOM
            self.setColumnWidth(column, max(self.sizeHintForColumn(column), room))
        rest = wide - sum(map(self.columnWidth, range(1, len(COLUMNS))))
        self.setColumnWidth(0, max(NAME_WIDTH, rest))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Tick all that is shown on Ctrl+A."""
        control = event.modifiers() & Qt.KeyboardModifier.ControlModifier
        if control and event.key() == Qt.Key.Key_A:
            self.toggle_all()
        else:
            super().keyPressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open a row; on a tick it is two clicks."""
        if self.columnAt(event.pos().x()) == TICK:
            self.mousePressEvent(event)
        else:
            super().mouseDoubleClickEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Take the colours of another theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.PaletteChange):
            self._delegate.take_theme()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the columns to the new width."""
        super().resizeEvent(event)
        self.fit_columns()

    def _clicked(self, index: QModelIndex) -> None:
        if index.column() == TICK:
            self.toggle_selected()

    def _changed(self, _first: object, _last: object, roles: list[int]) -> None:
        self.horizontalHeader().viewport().update()
        if not roles:
            self.fit_columns()


class CaseDelegate(QStyledItemDelegate):
    """Draws the cells of a row."""

    def __init__(self, table: CaseTable) -> None:
        super().__init__(table)
        self._table = table
        self._found = colours_of(self._table)
        self._draw = {
            "tick": self._draw_tick,
            "id": self._draw_name,
            "state": self._draw_state,
            "annotated": self._draw_share,
            "quality": self._draw_quality,
        }

    def take_theme(self) -> None:
        """Draw in the colours of the theme that is chosen now."""
        self._found = colours_of(self._table)

    def editorEvent(self, *_: object) -> bool:
        """Leave the ticks to the table, which ticks all that is selected."""
        return False

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """Room for what `paint` draws."""
        field, letters = FIELDS[index.column()], option.fontMetrics
        wide = letters.horizontalAdvance
        room = wide(str(index.data()) if field != "quality" else "") + 2 * PAD
        if field == "tick":
            room = BOX + 11
        elif field == "state":
            room = room + MARK + 2 * PAD if self._named else MARK + 3 * PAD
        elif field == "annotated":
            room = BAR + PAD + wide("100 %") + 2 * PAD
        elif field == "quality":
            row, across = index.data(ROW_ROLE), self._table.viewport().width()
            room += wide("0.00")
            room += GAUGE + PAD if across >= GAUGE_FROM else 0
            if across >= RANGE_FROM:
                _, after = _parts(row)
                room = max(
                    room + (PAD + wide(after) if after else 0), wide(row.quality)
                )
        return QSize(room, ROW_HEIGHT)

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: Index,
    ) -> None:
        """Draw a cell; the row in hand has a bar at the left and a bold name."""
        row, field, found = index.data(ROW_ROLE), FIELDS[index.column()], self._found
        area, in_hand = QRect(option.rect), row.id == self._table.open_case
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if in_hand or option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(area, QColor(found["control" if in_hand else "card"]))
        line = QColor(found["card"])
        painter.fillRect(area.x(), area.bottom(), area.width(), 1, line)
        if in_hand and field == "tick":
            painter.fillRect(
                area.x(), area.y(), 3, area.height(), QColor(found["text"])
            )
        inside = area.adjusted(PAD, 0, -PAD, 0)
        draw = self._draw.get(field)
        if draw is not None:
            draw(painter, inside, row)
        else:
            aside = field == "minutes"
            painter.setPen(QColor(found["text" if aside else "secondary"]))
            side = RIGHT if aside else LEFT
            painter.drawText(inside, side, str(index.data()))
        painter.restore()

    def _draw_tick(self, painter: QPainter, area: QRect, row: Row) -> None:
        ticked = row.id in self._table._model.checked
        draw_box(painter, area, self._found, ticked=ticked)

    def _draw_name(self, painter: QPainter, area: QRect, row: Row) -> None:
        font = painter.font()
        font.setBold(row.id == self._table.open_case)
        painter.setFont(font)
        room = area.width() - (MARK + 4 if row.flag is not None else 0)
        letters = painter.fontMetrics()
        name = short_name(row.id, self._table._model.shared_ends, letters, room)
        painter.setPen(QColor(self._found["text"]))
        painter.drawText(area, LEFT, name)
        if row.flag is not None:
            left = area.x() + letters.horizontalAdvance(name) + 4
            ground = self._found["background"]
            self._draw_mark(painter, FLAGGED, left, area, ground)

    def _draw_state(self, painter: QPainter, area: QRect, row: Row) -> None:
        words = row.kind if self._named else ""
        wide = painter.fontMetrics().horizontalAdvance(words) + MARK + 2 * PAD
        wide += PAD if words else -4
        chip = QRectF(area.x() - 2, area.y() + 4, wide, area.height() - 9)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(tint(KINDS[row.kind].colour)))
        painter.drawRoundedRect(chip, chip.height() / 2, chip.height() / 2)
        self._draw_mark(painter, row.kind, area.x() + PAD - 2, area)
        painter.setPen(QColor(self._found["chip_text"]))
        painter.drawText(area.adjusted(MARK + PAD + 2, 0, PAD, 0), LEFT, words)

    def _draw_mark(
        self, painter: QPainter, kind: str, left: int, area: QRect, ground: str = ""
    ) -> None:
        top, colour = area.y() + (area.height() - MARK) // 2, KINDS[kind].colour
        picture = icon(KINDS[kind].icon, readable(colour, ground) if ground else colour)
        picture.paint(painter, QRect(left, top, MARK, MARK))

    @property
    def _named(self) -> bool:
        """Whether there is room for the names of the states."""
        return self._table.viewport().width() >= WORDS_FROM

    def _draw_share(self, painter: QPainter, area: QRect, row: Row) -> None:
        bar = QRectF(area.x(), area.center().y() - 1, BAR, 4)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._found["control"]))
        painter.drawRoundedRect(bar, 2, 2)
        if row.annotated:
            painter.setBrush(QColor(self._found["done"]))
            bar.setWidth(max(BAR * row.annotated, 3))
            painter.drawRoundedRect(bar, 2, 2)
        painter.setPen(QColor(self._found["text"]))
        painter.drawText(area, RIGHT, percent(row.annotated))

    def _draw_quality(self, painter: QPainter, area: QRect, row: Row) -> None:
        value, (number, after) = _value(row), _parts(row)
        letters = painter.fontMetrics()
        wide = letters.horizontalAdvance("0.00")
        painter.setPen(QColor(self._found["secondary"]))
        if value is None:
            narrow = self._table.viewport().width() < GAUGE_FROM
            words = "\u2013" if narrow else row.quality
            end = Qt.TextElideMode.ElideRight
            words = letters.elidedText(words, end, area.width() + PAD - 1)
            painter.drawText(area.adjusted(0, 0, PAD, 0), LEFT, words)
            return
        left = area.x()
        if area.width() >= GAUGE + PAD + wide:
            self._draw_gauge(painter, QRect(left, area.y(), GAUGE, area.height()), row)
            left += GAUGE + PAD
        painter.setPen(QColor(self._found["text"]))
        painter.drawText(QRect(left, area.y(), wide, area.height()), RIGHT, number)
        rest = QRect(left + wide + PAD, area.y(), area.right() - left, area.height())
        if after and area.right() - rest.x() >= letters.horizontalAdvance(after) - 2:
            painter.setPen(QColor(self._found["secondary"]))
            painter.drawText(rest, LEFT, after)

    def _draw_gauge(self, painter: QPainter, area: QRect, row: Row) -> None:
        """Draw the range as a bar on a scale; solid is measured, hollow estimated."""
        low, high = SCALE
        middle = area.center().y() + 0.5

        def at(dice: float) -> float:
            part = (min(max(dice, low), high) - low) / (high - low)
            return area.x() + 5 + part * (area.width() - 10)

        painter.setPen(QPen(QColor(self._found["line"]), 1))
        painter.drawLine(QPointF(at(low), middle), QPointF(at(high), middle))
        for place in (0.5, 0.75, 1.0):
            painter.drawLine(
                QPointF(at(place), middle - 2), QPointF(at(place), middle + 2)
            )
        text, estimate = QColor(self._found["text"]), row.estimate
        painter.setBrush(text)
        if estimate is not None:
            painter.setPen(QPen(QColor(self._found["outline"]), 4))
            painter.drawLine(
                QPointF(at(estimate.low), middle), QPointF(at(estimate.high), middle)
            )
            painter.setBrush(QColor(self._found["background"]))
        painter.setPen(QPen(text, 1.6))
        painter.drawEllipse(QPointF(at(_value(row) or low), middle), 3.6, 3.6)


def draw_box(
    painter: QPainter,
    area: QRect,
    found: dict[str, str],
    *,
    ticked: bool,
    part: bool = False,
) -> None:
    """Draw a box with a tick, or with a line where only a part is ticked."""
    box = QRectF(0, 0, BOX, BOX)
    box.moveCenter(QPointF(area.x() + area.width() / 2, area.y() + area.height() / 2))
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(found["text" if ticked else "outline"]), 1.2))
    painter.setBrush(
        QColor(found["text"]) if ticked else QColor(Qt.GlobalColor.transparent)
    )
    painter.drawRoundedRect(box, 2.5, 2.5)
    if ticked:
        painter.setPen(QPen(QColor(found["background"]), 2))
        x, y = box.x(), box.y()
        ends = ((3, 6.5), (10, 6.5)) if part else ((3, 6.5), (5.5, 9.5), (10.5, 3.5))
        painter.drawPolyline([QPointF(x + a, y + b) for a, b in ends])
    painter.restore()


def _value(row: Row) -> float | None:
    """Estimated or measured Dice."""
    if row.waiting is not None:
        return None if row.estimate is None else row.estimate.dice
    return row.dice


def _parts(row: Row) -> tuple[str, str]:
    """The number of the quality, and what stands behind it."""
    number, _, after = row.quality.partition(" ")
    return (number, after) if _value(row) is not None else ("", "")
