"""Show tables with a row per case, and ticks to act on several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableView

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qtpy.QtCore import QObject, QPersistentModelIndex
    from qtpy.QtGui import QFontMetrics, QKeyEvent
    from qtpy.QtWidgets import QTreeWidget, QTreeWidgetItem

    Index: TypeAlias = QModelIndex | QPersistentModelIndex

T = TypeVar("T")
ID_ROLE = Qt.ItemDataRole.UserRole
"""Of any cell: the id of its row."""
Role = Qt.ItemDataRole


def short_name(
    name: str, ends: tuple[int, int], letters: QFontMetrics, room: int
) -> str:
    """Leave out of a name what others share, so that the rest tells them apart.

    Parameters
    ----------
    name : str
        The whole name, which is returned where there is room for it.
    ends : (int, int)
        Letters that all names begin and end with, see `core.text.shared_ends`.
    letters : QFontMetrics
        Of the font that it is drawn with.
    room : int
        Pixels.
    """
    start, end = ends
    head = f"\u2026{name[start:]}" if start > 1 else name
    tail = f"{head[: len(head) - end]}\u2026" if end > 1 else head
    for short in (name, head, tail):
        if letters.horizontalAdvance(short) <= room:
            return short
    return letters.elidedText(tail, Qt.TextElideMode.ElideMiddle, room)


class RowModel(QAbstractTableModel, Generic[T]):
    """Items as rows, below titles with tool tips; one column has ticks.

    Parameters
    ----------
    columns : sequence of (str, str)
        Title and tool tip.
    ticks : int
        Number of the column with the ticks.

    Attributes
    ----------
    rows : list
        The items.
    checked : set of str
        Ids of those that are ticked.
    """

    def __init__(
        self,
        columns: Sequence[tuple[str, str]],
        parent: QObject | None = None,
        *,
        ticks: int = 0,
    ) -> None:
        super().__init__(parent)
        self.rows: list[T] = []
        self.checked: set[str] = set()
        self.ticks = ticks
        self._columns = tuple(columns)

    def id_of(self, item: T) -> str:
        """Id of an item."""
        raise NotImplementedError

    def check(self, ids: Iterable[str], checked: bool = True) -> None:
        """Tick rows, or take their ticks away."""
        self.checked = self.checked.union(ids) if checked else self.checked - {*ids}
        if self.rows:
            first = self.index(0, self.ticks)
            last = self.index(len(self.rows) - 1, self.ticks)
            self.dataChanged.emit(first, last, [Role.CheckStateRole])

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Make the column with the ticks checkable."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if index.column() == self.ticks:
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def data(self, index: Index, role: int = Role.DisplayRole) -> Any:
        """Return the id of a row, or whether it is ticked."""
        name = self.id_of(self.rows[index.row()])
        if role == ID_ROLE:
            return name
        if role == Role.CheckStateRole and index.column() == self.ticks:
            ticked = name in self.checked
            return Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked
        return None

    def setData(self, index: Index, value: Any, role: int = Role.EditRole) -> bool:
        """Tick a row."""
        if role != Role.CheckStateRole or index.column() != self.ticks:
            return False
        ticked = Qt.CheckState(value) == Qt.CheckState.Checked
        self.check([self.id_of(self.rows[index.row()])], ticked)
        return True

    def rowCount(self, parent: Index | None = None) -> int:
        """Number of items."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index | None = None) -> int:
        """Number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self._columns)

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Role.DisplayRole,
    ) -> Any:
        """Title and tool tip of a column."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Role.DisplayRole:
                return self._columns[section][0]
            if role == Role.ToolTipRole:
                return self._columns[section][1]
        return None


class RowTable(QTableView):
    """Selects whole rows; Enter or a double click opens one, Space ticks.

    Parameters
    ----------
    row_height : int
        Pixels.
    rows : RowModel
        What is shown, through a proxy or not.

    Signals
    -------
    opened(str)
        The id of the row.
    """

    opened = Signal(str)

    def __init__(self, row_height: int, rows: RowModel[Any]) -> None:
        super().__init__()
        self._rows = rows
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(row_height)
        self.horizontalHeader().setHighlightSections(False)
        self.doubleClicked.connect(self.open_row)

    def selected(self) -> list[str]:
        """Return the ids of the selected rows."""
        rows = self.selectionModel().selectedRows()
        return [str(index.data(ID_ROLE)) for index in rows]

    def toggle_selected(self) -> None:
        """Tick what is selected; where all of it is ticked, take the ticks away."""
        ids = self.selected()
        self._rows.check(ids, not self._rows.checked.issuperset(ids))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open the current row on Enter, tick on Space."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.open_row(self.currentIndex())
        elif event.key() == Qt.Key.Key_Space:
            self.toggle_selected()
        else:
            super().keyPressEvent(event)

    def open_row(self, index: QModelIndex) -> None:
        """Emit ``opened`` for a row, if there is one."""
        if index.isValid():
            self.opened.emit(str(index.data(ID_ROLE)))


def top_items(tree: QTreeWidget) -> list[QTreeWidgetItem]:
    """List the items of a tree that have no parent."""
    items = (tree.topLevelItem(row) for row in range(tree.topLevelItemCount()))
    return [item for item in items if item is not None]
