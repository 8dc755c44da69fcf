"""Build the Review tab: paint and correct a mask, accept it, choose the next case."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from time import monotonic
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QBoxLayout, QHBoxLayout, QMenu, QPushButton, QWidget
from superqt.utils import QSignalThrottler

from napari_semiseg.core.case import CaseState
from napari_semiseg.core.text import count, percent
from napari_semiseg.widgets.common import planes
from napari_semiseg.widgets.common.background import show_errors
from napari_semiseg.widgets.common.keys import (
    bind_keys,
    keys_of_napari,
    with_chosen_keys,
)
from napari_semiseg.widgets.common.next_step import Do, NextStep
from napari_semiseg.widgets.common.preferences import watch
from napari_semiseg.widgets.common.scrolling import VerticalScroll
from napari_semiseg.widgets.elements.actions import Group, short
from napari_semiseg.widgets.elements.buttons import action_button, show_actions
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    ElidedLabel,
    plain,
    push_button,
    row_of,
    stack,
)
from napari_semiseg.widgets.elements.style import look, set_icon
from napari_semiseg.widgets.review.case_card import CaseCard
from napari_semiseg.widgets.review.queue import QueueBox
from napari_semiseg.widgets.review.shortcut_sheet import ShortcutSheet
from napari_semiseg.widgets.review.view_bar import ACTIONS as IN_BAR
from napari_semiseg.widgets.review.view_bar import ViewBar
from napari_semiseg.widgets.tools.drawing import BrushControls, ClassButtons
from napari_semiseg.widgets.tools.operations import INTERPOLATE, REFINE
from napari_semiseg.widgets.tools.panel import ToolPanel
from napari_semiseg.widgets.tools.prompting import PROMPT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qtpy.QtGui import QAction, QResizeEvent, QShowEvent

    from napari_semiseg.core.labels import LabelClass
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.common.session import Session
    from napari_semiseg.widgets.elements.actions import Action

REFRESH_MS = 200
TWO_COLUMNS = 720
"""Pixels across from which the queue stands beside the tools."""
NARROW = 330
"""Pixels across below which there is no room for long words."""
AGAIN_S = 0.6
"""A second press of *Accept & next* within this is not meant."""
MODES = ("paint", "erase", "fill", "pan_zoom")
ELSEWHERE = frozenset({*MODES, *IN_BAR, "apply_tool", "prompt", "use_prediction"})
"""Actions whose buttons stand beside what they are about."""


class ReviewPanel(QWidget):
    """The case in hand; structures and tools; accept. And the queue with reasons.

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
    step_changed()
        Something else is the next sensible step now.
    """

    export_asked = Signal()
    step_changed = Signal()

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
        self._actions = actions
        others = keys_of_napari(case_view.viewer)
        self.actions_by_id, self.refused = with_chosen_keys(actions, others)
        actions = self.actions_by_id
        self.saved = ElidedLabel("secondary")
        self.saved.setElideMode(Qt.TextElideMode.ElideRight)
        tip = "Undo stroke (Ctrl+Z)\nTakes the last change of the mask back."
        self.undo_link = look(push_button("Undo stroke", self.undo, tip), "link")
        self.undo_link.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.undo_link.hide()
        self.state_line = QWidget()
        state = row_of(self.saved, self.undo_link)
        state.setContentsMargins(0, 0, 0, 0)
        self.state_line.setLayout(state)
        self.classes = ClassButtons(actions)
        self.brush = BrushControls(actions[mode] for mode in MODES)
        self.queue_box = QueueBox(session)
        self.queue = self.queue_box.queue
        self.tool_panel = ToolPanel(session, case_view, actions, self)
        self.view_bar = ViewBar(case_view, actions, self)
        self.menu = QMenu(self)
        self.card = CaseCard(case_view, actions, self, self.menu)
        self.buttons: dict[str, QPushButton] = dict(self.card.buttons)
        for name in ("accept", "accept_and_next"):
            self.buttons[name] = action_button(actions[name], self)
        self.menu_actions = self._fill_menu()
        self._accepted_at = -AGAIN_S
        self._connections = Connections(self)
        self._mask_connections = Connections(self)
        self._bound = Connections(self)
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
        if monotonic() - self._accepted_at < AGAIN_S:
            return
        view, accepted = self.case_view, self.case_view.case
        if accepted is None or not view.accept(stay=False):
            return
        self._open_following(accepted.id)  # whose mask replaces this one
        if view.case is not None and view.case.id == accepted.id:
            view.show_accepted()
        self._accepted_at = monotonic()

    def _open_following(self, done: str) -> None:
        """Open the case that follows in the queue."""
        following = self.next_case(done)
        if following is None:
            self.session.say(f"{done} was the last one to review.")
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

    def place_of(self, case_id: str) -> tuple[int, int] | None:
        """Slice that the queue names for a case: axis and index."""
        if self._stale:
            self.refresh_queue()
        return self.queue.place_of(case_id)

    def refresh_queue(self) -> None:
        """Rank the cases again."""
        self._stale = False
        self.queue_box.refresh()

    def skip(self) -> None:
        """Put the open case at the end of the queue and open the next one."""
        skipped = self.case_view.case
        if skipped is not None and self.queue_box.skip(skipped.id):
            self._open_following(skipped.id)

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

    def next_step(self) -> NextStep | None:
        """Name the next sensible step in the open case; None without one."""
        view, tool = self.case_view, self.tool_panel.tool
        if view.case is None or view.editing is None:
            return None
        if view.case.state is CaseState.LABELLED and not view.dirty:
            return None
        if tool is not None:
            words = f"apply or close: {tool.title.lower()}"
            if tool.id == PROMPT:
                words = "mark it, then keep the proposal"
            return NextStep(Do.APPLY, words, elsewhere=True)
        axis, doubt = int(view.viewer.dims.order[0]), view.next_doubt()
        worst = view.model.doubtful_slices(axis)
        done = int((view.editing.annotated_slices(axis) == 1).sum())
        if done and self.tool_panel.refines:
            words = f"refine from {count(done, 'done slice')}"
            key = self.actions_by_id[REFINE.id].key
            return NextStep(Do.REFINE, words, key=key)
        new = doubt is not None and not view.editing.was_seen(axis, doubt.index)
        if doubt is not None and doubt.axis == axis and new:
            words = f"slice {doubt.index + 1}, doubtful"
            key = self.actions_by_id["next_worst_slice"].key
            return NextStep(Do.SLICE, words, key=key)
        if worst:
            seen = (
                f"all {len(worst)} doubtful slices" if worst[1:] else "doubtful slice"
            )
            words = f"accept, {seen} seen"
        elif view.editing.annotated == 1 or view.prediction is not None:
            words = "accept the case"
        elif done < 2:
            words = "paint a slice, then Slice done"
            return NextStep(Do.PAINT, words, elsewhere=True)
        else:
            key = self.actions_by_id[INTERPOLATE.id].key
            return NextStep(Do.FILL, f"fill between {done} done slices", key=key)
        return NextStep(Do.ACCEPT, words, elsewhere=True)

    def refine(self) -> None:
        """Let the prediction follow what is corrected."""
        self.tool_panel.choose(REFINE.id)

    def fill_between(self) -> None:
        """Choose the tool that fills in between done slices."""
        self.tool_panel.choose(INTERPOLATE.id)

    def undo(self) -> None:
        """Take the last change of the mask back."""
        if self.case_view.mask is not None:
            self.case_view.mask.undo()

    def escape(self) -> None:
        """Put the tool away; without one, pan."""
        if self.tool_panel.tool is None:
            self.brush.set_mode("pan_zoom")
        else:
            self.tool_panel.cancel()

    def show_shortcuts(self) -> None:
        """Show the list of keys."""
        dialog = self.shortcut_sheet()
        dialog.exec()
        dialog.deleteLater()

    def shortcut_sheet(self) -> ShortcutSheet:
        """Make the list of keys, of the classes and of the actions."""
        return ShortcutSheet(
            self.actions_by_id,
            ["background", *(item.name for item in self._scheme())],
            keys_of_napari(self.case_view.viewer),
            self.take_keys,
            self.refused,
            self,
        )

    def take_keys(self, _: object = None) -> None:
        """Use the keys that are chosen now, and show them."""
        others = keys_of_napari(self.case_view.viewer)
        found, self.refused = with_chosen_keys(self._actions, others)
        if found != self.actions_by_id:
            self.actions_by_id.update(found)
            self._bind_keys()
            for root in (self, self.finish, self.view_bar):
                show_actions(root, found)
            for name, entry in self.menu_actions.items():
                entry.setText(_entry(found[name]))
            self._show_project()
            self._show_case()
        for line in self.refused:
            self.session.say(line)

    def _bind_keys(self) -> None:
        self._bound.close()
        self._bound.at_close(bind_keys(self.case_view.viewer, self._keys()))

    def _keys(self) -> dict[str, Callable[[], object]]:
        return {
            action.key: partial(action.run, self)
            for action in self.actions_by_id.values()
            if action.key
        }

    # -- building --------------------------------------------------------------------

    def _fill_menu(self) -> dict[str, QAction]:
        """List what has no button of its own, and give the entries by id."""
        found: dict[str, QAction] = {}
        rest = [
            action
            for action in self.actions_by_id.values()
            if action.button
            and action.id not in self.buttons
            and action.id not in ELSEWHERE
        ]
        for group in Group:
            for action in (one for one in rest if one.group == group):
                entry = self.menu.addAction(_entry(action))
                entry.setToolTip(plain(action.text))
                entry.triggered.connect(lambda *_, one=action: one.run(self))
                found[action.id] = entry
            self.menu.addSeparator()
        return found

    def _build(self) -> None:
        self.body = QWidget()
        self.work, case, tools = QWidget(), QWidget(), QWidget()
        stack(case, self.card, self.classes, margin=0).setSpacing(8)
        stack(tools, self.brush, self.tool_panel, margin=0).setSpacing(8)
        work = stack(self.work, case, tools, margin=0)
        work.setSpacing(8)
        layout = stack(
            self.body, self.work, self.queue_box, stretched=self.queue_box, margin=0
        )
        layout.setSpacing(8)
        layout.setContentsMargins(0, 8, 0, 4)
        layout.addStretch(0)
        self._columns = (layout, work)
        self.finish = look(QWidget(), "footer")
        row = QHBoxLayout(self.finish)
        row.setContentsMargins(0, 4, 0, 4)
        row.setSpacing(6)
        partly = look(QPushButton(), "quiet")
        set_icon(partly, "chevron_down", 16)
        if partly.icon().isNull():
            partly.setText("\u25be")
        partly.setFixedWidth(28)
        partly.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        partly.setToolTip("Accept only what is painted, or undo an accept")
        partly.setAccessibleName("Other ways to accept")
        ways = QMenu(partly)
        for name in ("accept_painted", "undo_accept"):
            ways.addAction(self.menu_actions[name])
        partly.setMenu(ways)
        together = row_of(self.buttons["accept"], partly)
        together.setSpacing(2)
        row.addLayout(together, 2)
        row.addWidget(self.buttons["accept_and_next"], 3)
        self.scroll_area = VerticalScroll(self.body)
        self.body.installEventFilter(self)
        column = stack(
            self,
            self.scroll_area,
            self.finish,
            stretched=self.scroll_area,
            margin=0,
        )
        column.setSpacing(0)

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
        self.tool_panel.opened.connect(self.queue_box.setHidden)
        self.tool_panel.opened.connect(self._show_step)
        self.tool_panel.opened.connect(self._show_tool_frame)
        dims = view.viewer.dims.events
        connections.add(self._show_step, dims.point, view.model.counted)
        self._bind_keys()
        watch("keys", self.take_keys, connections)
        connections.at_close(self._later.cancel)
        connections.at_close(self.view_bar.remove)

    # -- showing ---------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put the queue beside the tools where the panel is wide and low."""
        super().resizeEvent(event)
        self._lay_out()

    def _lay_out(self) -> None:
        wide = self.width() >= TWO_COLUMNS
        narrow = self.width() < NARROW
        self.undo_link.setText("Undo" if narrow else "Undo stroke")
        ways, sides = QBoxLayout.Direction, Qt.AlignmentFlag
        for layout in self._columns:
            layout.setDirection(ways.LeftToRight if wide else ways.TopToBottom)
            for place in range(2):
                part = layout.itemAt(place)
                if part is not None and part.widget() is not self.queue_box:
                    layout.setStretch(place, 2 * wide)
                    part.setAlignment(sides.AlignTop if wide else sides(0))
        # Where the queue has gone, nothing of what stood above it moves.
        below = not wide and self.queue_box.isHidden()
        self._columns[0].setStretch(2, int(below))

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
        order = [self.card.buttons["mark_slice_done"], *self.classes.in_order()]
        for before, behind in pairwise(order):
            QWidget.setTabOrder(before, behind)
        self._queue_is_stale()

    def _show_case(self) -> None:
        view = self.case_view
        self._mask_connections.close()
        self.brush.follow(view.mask)
        is_open = view.mask is not None
        self.work.setVisible(is_open)
        self.finish.setVisible(is_open)
        for action in self.actions_by_id.values():
            shown = self.buttons.get(action.id) or self.menu_actions.get(action.id)
            if shown is not None:
                shown.setEnabled(is_open or not action.needs_case)
        self.view_bar.show_case()
        self.classes.show_locked(view.layers.locked)
        self.queue_box.show_open(None if view.case is None else view.case.id)
        if view.case is None or view.mask is None or view.image is None:
            self.saved.setText("")
            self.undo_link.hide()
            self._show_step()
            return
        self.card.show_case(self._flag(), *self._quality())
        self._show_saved()
        values = [0, *(item.value for item in self._scheme())]
        digits = {
            str(digit): partial(self.choose_class, value)
            for digit, value in enumerate(values[:10])
        }
        for layer in view.layers.all:  # in place of napari's own, such as X and Esc
            self._mask_connections.at_close(bind_keys(layer, self._keys() | digits))
        self._mask_connections.add(self._show_class, view.mask.events.selected_label)
        view.mask.events.mode.connect(self._help, position="last")
        self._help()
        self._show_class()
        if view.editing is not None:
            view.editing.recount()

    def _quality(self) -> tuple[str, str]:
        """Estimated Dice of the prediction of the open case, and more words on it."""
        prediction, estimator = self.case_view.prediction, self.session.estimator()
        if prediction is None:
            return "", ""
        estimate = estimator.estimate(prediction.record)
        short_words = "no estimate" if estimate is None else str(estimate)
        return short_words, estimator.words(prediction.record)

    def _flag(self) -> str | None:
        """Flag of the open case, as it is now."""
        project, case = self.session.project, self.case_view.case
        if project is None or case is None:
            return None
        return project.case(case.id).record.flag

    def _show_step(self, _: object = None) -> None:
        """Make the button of the next step blue, if it is one of this tab."""
        step = self.next_step()
        for name, do in (
            ("mark_slice_done", Do.PAINT),
            ("accept_and_next", Do.ACCEPT),
        ):
            blue = step is not None and step.do is do
            look(self.buttons[name], "primary" if blue else "quiet")
        self.step_changed.emit()

    def _show_tool_frame(self, opened: bool) -> None:
        """Bring the buttons of a tool into view."""
        self._lay_out()
        if opened:
            QTimer.singleShot(0, self._show_buttons)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep the buttons of a tool in view while what is above them is laid out."""
        if event.type() == QEvent.Type.Resize:
            QTimer.singleShot(0, self._show_buttons)
        return False

    def _show_buttons(self) -> None:
        frame = self.tool_panel.tool_frame
        if frame.isVisible():
            self.scroll_area.ensureWidgetVisible(frame)

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
        current = self.case_view.model.current
        if current is not None:
            proposed = current.editing.proposed_counts()
            self.classes.show_counts(counts, proposed, current.case.geometry.voxel_ml)
        self._show_saved()

    def _show_saved(self, _: object = None) -> None:
        text = "Edits not saved yet" if self.case_view.dirty else "All saved"
        editing, more = self.case_view.editing, ""
        mask = self.case_view.mask
        self.undo_link.setVisible(mask is not None and mask.can_undo)
        if editing is not None:
            axis = int(self.case_view.viewer.dims.order[0])
            parts = editing.annotated_slices(axis)
            done = int((parts == 1).sum())
            plane = planes.NAMES[axis].lower()
            text += f" \u00b7 {done} of {len(parts)} {plane} slices done"
            more = f" \u00b7 annotated {percent(editing.annotated)}"
        self.saved.setText(text)
        self.saved.setToolTip(text + more)

    def _scheme(self) -> tuple[LabelClass, ...]:
        project = self.session.project
        return () if project is None else project.labels.classes


def _entry(action: Action[ReviewPanel]) -> str:
    """Text of an action in a menu, with its key."""
    return f"{action.button}\t{short(action.key)}" if action.key else action.button
