"""Share the open project, case and run between the parts of one dock."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.text import count
from napari_semiseg.errors import SemisegError
from napari_semiseg.io.atomic import PATIENCE_S
from napari_semiseg.project.cases.history import Labelled
from napari_semiseg.project.project import Project
from napari_semiseg.project.review.corrections import corrections, plateau
from napari_semiseg.project.review.quality_estimate import Estimate, Estimator
from napari_semiseg.widgets.common.next_step import Do, NextStep
from napari_semiseg.widgets.elements.connections import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.review.corrections import Correction
    from napari_semiseg.project.runs.run import Run

HUMAN = frozenset({CaseState.LABELLED, CaseState.PARTIAL})
"""States of a case that carries an accepted human label."""
NEW_LABELS = 4
"""So many labels that no training has begun with are worth another one."""
WAITING = frozenset({CaseState.UNLABELLED, CaseState.PROPOSED})
"""States of a case that nobody has worked on."""

WINDOW_PATIENCE_S = 0.5
"""Longest wait of the window's thread for another program that changes a case, s."""


class Session:
    """State shared by the widgets of one dock; the project folder is the truth.

    Attributes
    ----------
    project : Project or None
        The open project.
    case_id : str or None
        The case whose layers are open.
    run_id : str or None
        The run whose predictions are shown; None follows the newest.
    may_leave : list of callables
        Asked before another case or project is opened or the window closes; one
        that returns False keeps everything as it is.
    closed : bool
        The dock is gone, and its widgets with it.

    Signals
    -------
    project_changed()
        A project was opened, created or closed.
    cases_changed(set of str or None)
        These cases, or all, must be read again.
    case_requested(str)
        Somebody asks for this case to be opened.
    case_opened(str or None)
        The layers of this case exist now.
    runs_changed()
        A run began, ended or got predictions, or another run is shown.
    queue_changed(list of str)
        The review queue holds these cases now, first things first.
    status_changed(str)
        A new text for the status line.
    offered(str, str, callable)
        Something was done that can be taken back: what, the name of the button that
        does it, and what that calls.
    """

    project_changed = Signal()
    cases_changed = Signal(object)
    case_requested = Signal(str)
    case_opened = Signal(object)
    runs_changed = Signal()
    queue_changed = Signal(object)
    status_changed = Signal(str)
    offered = Signal(str, str, object)

    def __init__(self) -> None:
        PATIENCE_S.set(WINDOW_PATIENCE_S)
        self.project: Project | None = None
        self.case_id: str | None = None
        self.run_id: str | None = None
        self.may_leave: list[Callable[[], bool]] = []
        self.closed = False
        self._cases: dict[str, Case] | None = None
        self._problems: dict[str, str] = {}
        self.project_changed.connect(self._forget)
        self.cases_changed.connect(self._reread)
        self.runs_changed.connect(self._forget)

    def leave(self) -> bool:
        """Ask whether what is open may be left; False when somebody objects."""
        return all(agrees() for agrees in self.may_leave)

    def open_project(self, path: Path | str) -> bool:
        """Open a project folder.

        Returns
        -------
        bool
            False when unsaved work of the project open now keeps it open.

        Raises
        ------
        ProjectError
            The folder is no project.
        """
        return self._replace(lambda: Project.open(path))

    def create_project(
        self,
        path: Path | str,
        labels: LabelScheme | dict[str, int] | list[str],
        name: str | None = None,
    ) -> bool:
        """Create a project folder and open it; as `open_project` otherwise."""
        return self._replace(lambda: Project.create(path, labels, name=name))

    def close_project(self) -> bool:
        """Close the project; False when unsaved work keeps it open."""
        return self._replace(lambda: None)

    def _replace(self, make: Callable[[], Project | None]) -> bool:
        if not self.leave():
            return False
        self.project, self.case_id, self.run_id = make(), None, None
        self.case_opened.emit(None)
        self.project_changed.emit()
        return True

    def cases(self) -> tuple[Case, ...]:
        """Cases of the open project by id, read once until something changes."""
        if self.project is None:
            return ()
        if self._cases is None:
            self._problems.clear()
            cases = self.project.cases(problems=self._problems)
            self._cases = {case.id: case for case in cases}
        return tuple(self._cases.values())

    def corrections(self) -> list[Correction]:
        """Every acceptance in the open project, oldest first."""
        return corrections(self.cases())

    def plateau(self) -> str | None:
        """Report that predictions need hardly any correction; None before that."""
        level = plateau(self.corrections())
        left = [case.state for case in self.cases() if case.state in WAITING]
        if level is None or not left:
            return None
        if CaseState.UNLABELLED in left:
            return f"{level}: predict the rest?"
        return f"{level}: accept the rest together?"

    def estimates(self, ids: Iterable[str]) -> dict[str, Estimate]:
        """Estimated Dice of the newest predictions of some cases, where known."""
        return self.estimator().newest(self.project, ids) if self.project else {}

    def estimator(self) -> Estimator:
        """Estimator of the quality of predictions in the open project."""
        return Estimator(self.corrections())

    def _forget(self) -> None:
        self._cases = None

    def _reread(self, ids: Collection[str] | None) -> None:
        known, self._cases = self._cases, None  # read anew, unless a few are enough
        if self.project is None or known is None or ids is None:
            return
        if set(ids) <= known.keys():
            with suppress(SemisegError, OSError):  # deleted or damaged meanwhile
                self._cases = known | {key: self.project.case(key) for key in ids}

    def show_run(self, run_id: str | None) -> None:
        """Choose the run whose predictions are shown; None follows the newest."""
        if run_id != self.run_id:
            self.run_id = run_id
            self.runs_changed.emit()

    def run_of(self, case: Case) -> Run | None:
        """Run whose prediction of a case is shown: the chosen one, else the newest."""
        if self.project is None:
            return None
        if self.run_id is not None:
            chosen = self.project.run(self.run_id)
            if chosen.has_prediction(case.id):
                return chosen
        return self.project.prediction_run(case.id)

    def say(self, text: str) -> None:
        """Show a text in the status line."""
        self.status_changed.emit(text)

    def offer(self, text: str, button: str, undo: Callable[[], object]) -> None:
        """Say what was done, with a button that takes it back."""
        self.offered.emit(text, button, undo)

    def next_step(self) -> NextStep:
        """Name the next sensible step in the project."""
        if self.project is None:
            return NextStep(Do.CREATE, "create or open a project")
        cases = [case for case in self.cases() if case.state is not CaseState.EXCLUDED]
        if self._problems:
            names = ", ".join(sorted(self._problems)[:3])
            broken = count(len(self._problems), "case")
            return NextStep(Do.CHECK, f"check {broken} that cannot be read ({names})")
        if not cases:
            return NextStep(Do.ADD, "add images, or drop them here")
        if self.plateau() is not None:
            left = [case for case in cases if case.state in WAITING]
            if any(case.state is CaseState.UNLABELLED for case in left):
                return NextStep(Do.PREDICT, "propose masks for the rest")
            last = f"the last {len(left)}" if len(left) > 1 else "the last one"
            return NextStep(Do.SEVERAL, f"look at {last} side by side")
        return _next_in_cohort(cases, self._newest_training(), self._training())

    def _newest_training(self) -> float | None:
        """When the newest training began, Unix time; None before the first."""
        latest = None if self.project is None else self.project.latest_run()
        return None if latest is None else latest.created

    def _training(self) -> bool:
        latest = None if self.project is None else self.project.latest_run()
        return latest is not None and latest.is_under_way


def _next_in_cohort(
    cases: Sequence[Case], trained: float | None, training: bool
) -> NextStep:
    """Name the next step; ``trained`` is when the newest training began."""
    usable = [case for case in cases if case.split is not Split.TEST]
    drafts = [case.id for case in usable if case.has_draft]
    states = [case.state for case in usable]
    labelled = [c for c in usable if c.split is Split.TRAIN and c.state in HUMAN]
    proposed = states.count(CaseState.PROPOSED)
    last = ((case, case.record.last(Labelled)) for case in labelled)
    new = sum(entry is not None and entry.at > (trained or 0) for _, entry in last)
    if drafts:
        return NextStep(Do.FINISH, f"finish {drafts[0]}, not accepted yet", drafts[0])
    to_mark = case_to_mark(usable)
    if not labelled and to_mark is None:
        return NextStep(Do.ADD, "add scans for training")
    if not labelled:
        return NextStep(Do.LABEL, "label a first scan, slice by slice", to_mark)
    if trained is None or (new >= NEW_LABELS and not training):
        labels = f"{count(new, 'label')} {'is' if new == 1 else 'are'} new"
        return NextStep(Do.TRAIN, f"train, {labels}")
    if proposed:
        return NextStep(Do.REVIEW, f"start with the worst of {proposed}")
    if CaseState.UNLABELLED in states:
        if training:
            case_id = to_mark or usable[states.index(CaseState.UNLABELLED)].id
            return NextStep(Do.LABEL, "label another scan meanwhile", case_id)
        return NextStep(Do.PREDICT, "propose masks for the rest")
    return NextStep(Do.EXPORT, "export the masks")


def case_to_mark(cases: Iterable[Case]) -> str | None:
    """Return the first case for training that nobody has worked on.

    Those without a proposal come first.
    """
    waiting = [c for c in cases if c.split is Split.TRAIN and c.state in WAITING]
    waiting.sort(key=lambda case: case.state is not CaseState.UNLABELLED)
    return waiting[0].id if waiting else None
