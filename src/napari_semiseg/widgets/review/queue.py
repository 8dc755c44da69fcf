"""List the cases and slices to look at next, with reasons."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QComboBox,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QStyle,
    QStyledItemDelegate,
    QWidget,
)

from napari_semiseg.active_learning.registry import DEFAULT, strategies
from napari_semiseg.active_learning.suggest import (
    SliceSuggestion,
    Suggestions,
    VolumeSuggestion,
    suggest,
)
from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.text import shared_ends
from napari_semiseg.errors import ProjectError, SemisegError
from napari_semiseg.project.review import flags
from napari_semiseg.widgets.common.background import show_errors
from napari_semiseg.widgets.common.flagging import ask_flag
from napari_semiseg.widgets.common.preferences import preferences
from napari_semiseg.widgets.common.thumbnails import Thumbnails, draw_slice
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    plain,
    plain_label,
    row_of,
    stack,
    wrapped_label,
)
from napari_semiseg.widgets.elements.style import colours_of, look
from napari_semiseg.widgets.elements.tables import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtCore import QModelIndex, QPersistentModelIndex
    from qtpy.QtGui import QImage, QKeyEvent, QPainter
    from qtpy.QtWidgets import QStyleOptionViewItem

    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.review.quality_estimate import Estimate
    from napari_semiseg.widgets.common.session import Session

LENGTH = 30
EMPTY = "The queue fills once a trained model has predicted cases."
TESTS_ALONE = (
    "Only test cases have proposals. The queue leaves them out, since nothing is to be "
    "learnt from them; the Cohort tab opens them."
)
ALL_DONE = "No case is left to annotate."
STRATEGY = "queue_strategy"
TO_DO = (CaseState.DRAFT, CaseState.PROPOSED, CaseState.PARTIAL, CaseState.UNLABELLED)
ROW, PICTURE = 50, 42
ROOMY = 320
"""Pixels of a row from which on an estimate has its interval beside it."""
CASE, PLACE, WHY, QUALITY = (Qt.ItemDataRole.UserRole + n for n in range(4))


class _Row(QStyledItemDelegate):
    """Draws picture, case, reason and estimated quality."""

    def __init__(self, queue: ReviewQueue) -> None:
        super().__init__(queue)
        self._queue = queue

    def sizeHint(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> QSize:
        """Every row is as high."""
        return QSize(100, ROW)

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        """Draw a row; the case in hand is bold, with a bar at the left."""
        found, area = colours_of(self._queue), QRect(option.rect)
        in_hand = index.data(CASE) == self._queue.open_case
        selected = option.state & QStyle.StateFlag.State_Selected
        painter.save()
        if in_hand or selected:
            painter.fillRect(area, QColor(found["control" if in_hand else "card"]))
        if in_hand:
            painter.fillRect(
                area.x(), area.y(), 3, area.height(), QColor(found["text"])
            )
        left, top = area.x() + 8, area.y() + (ROW - PICTURE) // 2
        picture = self._queue.picture(index.data(CASE), index.data(PLACE))
        frame = QRect(left, top, PICTURE, PICTURE)
        if picture is None:
            painter.fillRect(frame, QColor(found["card"]))
        else:
            painter.drawImage(frame, picture)
        metrics = painter.fontMetrics()
        quality = str(index.data(QUALITY) or "")
        if area.width() < ROOMY:
            quality = quality.partition(" ")[0]
        room = metrics.horizontalAdvance(quality)
        text = area.adjusted(PICTURE + 16, 6, -8, -6)
        painter.setPen(QColor(found["text"]))
        top_line = Qt.AlignmentFlag.AlignTop
        painter.drawText(text, top_line | Qt.AlignmentFlag.AlignRight, quality)
        bold = painter.font()
        bold.setBold(in_hand)
        painter.setFont(bold)
        width = text.width() - room - 8
        name = short_name(
            index.data(CASE), self._queue.shared_ends, painter.fontMetrics(), width
        )
        painter.drawText(text, top_line | Qt.AlignmentFlag.AlignLeft, name)
        bold.setBold(False)
        painter.setFont(bold)
        painter.setPen(QColor(found["secondary"]))
        why = metrics.elidedText(
            str(index.data(WHY)), Qt.TextElideMode.ElideRight, text.width()
        )
        painter.drawText(text, Qt.AlignmentFlag.AlignBottom, why)
        painter.restore()


class ReviewQueue(QListWidget):
    """Cases with the slice to look at first, and why; most useful first.

    Parameters
    ----------
    session : Session
        Whose project is shown.

    Signals
    -------
    asked(str, object)
        Enter or a double click: the case, and (axis, index) of the slice that the row
        names, or None.
    """

    asked = Signal(str, object)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.open_case: str | None = None
        self.shared_ends = 0, 0
        self._session = session
        self._thumbnails = Thumbnails(self)
        self._thumbnails.ready.connect(self._drawn)
        connections = Connections(self)
        connections.at_close(self._thumbnails.close)
        self.setItemDelegate(_Row(self))
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Review queue")
        self.setMinimumHeight(2 * ROW + 4)
        self.itemDoubleClicked.connect(self._ask)

    def show_suggestions(
        self, suggestions: Suggestions, estimates: Mapping[str, Estimate] | None = None
    ) -> None:
        """Fill the queue; the same case stays selected.

        Parameters
        ----------
        suggestions : Suggestions
            Volumes with their slices and reasons.
        estimates : mapping of str to Estimate, optional
            Estimated Dice of the cases for which it is known.
        """
        current = self.currentItem()
        selected = None if current is None else current.data(CASE)
        self.clear()
        self.shared_ends = shared_ends([one.case for one in suggestions.volumes])
        for volume in suggestions.volumes:
            estimate = (estimates or {}).get(volume.case)
            item = QListWidgetItem(volume.case)
            item.setData(CASE, volume.case)
            item.setData(PLACE, volume.place)
            item.setData(WHY, volume.reason)
            item.setData(QUALITY, "" if estimate is None else str(estimate))
            words = "" if estimate is None else f"\nestimated Dice {estimate}"
            item.setToolTip(plain(f"{volume.case}\n{volume.reason}{words}"))
            self.addItem(item)
            if volume.case == selected:
                self.setCurrentItem(item)

    def show_open(self, case_id: str | None) -> None:
        """Mark the row of the case that is open."""
        self.open_case = case_id
        self.viewport().update()

    def cases(self) -> list[str]:
        """Ids of the cases in the queue, each once, in their order."""
        return list(dict.fromkeys(item.data(CASE) for item in self._rows()))

    def place_of(self, case_id: str) -> tuple[int, int] | None:
        """Slice that the row of a case names: axis and index."""
        rows = (item for item in self._rows() if item.data(CASE) == case_id)
        return next((_place(item) for item in rows), None)

    def picture(self, case_id: str, place: tuple[int, int] | None) -> QImage | None:
        """Picture of the slice that a row names; None until it is drawn."""
        project = self._session.project
        if project is None or place is None:
            return None
        case = next((one for one in self._session.cases() if one.id == case_id), None)
        if case is None:
            return None
        run = self._session.run_of(case)
        mask = None if run is None else run.folder.prediction(case_id).labels
        key = (case_id, *place, None if run is None else (run.id, run.steps_done))
        draw = partial(draw_slice, case, mask, (place[0], place[1]), project.labels)
        made = self._thumbnails.get(key, draw)
        return made[0] if isinstance(made, list) else None

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter opens; letters are left to the shortcuts."""
        item = self.currentItem()
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and item is not None:
            self._ask(item)
        elif event.text().strip():
            event.ignore()
        else:
            super().keyPressEvent(event)

    def _rows(self) -> list[QListWidgetItem]:
        rows = (self.item(row) for row in range(self.count()))
        return [item for item in rows if item is not None]

    def _drawn(self, _case: str) -> None:
        self.viewport().update()

    def _ask(self, item: QListWidgetItem) -> None:
        self.asked.emit(item.data(CASE), _place(item))


def _place(item: QListWidgetItem) -> tuple[int, int] | None:
    place: Any = item.data(PLACE)
    return None if place is None else (int(place[0]), int(place[1]))


def _row(item: SliceSuggestion) -> VolumeSuggestion:
    """Make a row of a slice of which the label is to be checked."""
    words, place = f"{item.reason} {item.index + 1}", (item.axis, item.index)
    return VolumeSuggestion(item.case, item.score, words, place=place)


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
        self.queue = ReviewQueue(session)
        self.text = look(wrapped_label(EMPTY), "secondary")
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
        self.order.activated.connect(lambda _: self.choose(self.strategy))
        self.title = look(plain_label("Queue"), "title")
        head = row_of(self.title)
        head.addWidget(self.order, 2)
        stack(
            self,
            head,
            self.text,
            self.queue,
            stretched=self.queue,
            margin=0,
        ).setSpacing(4)

    @property
    def strategy(self) -> str:
        """Name of the strategy that is chosen."""
        return str(self.order.currentData())

    def choose(self, strategy: str) -> None:
        """Rank the cases by another strategy from now on."""
        self.order.setCurrentIndex(self.order.findData(strategy))
        preferences().setValue(STRATEGY, strategy)
        with show_errors(self.session):
            self.refresh()

    def refresh(self) -> None:
        """Rank the cases again."""
        found = Suggestions(volumes=(), slices=())
        project, text = self.session.project, EMPTY
        chosen = strategies()[self.strategy]
        self.order.setToolTip(plain(chosen.hint))
        if project is not None:
            try:
                found = suggest(project, LENGTH, self.strategy)
                if chosen.of_labels:
                    found = replace(found, volumes=tuple(map(_row, found.slices)))
                text = f"{chosen.hint} Enter or a double click opens."
                self.order.setToolTip(plain(text))
            except SemisegError as error:
                if chosen.of_labels:
                    text = str(error)
                elif isinstance(error, ProjectError):
                    text = self._why_empty()
                else:
                    raise
        cases = [item.case for item in found.volumes]
        self.queue.show_suggestions(found, self.session.estimates(cases))
        self.text.setText(text)
        self.text.setVisible(not cases)
        self.queue.setVisible(bool(cases))
        self.show_open(self.queue.open_case)
        self.session.queue_changed.emit(self.queue.cases())

    def show_open(self, case_id: str | None) -> None:
        """Mark the row of the case that is open, and say which of the queue it is."""
        self.queue.show_open(case_id)
        cases = self.queue.cases()
        here = f"{cases.index(case_id) + 1} of " if case_id in cases else ""
        self.title.setText(f"Queue  {here}{len(cases)}" if cases else "Queue")

    def next_case(self, after: str) -> str | None:
        """Find the case to open next: first of the queue, else one without a label."""
        queued = self.queue.cases()
        if after in queued and strategies()[self.strategy].of_labels:
            at = queued.index(after)  # a label that was checked stays in the queue
            queued = queued[at:] + queued[:at]
        queued = [case for case in queued if case != after]
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

    def _why_empty(self) -> str:
        tests = [c for c in self.session.cases() if c.split is Split.TEST]
        if any(case.state is CaseState.PROPOSED for case in tests):
            return TESTS_ALONE
        return EMPTY if self._to_do() else ALL_DONE

    def _to_do(self) -> list[str]:
        """Cases that wait for a person, test cases left out."""
        if self.session.project is None:
            return []
        return [case.id for case in self.session.project.cases() if waits(case)]


def waits(case: Case) -> bool:
    """Whether a case waits for a person; test cases are left out."""
    return case.state in TO_DO and case.split is not Split.TEST
