"""List the cases and slices to look at next, with reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QSizePolicy,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from napari_semiseg.active_learning.registry import DEFAULT, strategies
from napari_semiseg.active_learning.suggest import Suggestions, suggest
from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.errors import ProjectError
from napari_semiseg.imaging.rendering import slice_name
from napari_semiseg.project.review import flags
from napari_semiseg.widgets.common.background import show_errors
from napari_semiseg.widgets.common.flagging import ask_flag
from napari_semiseg.widgets.common.forms import (
    plain,
    plain_label,
    row_of,
    stack,
    wrapped_label,
)
from napari_semiseg.widgets.common.preferences import preferences
from napari_semiseg.widgets.common.tables import top_items

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtGui import QKeyEvent

    from napari_semiseg.project.review.quality_estimate import Estimate
    from napari_semiseg.widgets.common.session import Session

LENGTH = 30
EMPTY = "The queue fills once a trained model has predicted cases."
ALL_DONE = "No case is left to annotate."
STRATEGY = "queue_strategy"
TO_DO = (CaseState.DRAFT, CaseState.PROPOSED, CaseState.PARTIAL, CaseState.UNLABELLED)
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
        Enter or a double click: the case, and (axis, index) of the slice that the row
        names, or None.
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
        selected = None if current is None else self._place(current)[0]
        self.clear()
        for volume in suggestions.volumes:
            reason, estimate = volume.reason, (estimates or {}).get(volume.case)
            if estimate is not None:
                reason = f"Dice ~{estimate}, {reason}"
            row = self._item(volume.case, reason, (volume.case, volume.place))
            self.addTopLevelItem(row)
            for item in suggestions.slices:
                if item.case == volume.case:
                    name = slice_name(item.axis, item.index).capitalize()
                    place = (item.case, (item.axis, item.index))
                    row.addChild(self._item(name, item.reason, place))
            row.setExpanded(volume.case in opened)
        for row in self._top():
            if self._place(row)[0] == selected:
                self.setCurrentItem(row)

    def cases(self) -> list[str]:
        """Ids of the cases in the queue, in their order."""
        return [self._place(item)[0] for item in self._top()]

    def place_of(self, case_id: str) -> tuple[int, int] | None:
        """Slice that the row of a case names: axis and index."""
        return dict(map(self._place, self._top())).get(case_id)

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
        return top_items(self)

    def _item(
        self, name: str, reason: str, place: tuple[str, tuple[int, int] | None]
    ) -> QTreeWidgetItem:
        item = QTreeWidgetItem([name, reason])
        item.setData(0, PLACE_ROLE, place)
        item.setToolTip(0, plain(name))
        item.setToolTip(1, plain(reason))
        return item

    def _place(self, item: QTreeWidgetItem) -> tuple[str, tuple[int, int] | None]:
        case, place = item.data(0, PLACE_ROLE)
        return case, None if place is None else tuple(place)

    def _ask(self, item: QTreeWidgetItem, column: int = 0) -> None:
        self.asked.emit(*self._place(item))


class QueueBox(QWidget):
    """The queue of the review and the choice of its order.

    Parameters
    ----------
    session : Session
        Whose project is ranked.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.queue = ReviewQueue()
        self.text = wrapped_label(EMPTY)
        self.order = QComboBox()
        self.order.setAccessibleName("Order of the queue")
        self.order.setToolTip("Which cases come first in the list below")
        self.order.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        for name, strategy in strategies().items():
            self.order.addItem(strategy.title, name)
            row = self.order.count() - 1
            self.order.setItemData(
                row, plain(strategy.hint), Qt.ItemDataRole.ToolTipRole
            )
        stored = str(preferences().value(STRATEGY) or DEFAULT)
        known = stored if stored in strategies() else DEFAULT
        self.order.setCurrentIndex(self.order.findData(known))
        self.order.activated.connect(self._chosen)
        label = plain_label("&Next")
        label.setBuddy(self.order)
        head = row_of(self.order)
        head.insertWidget(0, label)
        stack(
            self, head, self.text, self.queue, stretched=self.queue, margin=0
        ).setSpacing(4)

    @property
    def strategy(self) -> str:
        """Name of the strategy that is chosen."""
        return str(self.order.currentData())

    def refresh(self) -> None:
        """Rank the cases again."""
        found = Suggestions(volumes=(), slices=())
        project, text = self.session.project, EMPTY
        chosen = strategies()[self.strategy]
        self.order.setToolTip(plain(chosen.hint))
        if project is not None:
            try:
                found = suggest(project, LENGTH, self.strategy)
                text = f"{chosen.hint} Enter or a double click opens."
            except ProjectError:
                text = EMPTY if self._to_do() else ALL_DONE
        cases = [item.case for item in found.volumes]
        self.queue.show_suggestions(found, self.session.estimates(cases))
        self.text.setText(text)
        self.session.queue_changed.emit(self.queue.cases())

    def next_case(self, after: str) -> str | None:
        """Find the case to open next: first of the queue, else one without a label."""
        queued = [case for case in self.queue.cases() if case != after]
        if queued:
            return queued[0]
        waiting = [case_id for case_id in self._to_do() if case_id != after]
        later = [case_id for case_id in waiting if case_id > after]
        return next(iter(later or waiting), None)

    def skip(self, case_id: str) -> bool:
        """Put a case at the end of the queue until it is predicted again.

        Returns
        -------
        bool
            False when it could not be stored; the error is shown.
        """
        project, done = self.session.project, False
        if project is not None:
            with show_errors(self.session):
                flags.skip(project, case_id)
                self.session.cases_changed.emit({case_id})
                done = True
        return done

    def ask_flag(self, case_id: str) -> None:
        """Ask for a comment and flag a case with it, or take its flag away."""
        project = self.session.project
        if project is not None:
            with show_errors(self.session):
                if ask_flag(self, project, [case_id]):
                    self.session.cases_changed.emit({case_id})

    def _to_do(self) -> list[str]:
        """Cases that wait for a person, test cases left out."""
        if self.session.project is None:
            return []
        waiting = self.session.project.cases(state=TO_DO)
        return [case.id for case in waiting if case.split is not Split.TEST]

    def _chosen(self, _row: int) -> None:
        preferences().setValue(STRATEGY, self.strategy)
        with show_errors(self.session):
            self.refresh()
