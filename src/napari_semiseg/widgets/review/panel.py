"""Build the Review tab: paint and correct a mask, accept it, choose the next case."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFrame,
    QSizePolicy,
    QWidget,
)
from superqt.utils import QSignalThrottler

from napari_semiseg.core.text import percent
from napari_semiseg.widgets.canvas.contrast import ContrastRow
from napari_semiseg.widgets.canvas.image_layers import ChannelChoice
from napari_semiseg.widgets.common import planes
from napari_semiseg.widgets.common.actions import FOOTER, Group
from napari_semiseg.widgets.common.background import show_errors
from napari_semiseg.widgets.common.connections import Connections
from napari_semiseg.widgets.common.forms import (
    action_button,
    markup_label,
    stack,
    wrapped_label,
)
from napari_semiseg.widgets.common.keys import bind_keys
from napari_semiseg.widgets.review.action_grid import ActionGrid
from napari_semiseg.widgets.review.queue import QueueBox
from napari_semiseg.widgets.review.shortcut_sheet import Shortcut, ShortcutSheet
from napari_semiseg.widgets.tools.drawing import BrushControls, ClassButtons
from napari_semiseg.widgets.tools.panel import ToolPanel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtGui import QShowEvent

    from napari_semiseg.core.labels import LabelClass
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.common.actions import Action
    from napari_semiseg.widgets.common.session import Session

REFRESH_MS = 200
NO_CASE = "No case is open. Double-click one in the cohort or in the queue below."


MODES = ("paint", "erase", "fill", "pan_zoom")


class ReviewPanel(QWidget):
    """Class buttons, brush, accept, and the queue with reasons.

    Parameters
    ----------
    session : Session
        Project, case and run of the dock.
    case_view : CaseView
        The case that is open.
    actions : mapping of str to Action
        What the buttons and keys do, by id; at least those of `review_actions`.
    parent : QWidget, optional
        Of the panel.

    Signals
    -------
    export_asked()
        The user wants to export masks.
    """

    export_asked = Signal()

    def __init__(
        self,
        session: Session,
        case_view: CaseView,
        actions: Mapping[str, Action[ReviewPanel]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.session = session
        self.case_view = case_view
        self.actions_by_id = actions
        self.info = markup_label(wrapped=True)
        self.saved = wrapped_label()
        self.channels = ChannelChoice(case_view.layers.images, actions["next_image"])
        self.classes = ClassButtons(
            actions["paint_unannotated"], actions["toggle_lock"]
        )
        self.brush = BrushControls(actions[mode] for mode in MODES)
        self.queue_box = QueueBox(session)
        self.queue = self.queue_box.queue
        self.tool_panel = ToolPanel(session, case_view, actions["apply_tool"])
        self.contrast = ContrastRow(
            case_view.model,
            case_view.layers.images,
            actions["next_window"],
            action_button(actions["toggle_surfaces"], self),
        )
        rows = [action for action in actions.values() if action.row]
        self.grid = ActionGrid([it for it in rows if it.row != FOOTER], self)
        self.footer = ActionGrid([it for it in rows if it.row == FOOTER], self)
        self.buttons = self.grid.buttons
        self.buttons["accept_and_next"].setStyleSheet("font-weight: bold")
        self._connections = Connections(self)
        self._mask_connections = Connections(self)
        self._stale = True
        self._later = QSignalThrottler(
            QSignalThrottler.EmissionPolicy.Trailing, parent=self
        )
        self._later.setTimeout(REFRESH_MS)
        self._later.triggered.connect(self._refresh_queue_if_seen)
        self._build()
        self._connect()
        self._show_project()
        self._show_case()

    # -- actions ---------------------------------------------------------------------

    def accept_and_next(self) -> None:
        """Accept the whole volume and open the next case of the queue."""
        accepted = self.case_view.case
        if accepted is not None and self.case_view.accept():
            self._open_following(accepted.id, "Accepted")

    def _open_following(self, done: str, verb: str) -> None:
        """Open the case that follows in the queue."""
        following = self.next_case(done)
        if following is None:
            self.session.say(f"{verb} {done}: it was the last one to review.")
        else:
            self.open_place(following, self.queue.place_of(following))

    def open_next(self) -> None:
        """Open the first case of the queue, or say that there is none."""
        following = self.next_case("")
        if following is None:
            self.session.say("No case to review: all are accepted.")
        else:
            self.open_place(following, self.queue.place_of(following))

    def next_case(self, after: str) -> str | None:
        """Find the case to open next: first of the queue, else one without a label."""
        self.refresh_queue()
        return self.queue_box.next_case(after)

    def refresh_queue(self) -> None:
        """Rank the cases again."""
        self._stale = False
        self.queue_box.refresh()

    def skip(self) -> None:
        """Put the open case at the end of the queue and open the next one."""
        skipped = self.case_view.case
        if skipped is not None and self.queue_box.skip(skipped.id):
            self._open_following(skipped.id, "Skipped")

    def flag(self) -> None:
        """Ask why the open case needs a second look, and note it."""
        if self.case_view.case is not None:
            self.queue_box.ask_flag(self.case_view.case.id)
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
        """Select the value to paint; 0 is background."""
        mask = self.case_view.mask
        if mask is not None:
            mask.selected_label = value
            mask.mode = "paint" if mask.mode == "pan_zoom" else mask.mode

    def lock(self, value: int, locked: bool) -> None:
        """Lock a class against painting and tools, or unlock it."""
        self.case_view.layers.set_locked(value, locked)
        self.classes.show_locked(self.case_view.layers.locked)
        self.tool_panel.cancel()

    def toggle_lock(self) -> None:
        """Lock or unlock the selected class."""
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
        """Keys of the classes and of the actions."""
        names = ["background", *(item.name for item in self._scheme())]
        return [
            *(
                Shortcut(str(digit), f"Paint {name}", Group.PAINT)
                for digit, name in enumerate(names[:10])
            ),
            *(
                Shortcut(action.key, action.text, action.group)
                for action in self.actions_by_id.values()
                if action.key
            ),
        ]

    # -- building --------------------------------------------------------------------

    def _build(self) -> None:
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        line.setFrameShadow(QFrame.Shadow.Sunken)
        layout = stack(
            self,
            self.info,
            self.saved,
            self.channels,
            self.classes,
            self.brush,
            self.contrast,
            self.grid,
            self.tool_panel,
            line,
            self.queue_box,
            self.footer,
            stretched=self.queue_box,
            margin=6,
        )
        layout.setSpacing(6)

    def _connect(self) -> None:
        session, view, connections = self.session, self.case_view, self._connections
        connections.add(self._show_project, session.project_changed)
        connections.add(
            self._queue_is_stale, session.cases_changed, session.runs_changed
        )
        connections.add(self._show_case, view.model.shown)
        connections.add(self._show_counts, view.model.counted)
        connections.add(
            self._show_saved, view.model.dirtied, view.viewer.dims.events.order
        )
        self.classes.chosen.connect(self.choose_class)
        self.classes.lock_asked.connect(self.lock)
        self.queue.asked.connect(self.open_place)
        keys = {
            action.key: partial(action.run, self)
            for action in self.actions_by_id.values()
            if action.key
        }
        connections.at_close(bind_keys(view.viewer, keys))
        connections.at_close(self._later.cancel)

    # -- showing ---------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        """Bring the queue up to date when the tab is looked at."""
        super().showEvent(event)
        if self._stale:
            self._later.throttle()

    def _queue_is_stale(self, _: object = None) -> None:
        self._stale = True
        self._later.throttle()

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
        self._mask_connections.close()
        self.channels.refresh()
        self.brush.follow(view.mask)
        for part in (self.classes, self.contrast, self.tool_panel):
            part.setEnabled(view.mask is not None)
        self.grid.show_case(is_open=view.mask is not None)
        self.classes.show_locked(view.layers.locked)
        if view.case is None or view.mask is None or view.image is None:
            self.info.setText(NO_CASE)
            self.saved.setText("")
            return
        self.info.setText(
            f"<b>{escape(view.case.id)}</b><br>{escape(view.text)}{self._flagged()}"
        )
        self._show_saved()
        values = [0, *(item.value for item in self._scheme())]
        digits = {
            str(digit): partial(self.choose_class, value)
            for digit, value in enumerate(values[:10])
        }
        for layer in view.layers.all:  # in place of napari's digits for its tools
            self._mask_connections.at_close(bind_keys(layer, digits))
        self._mask_connections.add(self._show_class, view.mask.events.selected_label)
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
            self.tool_panel.refresh()

    def _help(self, event: object = None) -> None:
        """Show the keys of the panel where napari shows its own."""
        named = [self.actions_by_id[name] for name in (*MODES[:3], "mark_slice_done")]
        keys = [f"{action.key} {action.button.lower()}" for action in named]
        self.case_view.viewer.help = ", ".join(
            ["0-9 class", *keys, "[ ] brush", "Ctrl+Z undo"]
        )

    def _show_counts(self, counts: dict[int, int]) -> None:
        if self.case_view.case is not None:
            voxel_ml = self.case_view.case.geometry.voxel_ml
            self.classes.show_counts(counts, voxel_ml)
        self._show_saved()

    def _show_saved(self, _: object = None) -> None:
        text = "Edits not saved yet" if self.case_view.dirty else "No unsaved edits"
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
