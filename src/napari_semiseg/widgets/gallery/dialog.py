"""Accept or reopen many cases that are shown side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDialog,
    QDoubleSpinBox,
    QHeaderView,
    QPushButton,
    QWidget,
)
from superqt.utils import QSignalDebouncer

from napari_semiseg.core.text import count
from napari_semiseg.project.review.accept import accept, reopen, review_items
from napari_semiseg.widgets.common.background import in_background
from napari_semiseg.widgets.common.thumbnails import SIZE
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    markup_label,
    push_button,
    row_of,
    stack,
    wrapped_label,
)
from napari_semiseg.widgets.elements.plots import dotted
from napari_semiseg.widgets.elements.questions import Questions
from napari_semiseg.widgets.elements.tables import RowTable
from napari_semiseg.widgets.gallery.model import GalleryModel, Order, Show

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QShowEvent

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.accept import (
        AcceptReport,
        ReopenReport,
        ReviewItem,
    )
    from napari_semiseg.widgets.common.session import Session

MARGIN = 8
SETTLE_MS = 80
GOOD = 0.9
NAMED = 3
UNTICKED = "QTableView::indicator:unchecked { border: 1px solid #9a9fa6; }"
"""napari's themes draw it dark on dark."""


class GalleryTable(RowTable):
    """Pictures in rows; Enter or a double click opens, Space ticks."""

    def __init__(self, model: GalleryModel) -> None:
        super().__init__(SIZE + MARGIN, model)
        self.setModel(model)
        self._cases = model
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setStyleSheet(UNTICKED)
        self.setIconSize(QSize(SIZE, SIZE))
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in range(1, model.columnCount()):
            self.setColumnWidth(column, SIZE + MARGIN)
        self._scrolled = QSignalDebouncer(parent=self)
        self._scrolled.setTimeout(SETTLE_MS)
        self._scrolled.triggered.connect(self._drop_unseen)
        scroll = self.verticalScrollBar()
        scroll.valueChanged.connect(lambda _: self._scrolled.throttle())

    def visible_cases(self) -> set[str]:
        """Return the cases on the screen."""
        rows = self._cases.rows
        if not rows:
            return set()
        first = max(self.rowAt(0), 0)
        last = self.rowAt(self.viewport().height() - 1)
        shown = rows[first : (last if last >= 0 else len(rows) - 1) + 1]
        return {item.case.id for item in shown}

    def _drop_unseen(self) -> None:
        self._cases.thumbnails.keep_only(self.visible_cases())


class GalleryDialog(QDialog):
    """Decide on many cases; stays open beside the main window.

    Parameters
    ----------
    session : Session
        Whose cases are listed.
    project : Project
        The open project.
    before : callable
        Called before cases are read: notes what is open in the viewer as seen.
    parent : QWidget, optional
        The window.
    """

    def __init__(
        self,
        session: Session,
        project: Project,
        before: Callable[[], object] = lambda: None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Accept several predictions")
        self._session = session
        self._project = project
        self._before = before
        self.questions = Questions(lambda: self)
        self.model = GalleryModel(project.labels, self)
        self.table = GalleryTable(self.model)
        self.table.opened.connect(session.case_requested.emit)
        self.show_box = _combo(Show, "Which cases are listed")
        self.order_box = _combo(Order, "By the estimated Dice, else the uncertainty")
        self.summary = wrapped_label("Reading the predictions \u2026")
        self.limit = QDoubleSpinBox()
        self.limit.setRange(0, 1)
        self.limit.setSingleStep(0.01)
        self.limit.setValue(GOOD)
        self.limit.setToolTip("Estimated Dice")
        self.good = _button(
            "Tick Dice from",
            self._tick_good,
            "Tick cases with an estimated Dice of at least",
        )
        self.all = _button("Tick all", self._tick_all, "Tick every case of the list")
        self.none = _button("Tick none", self._tick_none, "Take all ticks away")
        self.accept_button = _button(
            "", self.accept_ticked, "Make the ticked predictions labels, as is"
        )
        self.reopen_button = _button(
            "", self.reopen_ticked, "Take the ticked labels back; they are kept"
        )
        self._build(project.labels)
        self._stale = self._busy = False
        for box in (self.show_box, self.order_box):
            box.currentIndexChanged.connect(self._arrange)
        self.model.dataChanged.connect(self._show_buttons)
        self.model.modelReset.connect(self._show_buttons)
        self._connections = Connections(self)
        self._connections.add(
            self._changed, session.cases_changed, session.runs_changed
        )
        self._connections.add(self._project_changed, session.project_changed)
        self._connections.at_close(self.model.thumbnails.close)
        self._show_buttons()
        self.read()

    # -- actions

    def read(self) -> None:
        """Read the cases, in the background."""
        if self._busy:
            self._stale = True
            return
        self._before()
        self._busy, self._stale = True, False
        project = self._project
        in_background(
            self._session,
            "Reading the predictions",
            lambda: review_items(project),
            self._show_items,
            self._read_ended,
            quiet=True,
            owner=self,
        )

    def accept_ticked(self) -> None:
        """Accept the ticked predictions; confirm first if some were never opened."""
        items = [item for item in self.model.ticked() if not item.accepted]
        unseen = sum(not item.seen for item in items)
        if not items or not self._may_change(items):
            return
        if unseen and not self.questions.confirm(
            f"Accept {count(len(items), 'prediction')}?",
            f"Nobody has opened {unseen} of them. They will be marked as accepted "
            "unseen, here and in exports, and training will not learn from them. "
            "You can reopen each of them later.",
        ):
            return
        ids = [item.case.id for item in items]
        self._work("Accepting", lambda: accept(self._project, ids), self._accepted)

    def reopen_ticked(self) -> None:
        """Take the ticked labels back."""
        items = [item for item in self.model.ticked() if item.accepted]
        drawn = sum(item.seen for item in items)
        if not items or not self._may_change(items):
            return
        if drawn and not self.questions.confirm(
            f"Reopen {count(len(items), 'case')}?",
            f"People drew or checked {drawn} of these labels. They are kept with the "
            "previous versions, and the cases are without a label again.",
        ):
            return
        ids = [item.case.id for item in items]
        self._work("Reopening", lambda: reopen(self._project, ids), self._reopened)

    # -- private

    def _build(self, labels: LabelScheme) -> None:
        ticks = (self.all, self.none, self.good, self.limit)
        top = row_of(self.show_box, self.order_box, None, *ticks)
        legend = markup_label(dotted({item.name: item.colour for item in labels}))
        close = _button("Close", self.close, "Esc does it too")
        bottom = row_of(legend, self.reopen_button, self.accept_button, close)
        stack(self, top, self.summary, self.table, bottom, stretched=self.table)
        self.resize(760, 640)

    def _show_items(self, found: list[ReviewItem]) -> None:
        self.model.set_items(found)
        self._arrange()

    def _read_ended(self) -> None:
        self._busy = False
        if self._stale and self.isVisible():
            self.read()

    def _changed(self, _: object = None) -> None:
        if self.isVisible():
            self.read()
        else:
            self._stale = True

    def _arrange(self, _: object = None) -> None:
        show, order = Show(self.show_box.currentText()), self.order_box.currentText()
        self.model.arrange(show, Order(order))
        self.summary.setText(self._summary(show))

    def _summary(self, show: Show) -> str:
        rows = self.model.rows
        if show is not Show.WAITING:
            return f"{count(len(rows), 'case')}. Double-click one to look at it."
        if not rows:
            return "No prediction to decide on. Predict cases in the Train tab."
        unopened = sum(not item.seen for item in rows)
        unknown = next((item.words for item in rows if item.estimate is None), "")
        text = f"{count(len(rows), 'prediction')}, {unopened} never opened."
        why = f" {unknown}." if unknown else ""
        return f"{text}{why} Double-click one to look at it and correct it."

    def _show_buttons(self, *_: object) -> None:
        ticked = self.model.ticked()
        waiting = sum(not item.accepted for item in ticked)
        done = len(ticked) - waiting
        self.accept_button.setText(f"Accept {waiting}" if waiting else "Accept")
        self.reopen_button.setText(f"Reopen {done}" if done else "Reopen")
        self.accept_button.setEnabled(waiting > 0)
        self.reopen_button.setEnabled(done > 0)
        known = any(item.estimate is not None for item in self.model.rows)
        self.good.setEnabled(known)
        self.limit.setEnabled(known)

    def _tick_all(self) -> None:
        self.model.check(item.case.id for item in self.model.rows)

    def _tick_none(self) -> None:
        self.model.check([item.case.id for item in self.model.rows], False)

    def _tick_good(self) -> None:
        least = self.limit.value()
        self._tick_none()
        self.model.check(
            item.case.id
            for item in self.model.rows
            if item.estimate is not None and item.estimate.dice >= least
        )

    def _may_change(self, items: list[ReviewItem]) -> bool:
        """Ask about unsaved edits when the open case is among them."""
        ids = {item.case.id for item in items}
        return self._session.case_id not in ids or self._session.leave()

    def _work(
        self, title: str, work: Callable[[], object], then: Callable[..., None]
    ) -> None:
        def freed() -> None:
            self.setEnabled(True)

        self.setEnabled(False)
        in_background(self._session, title, work, then, freed, owner=self)

    def _accepted(self, report: AcceptReport) -> None:
        text = f"Accepted {count(len(report.accepted), 'prediction')}"
        text += f", {len(report.unseen)} of them unseen" if report.unseen else ""
        self._announce(f"{text}.", report.accepted, report.skipped)

    def _reopened(self, report: ReopenReport) -> None:
        text = f"Reopened {count(len(report.reopened), 'case')}."
        self._announce(text, report.reopened, report.skipped)

    def _announce(self, text: str, done: list[str], skipped: dict[str, str]) -> None:
        self._session.cases_changed.emit(set(done))
        if self._session.case_id in done:
            self._session.case_requested.emit(str(self._session.case_id))
        reasons = [f"{name}: {why}" for name, why in skipped.items()][:NAMED]
        self._session.say(" ".join((text, *reasons)))

    # -- Qt

    def showEvent(self, event: QShowEvent) -> None:
        """Read again what changed while the dialog was hidden."""
        super().showEvent(event)
        if self._stale:
            self.read()

    def done(self, result: int) -> None:
        """Close, leave the session and end drawing."""
        self._connections.close()
        super().done(result)

    def _project_changed(self) -> None:
        self.close()


def _combo(items: type[Show] | type[Order], tip: str) -> QComboBox:
    box = QComboBox()
    box.addItems([str(item) for item in items])
    box.setToolTip(tip)
    return box


def _button(text: str, run: Callable[[], object], tip: str) -> QPushButton:
    button = push_button(text, run, tip)
    button.setAutoDefault(False)
    return button
