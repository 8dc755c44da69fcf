"""List the cases and slices to look at next, with reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTreeWidget, QTreeWidgetItem

from napari_semiseg.widgets.common.planes import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtGui import QKeyEvent

    from napari_semiseg.active_learning.suggest import Suggestions
    from napari_semiseg.project.review.quality_estimate import Estimate

PLACE_ROLE = Qt.ItemDataRole.UserRole
SELECTED = """
QTreeView::item:selected, QTreeView::branch:selected {
    background-color: #3f5bc4; color: white;
}
"""
"""napari's themes leave trees out: Qt would draw white text on a white row."""


class ReviewQueue(QTreeWidget):
    """Volumes with their doubtful slices as children, most useful first.

    Signals
    -------
    asked(str, object)
        Enter or a double click: the case, and (axis, index) of a slice or None.
    """

    asked = Signal(str, object)

    def __init__(self) -> None:
        super().__init__()
        self.setHeaderLabels(["Case or slice", "Why"])
        self.setStyleSheet(SELECTED)
        self.setUniformRowHeights(True)
        self.setRootIsDecorated(True)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setAccessibleName("Review queue")
        header = self.header()
        header.setStretchLastSection(True)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
        self.setColumnWidth(0, 150)
        self.setMinimumHeight(120)
        self.setExpandsOnDoubleClick(False)
        self.itemDoubleClicked.connect(self._ask)

    def show_suggestions(
        self, suggestions: Suggestions, estimates: Mapping[str, Estimate] | None = None
    ) -> None:
        """Fill the queue; the same case stays open and selected.

        Parameters
        ----------
        suggestions : Suggestions
            Volumes and slices with reasons.
        estimates : mapping of str to Estimate, optional
            Estimated Dice of the cases for which it is known.
        """
        opened = {self._place(item)[0] for item in self._top() if item.isExpanded()}
        current = self.currentItem()
        selected = None if current is None else self._place(current)
        self.clear()
        for volume in suggestions.volumes:
            reason, estimate = volume.reason, (estimates or {}).get(volume.case)
            if estimate is not None:
                reason = f"Dice ~{estimate}, {reason}"
            row = self._item(volume.case, reason, (volume.case, None))
            self.addTopLevelItem(row)
            for item in suggestions.slices:
                if item.case == volume.case:
                    name = f"{NAMES[item.axis]} {item.index}"
                    place = (item.case, (item.axis, item.index))
                    row.addChild(self._item(name, item.reason, place))
            row.setExpanded(volume.case in opened)
        for item in self._top():
            if self._place(item) == selected:
                self.setCurrentItem(item)

    def cases(self) -> list[str]:
        """Ids of the cases in the queue, in their order."""
        return [self._place(item)[0] for item in self._top()]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter opens; letters are left to the shortcuts."""
        item = self.currentItem()
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and item is not None:
            self._ask(item)
        elif event.text().strip():
            event.ignore()
        else:
            super().keyPressEvent(event)

    def _top(self) -> list[QTreeWidgetItem]:
        return [self.topLevelItem(row) for row in range(self.topLevelItemCount())]

    def _item(
        self, name: str, reason: str, place: tuple[str, tuple[int, int] | None]
    ) -> QTreeWidgetItem:
        item = QTreeWidgetItem([name, reason])
        item.setData(0, PLACE_ROLE, place)
        item.setToolTip(0, name)
        item.setToolTip(1, reason)
        return item

    def _place(self, item: QTreeWidgetItem) -> tuple[str, tuple[int, int] | None]:
        case, place = item.data(0, PLACE_ROLE)
        return case, None if place is None else tuple(place)

    def _ask(self, item: QTreeWidgetItem, column: int = 0) -> None:
        self.asked.emit(*self._place(item))
