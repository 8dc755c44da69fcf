"""Show tables with a row per case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QObject, QPersistentModelIndex
    from qtpy.QtGui import QKeyEvent
    from qtpy.QtWidgets import QTreeWidget, QTreeWidgetItem

    Index: TypeAlias = QModelIndex | QPersistentModelIndex

T = TypeVar("T")


class RowModel(QAbstractTableModel, Generic[T]):
    """Items as rows, below titles with tool tips.

    Parameters
    ----------
    columns : sequence of (str, str)
        Title and tool tip.
    """

    def __init__(
        self, columns: Sequence[tuple[str, str]], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.rows: list[T] = []
        self._columns = tuple(columns)

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
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Title and tool tip of a column."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return self._columns[section][0]
            if role == Qt.ItemDataRole.ToolTipRole:
                return self._columns[section][1]
        return None


class RowTable(QTableView):
    """Selects whole rows; Enter or a double click opens one.

    Signals
    -------
    opened(QModelIndex)
        A valid index of the row.
    """

    opened = Signal(QModelIndex)

    def __init__(self, row_height: int) -> None:
        super().__init__()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setShowGrid(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(row_height)
        self.horizontalHeader().setHighlightSections(False)
        self.doubleClicked.connect(self.open_row)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open the current row on Enter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.open_row(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def open_row(self, index: QModelIndex) -> None:
        """Emit ``opened`` for a row, if there is one."""
        if index.isValid():
            self.opened.emit(index)


def top_items(tree: QTreeWidget) -> list[QTreeWidgetItem]:
    """List the items of a tree that have no parent."""
    items = (tree.topLevelItem(row) for row in range(tree.topLevelItemCount()))
    return [item for item in items if item is not None]
