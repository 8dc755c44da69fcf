"""Act on several cases: the verbs, their menu, and the bar below the table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QMenu, QSizePolicy, QWidget

from napari_semiseg.core.case import CaseState
from napari_semiseg.core.text import count
from napari_semiseg.project.review.accept import reopen
from napari_semiseg.project.review.undo import undo
from napari_semiseg.widgets.cohort.model import SPLIT_TITLES
from napari_semiseg.widgets.common.background import in_background, show_errors
from napari_semiseg.widgets.common.flagging import ask_flag
from napari_semiseg.widgets.elements.buttons import KeyButton
from napari_semiseg.widgets.elements.forms import ElidedLabel, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtGui import QResizeEvent

    from napari_semiseg.core.case import Split
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.accept import ReopenReport
    from napari_semiseg.widgets.common.session import Session

HEIGHT, NARROW, MOST = 36, 32, 120
"""Pixels: of the bar, of a button with its icon, and the most that the words keep."""
NAMED_FROM = 520
"""Pixels across from which the buttons are named."""
TO_PROPOSE = frozenset({CaseState.UNLABELLED, CaseState.PROPOSED, CaseState.PARTIAL})


class CaseVerbs(QObject):
    """What can be done to several cases.

    Signals
    -------
    look_requested(list of str), propose_requested(list of str),
    export_requested(list of str)
        Cases to look at side by side, to predict, and to export.
    """

    look_requested = Signal(object)
    propose_requested = Signal(object)
    export_requested = Signal(object)

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._window = parent

    def fill(self, menu: QMenu, ids: Sequence[str]) -> None:
        """Fill a menu with what can be done to some cases."""
        menu.clear()
        cases = [case for case in self._session.cases() if case.id in set(ids)]
        for verb in VERBS:
            if any(map(verb.applies, cases)):
                action = menu.addAction(verb.text)
                action.triggered.connect(partial(self.run, verb, ids))
        self.fill_uses(menu.addMenu("Use for"), ids)

    def fill_uses(self, menu: QMenu, ids: Sequence[str]) -> None:
        """Fill a menu with what cases may be used for; that of all is checked."""
        menu.clear()
        splits = {case.split for case in self._session.cases() if case.id in set(ids)}
        for split, title in SPLIT_TITLES.items():
            action = menu.addAction(title)
            action.triggered.connect(lambda *_, split=split: self.set_split(ids, split))
            action.setCheckable(True)
            action.setChecked(splits == {split})

    def run(self, verb: Verb, ids: Sequence[str], *_: object) -> None:
        """Do it to those of the cases that it can be done to."""
        requested = set(ids)
        cases = [case for case in self._session.cases() if case.id in requested]
        able = {case.id for case in cases if verb.applies(case)}
        chosen = [name for name in ids if name in able]
        if chosen:
            verb.run(self, chosen)
        else:
            self._session.say(f"{verb.text}: none of these cases {verb.lacks}.")

    def flag(self, ids: Sequence[str]) -> None:
        """Ask why cases need a second look, or take their flags away."""
        project = self._session.project
        if project is not None:
            with show_errors(self._session):
                if ask_flag(self._window, project, ids):
                    self._session.cases_changed.emit(set(ids))

    def set_split(self, ids: Sequence[str], split: Split) -> None:
        """Set what cases may be used for, and offer to take that back."""
        before = {case.id: case.split for case in self._session.cases()}
        done = self._change(ids, lambda project, key: project.set_split(key, split))
        self._offer(
            f"{count(len(done), 'case')} for {SPLIT_TITLES[split].partition(' ')[0]}",
            done,
            lambda project, key: project.set_split(key, before[key]),
        )

    def set_excluded(self, ids: Sequence[str], excluded: bool) -> None:
        """Leave cases out of training and prediction, or take them in again."""
        done = self._change(
            ids, lambda project, key: project.set_excluded(key, excluded)
        )
        self._offer(
            f"{'Excluded' if excluded else 'Included'} {count(len(done), 'case')}",
            done,
            lambda project, key: project.set_excluded(key, not excluded),
        )

    def reopen(self, ids: Sequence[str]) -> None:
        """Take labels back, which are kept, and offer to undo that."""
        session, project = self._session, self._session.project
        if project is None or (session.case_id in ids and not session.leave()):
            return

        def reopened(report: ReopenReport) -> None:
            self._announce(report.reopened, reload=True)
            text = f"Reopened {count(len(report.reopened), 'case')}"
            self._offer(text, report.reopened, undo, reload=True)

        in_background(session, "Reopening", lambda: reopen(project, ids), reopened)

    def _change(
        self,
        ids: Sequence[str],
        change: Callable[[Project, str], object],
        *,
        reload: bool = False,
    ) -> list[str]:
        """Change cases until one cannot be, which is told; gives those changed."""
        project, done = self._session.project, []
        if project is not None:
            with show_errors(self._session):
                for key in ids:
                    change(project, key)
                    done.append(key)
            self._announce(ids, reload=reload)
        return done

    def _announce(self, ids: Sequence[str], *, reload: bool) -> None:
        """Have cases read again, and the open one shown again."""
        session = self._session
        session.cases_changed.emit(set(ids))
        if reload and session.case_id in ids:
            session.case_requested.emit(str(session.case_id))

    def _offer(
        self,
        text: str,
        ids: Sequence[str],
        back: Callable[[Project, str], object],
        *,
        reload: bool = False,
    ) -> None:
        if ids:
            take_back = partial(self._change, ids, back, reload=reload)
            self._session.offer(text, "Undo", take_back)


@dataclass(frozen=True, slots=True)
class Verb:
    """Something that is done to several cases.

    Attributes
    ----------
    text, icon : str
        Of the menu entry, and of the button.
    tip : str
        What happens.
    lacks : str
        Why it can be done to none of the cases, behind "none of these cases".
    applies : callable
        Whether it can be done to a case.
    run : callable
        Does it.
    button : bool
        Whether it has a button of its own.
    """

    text: str
    icon: str
    tip: str
    lacks: str
    applies: Callable[[Case], bool]
    run: Callable[[CaseVerbs, list[str]], object]
    button: bool = False


VERBS = (
    Verb(
        "Look and accept\u2026",
        "view_grid_outline",
        "See these predictions side by side, and accept many",
        "is proposed",
        lambda case: case.state is CaseState.PROPOSED,
        lambda verbs, ids: verbs.look_requested.emit(ids),
        button=True,
    ),
    Verb(
        "Propose",
        "creation",
        "Propose masks for these cases, with the model in use",
        "can have a proposal",
        lambda case: case.state in TO_PROPOSE,
        lambda verbs, ids: verbs.propose_requested.emit(ids),
        button=True,
    ),
    Verb(
        "Flag\u2026",
        "flag_outline",
        "Mark these cases for a second look, or take their flags away",
        "can be flagged",
        lambda _: True,
        lambda verbs, ids: verbs.flag(ids),
        button=True,
    ),
    Verb(
        "Reopen",
        "lock_open_variant_outline",
        "Take the labels back; they are kept with the earlier masks",
        "has a label",
        lambda case: case.has_label,
        lambda verbs, ids: verbs.reopen(ids),
    ),
    Verb(
        "Export masks\u2026",
        "export",
        "Write the masks of these cases to a folder",
        "is included",
        lambda case: case.state is not CaseState.EXCLUDED,
        lambda verbs, ids: verbs.export_requested.emit(ids),
    ),
    Verb(
        "Exclude",
        "cancel",
        "Leave these cases out of training and prediction",
        "is included",
        lambda case: case.state is not CaseState.EXCLUDED,
        lambda verbs, ids: verbs.set_excluded(ids, True),
    ),
    Verb(
        "Include again",
        "check",
        "Use these cases again",
        "is excluded",
        lambda case: case.state is CaseState.EXCLUDED,
        lambda verbs, ids: verbs.set_excluded(ids, False),
    ),
)


class BulkBar(QWidget):
    """How many cases are ticked, and what can be done to them.

    Parameters
    ----------
    verbs : CaseVerbs
        What there is.
    ticked : callable
        Ids of the ticked cases.
    """

    def __init__(self, verbs: CaseVerbs, ticked: Callable[[], list[str]]) -> None:
        super().__init__()
        self._verbs, self._ticked = verbs, ticked
        self.text = ElidedLabel("secondary")
        self.buttons = {verb.text: self._button(verb) for verb in VERBS if verb.button}
        self.use = KeyButton("Use for \u25be", "", "check_all")
        self.use.setToolTip("Training, check or test")
        self.more = KeyButton("More", "", "dots_vertical")
        self.more.setToolTip("Reopen, export, exclude")
        for button, fill in ((self.use, verbs.fill_uses), (self.more, verbs.fill)):
            menu = QMenu(button)
            menu.aboutToShow.connect(lambda menu=menu, fill=fill: fill(menu, ticked()))
            button.setMenu(menu)
        self._named = (*self.buttons.values(), self.use)
        for button in (*self._named, self.more):
            button.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.more.setMaximumWidth(NARROW)
        row = row_of(self.text, *self._named, self.more)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        self.setLayout(row)
        self.setFixedHeight(HEIGHT)

    def _button(self, verb: Verb) -> KeyButton:
        button = KeyButton(verb.text, "", verb.icon)
        button.setToolTip(verb.tip)
        button.clicked.connect(lambda *_: self._verbs.run(verb, self._ticked()))
        return button

    def show_counts(self, words: str, ticked: int) -> None:
        """Show a sentence on the cohort, and while some are ticked the buttons."""
        self.text.setText(words)
        room = self.text.fontMetrics().horizontalAdvance(words) + 4
        self.text.setMinimumWidth(min(room, MOST) if ticked else 0)
        for button in (*self._named, self.more):
            button.setVisible(ticked > 0)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Name the buttons where there is room; else their icons are enough."""
        super().resizeEvent(event)
        widest = self.width() if self.width() >= NAMED_FROM else NARROW
        for button in self._named:
            button.setMaximumWidth(widest)
