"""The Review tab: what to look at next, tools to correct it, accept."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.core.text import percent
from napari_semiseg.widgets.canvas.contrast import ContrastRow
from napari_semiseg.widgets.canvas.image_layers import ChannelChoice
from napari_semiseg.widgets.canvas.slice_strip import StripKeeper
from napari_semiseg.widgets.canvas.surface_view import SolidView
from napari_semiseg.widgets.common import keys, planes
from napari_semiseg.widgets.common.background import show_errors
from napari_semiseg.widgets.common.keys import ClassKeys, Keys, Shortcut
from napari_semiseg.widgets.review.action_grid import ActionGrid, plain_button
from napari_semiseg.widgets.review.queue_box import QueueBox
from napari_semiseg.widgets.review.shortcut_sheet import ShortcutSheet
from napari_semiseg.widgets.tools.drawing import ClassButtons, ToolRow, short
from napari_semiseg.widgets.tools.operations import ALONG, BETWEEN, BOUNDARY, FOLLOW
from napari_semiseg.widgets.tools.panel import ToolBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QShowEvent

    from napari_semiseg.core.labels import LabelClass
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.common.session import Session

REFRESH_MS = 200
NO_CASE = "No case is open. Double-click one in the cohort or in the queue below."
HELP = "0-9 class, P paint, E erase, F fill, D slice done, [ ] brush, Ctrl+Z undo"


class ReviewPanel(QWidget):
    """Class buttons, brush, accept, and the queue with reasons.

    Parameters
    ----------
    session : Session
        Project, case and run of the dock.
    case_view : CaseView
        The case that is open.
    parent : QWidget, optional
        Of the panel.

    Signals
    -------
    export_asked()
        The user wants to export masks.
    """

    export_asked = Signal()

    def __init__(
        self, session: Session, case_view: CaseView, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.session = session
        self.case_view = case_view
        self.info = _text("")
        self.saved = _text("")
        self.channels = ChannelChoice(case_view.layers.images)
        self.classes = ClassButtons()
        self.tools = ToolRow()
        self.box = QueueBox(session)
        self.queue = self.box.queue
        self.toolbox = ToolBox(session, case_view)
        self.strip = StripKeeper(case_view)
        self.solid = SolidView(session, case_view)
        solid = plain_button(f"3D ({short(keys.SOLID.key)})", keys.SOLID.text)
        solid.clicked.connect(self.solid.toggle)
        self.contrast = ContrastRow(case_view, solid)
        self.grid = ActionGrid(self._actions(), case_view.discard_draft)
        self.buttons = self.grid.buttons
        self._viewer_keys = Keys(case_view.viewer)
        self._class_keys = ClassKeys()
        self._stale = True
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(REFRESH_MS)
        self._later.timeout.connect(self._refresh_queue_if_seen)
        self._build()
        self._connect()
        self._show_project()
        self._show_case()

    # -- actions ---------------------------------------------------------------------

    def accept_and_next(self) -> None:
        """Accept the whole volume and open the next case of the queue."""
        accepted = self.case_view.case
        if accepted is not None and self.case_view.accept():
            self._go_on(accepted.id, "Accepted")

    def _go_on(self, done: str, verb: str) -> None:
        """Open the case that follows in the queue."""
        following = self.next_case(done)
        if following is None:
            self.session.say(f"{verb} {done}: it was the last one to review.")
        else:
            self.session.case_requested.emit(following)

    def open_next(self) -> None:
        """Open the first case of the queue, or say that there is none."""
        following = self.next_case("")
        if following is None:
            self.session.say("No case to review: all are accepted.")
        else:
            self.session.case_requested.emit(following)

    def next_case(self, after: str) -> str | None:
        """Case to open next: the first of the queue, else one that has no label."""
        self.refresh_queue()
        return self.box.next_case(after)

    def refresh_queue(self) -> None:
        """Rank the cases anew."""
        self._stale = False
        self.box.refresh()

    def skip(self) -> None:
        """Put the open case off and open the next one."""
        skipped = self.case_view.case
        if skipped is not None and self.box.skip(skipped.id):
            self._go_on(skipped.id, "Skipped")

    def flag(self) -> None:
        """Ask why the open case needs a second look, and note it."""
        if self.case_view.case is not None:
            self.box.ask_flag(self.case_view.case.id)
            self._show_case()

    def open_place(self, case_id: str, place: tuple[int, int] | None) -> None:
        """Open a case, at a slice (axis, index) when one is given."""
        case = self.case_view.case
        if case is None or case.id != case_id:
            self.session.case_requested.emit(case_id)
            case = self.case_view.case
        if place is not None and case is not None and case.id == case_id:
            self.case_view.go_to(*place)

    def choose_class(self, value: int) -> None:
        """Paint this value from now on; 0 is background."""
        mask = self.case_view.mask
        if mask is not None:
            mask.selected_label = value
            mask.mode = "paint" if mask.mode == "pan_zoom" else mask.mode

    def lock(self, value: int, locked: bool) -> None:
        """Let nothing paint over a class, or let it again."""
        self.case_view.layers.set_locked(value, locked)
        self.classes.show_locked(self.case_view.layers.locked)
        self.toolbox.cancel()

    def toggle_lock(self) -> None:
        """Lock or unlock the structure in hand."""
        mask, locked = self.case_view.mask, self.case_view.layers.locked
        if mask is not None and mask.selected_label in self.classes.locks:
            value = int(mask.selected_label)
            self.lock(value, value not in locked)

    def show_shortcuts(self) -> None:
        """Show the list of keys."""
        sheet = ShortcutSheet(self.shortcuts(), self)
        sheet.exec()
        sheet.deleteLater()

    def shortcuts(self) -> list[Shortcut]:
        """Every key of the review, and the useful ones of napari."""
        classes = [
            Shortcut(str(position), f"Paint {item.name}")
            for position, item in enumerate(self._scheme(), start=1)
            if position <= 9
        ]
        background = Shortcut("0", "Paint background")
        return [*classes, background, *self._actions(), *keys.BUILT_IN]

    def close_panel(self) -> None:
        """Unbind every key and callback; called before the dock goes."""
        self._later.stop()
        self._viewer_keys.release()
        self._class_keys.release()
        self.tools.follow(None)
        self.toolbox.close_box()
        self.strip.close()
        self.solid.close()
        self.contrast.close_row()
        session, view = self.session, self.case_view
        session.project_changed.disconnect(self._show_project)
        session.cases_changed.disconnect(self._queue_is_stale)
        session.runs_changed.disconnect(self._queue_is_stale)
        view.shown.disconnect(self._show_case)
        view.counted.disconnect(self._show_counts)
        view.dirtied.disconnect(self._show_saved)
        self.channels.let_go()
        view.viewer.dims.events.order.disconnect(self._turned)

    # -- building --------------------------------------------------------------------

    def _actions(self) -> dict[Shortcut, Callable[[], object]]:
        view, tools = self.case_view, self.tools
        return {
            keys.PAINT: lambda: tools.set_mode("paint"),
            keys.ERASE: lambda: tools.set_mode("erase"),
            keys.BUCKET: lambda: tools.set_mode("fill"),
            keys.PAN: lambda: tools.set_mode("pan_zoom"),
            keys.MASK: view.layers.toggle_mask,
            keys.CHANNEL: view.layers.images.next,
            keys.PLANE: lambda: planes.next_plane(view.viewer),
            keys.SOLID: self.solid.toggle,
            keys.CONTRAST: self.contrast.next_window,
            keys.VIEWS: view.canvases.toggle,
            keys.VEIL: view.layers.toggle_veil,
            keys.UNKNOWN: lambda: self.choose_class(UNANNOTATED),
            keys.LOCK: self.toggle_lock,
            keys.BETWEEN: lambda: self.toolbox.take(BETWEEN),
            keys.FOLLOW: lambda: self.toolbox.take(FOLLOW),
            keys.ALONG: lambda: self.toolbox.take(ALONG),
            keys.BOUNDARY: lambda: self.toolbox.take(BOUNDARY),
            keys.APPLY: self.toolbox.apply,
            keys.BACK: view.previous_case,
            keys.WORST: view.next_worst_slice,
            keys.DONE: view.mark_slice,
            keys.FILL: view.fill_from_prediction,
            keys.SAVE: view.save_draft,
            keys.ACCEPT: view.accept,
            keys.ACCEPT_PAINTED: lambda: view.accept(painted_only=True),
            keys.ACCEPT_NEXT: self.accept_and_next,
            keys.SKIP: self.skip,
            keys.FLAG: self.flag,
        }

    def _build(self) -> None:
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        export = plain_button("Export\u2026", "Write masks on the grid of their images")
        export.clicked.connect(lambda: self.export_asked.emit())
        sheet = plain_button("Shortcuts", "List of keys")
        sheet.clicked.connect(self.show_shortcuts)
        foot = QHBoxLayout()
        foot.addWidget(export)
        foot.addWidget(sheet)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(6)
        for widget in (
            self.info,
            self.saved,
            self.channels,
            self.classes,
            self.tools,
            self.contrast,
            self.grid,
            self.toolbox,
        ):
            layout.addWidget(widget)
        layout.addWidget(_line())
        layout.addWidget(self.box, 1)
        layout.addLayout(foot)

    def _connect(self) -> None:
        session, view = self.session, self.case_view
        session.project_changed.connect(self._show_project)
        session.cases_changed.connect(self._queue_is_stale)
        session.runs_changed.connect(self._queue_is_stale)
        view.shown.connect(self._show_case)
        view.counted.connect(self._show_counts)
        view.dirtied.connect(self._show_saved)
        view.viewer.dims.events.order.connect(self._turned)
        self.classes.chosen.connect(self.choose_class)
        self.classes.lock_asked.connect(self.lock)
        self.queue.asked.connect(self.open_place)
        for shortcut, action in self._actions().items():
            self._viewer_keys.bind(shortcut.key, action)

    # -- showing ---------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        """Bring the queue up to date when the tab is looked at."""
        super().showEvent(event)
        if self._stale:
            self._later.start()

    def _queue_is_stale(self, _: object = None) -> None:
        self._stale = True
        self._later.start()

    def _refresh_queue_if_seen(self) -> None:
        if self.isVisible() and self._stale:
            with show_errors(self.session):
                self.refresh_queue()

    def _show_project(self) -> None:
        project = self.session.project
        self.classes.set_scheme(None if project is None else project.labels)
        self._queue_is_stale()

    def _show_case(self) -> None:
        view = self.case_view
        self._class_keys.release()
        self.channels.refresh()
        self.tools.follow(view.mask)
        for part in (self.classes, self.contrast, self.grid, self.toolbox):
            part.setEnabled(view.mask is not None)
        self.classes.show_locked(view.layers.locked)
        if view.case is None or view.mask is None or view.image is None:
            self.info.setText(NO_CASE)
            self.saved.setText("")
            return
        self.info.setText(
            f"<b>{escape(view.case.id)}</b><br>{escape(view.text)}{self._flagged()}"
        )
        self._show_saved(view.dirty)
        values = [0, *(item.value for item in self._scheme())]
        self._class_keys.bind(view.layers.ours, values, self.choose_class)
        view.mask.events.selected_label.connect(self._show_class)
        view.mask.events.mode.connect(self._help, position="last")
        self._help()
        self._show_class()
        if view.editing is not None:
            view.editing.recount()

    def _flagged(self) -> str:
        """Flag of the open case in words, as it is now."""
        project, case = self.session.project, self.case_view.case
        if project is None or case is None:
            return ""
        flag = project.case(case.id).record.flag
        if flag is None:
            return ""
        return f"<br>\u2691 Flagged{f': {escape(flag)}' if flag else ''}"

    def _show_class(self, event: object = None) -> None:
        if self.case_view.mask is not None:
            self.classes.select(self.case_view.mask.selected_label)
            self.toolbox.renew()

    def _help(self, event: object = None) -> None:
        """Put our keys where napari tells its own, which our digits replace."""
        self.case_view.viewer.help = HELP

    def _show_counts(self, counts: dict[int, int]) -> None:
        if self.case_view.case is not None:
            voxel_ml = self.case_view.case.geometry.voxel_ml
            self.classes.show_counts(counts, voxel_ml)
        self._show_saved(self.case_view.dirty)

    def _turned(self, event: object = None) -> None:
        self._show_saved(self.case_view.dirty)

    def _show_saved(self, dirty: bool) -> None:
        text = "Edits not saved yet" if dirty else "No unsaved edits"
        editing = self.case_view.editing
        if editing is not None:
            axis = int(self.case_view.viewer.dims.order[0])
            parts = editing.annotated_slices(axis)
            done = int((parts == 1).sum())
            plane = planes.NAMES[axis].lower()
            text += (
                f" \u00b7 annotated {percent(editing.annotated)}, "
                f"{done} of {len(parts)} {plane} slices done"
            )
        self.saved.setText(text)

    def _scheme(self) -> tuple[LabelClass, ...]:
        project = self.session.project
        return () if project is None else project.labels.classes


def _text(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    return label


def _line() -> QFrame:
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    line.setFrameShadow(QFrame.Shadow.Sunken)
    return line
