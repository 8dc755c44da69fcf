"""Guide through the first steps on the sample cohort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QWidget

from napari_semiseg.core.case import CaseState
from napari_semiseg.project.cases.history import Labelled
from napari_semiseg.widgets.common.preferences import guide_is_hidden, hide_guide
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    markup_label,
    push_button,
    row_of,
    stack,
    wrapped_label,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.widgets.common.session import Session

SAMPLE_NAME = "Sample cohort"
SAMPLE_AUTHOR = "sample cohort"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its name, what to do, and the button that begins it, if any."""

    name: str
    text: str
    button: str


LOAD = Step(
    "Load",
    "New here? Press 'Try the sample cohort': twelve virtual patients, three of them "
    "labelled, and no download.",
    "",
)
MARK = Step(
    "Mark",
    "Open a case without a label. Key 1 takes the structure: paint the dark ventricles "
    "of a slice, then press D. After a few slices \u21e7A accepts what is painted.",
    "Open a case",
)
TRAIN = Step(
    "Train",
    "Ask for one minute and press Start. You can go on marking meanwhile; the cases "
    "without a label get a prediction at the end.",
    "Go to training",
)
REVIEW = Step(
    "Review",
    "Doubtful cases come first. W goes to the worst slice; correct it with brush and "
    "eraser, then N accepts the case and opens the next.",
    "Open the most doubtful case",
)
DONE = Step(
    "Done",
    "That is the whole loop: mark, train, review, train again. Now your own scans?",
    "Create project\u2026",
)
STEPS = (LOAD, MARK, TRAIN, REVIEW)


class Guide(QFrame):
    """Names the four steps, ticks those that are done and offers the next.

    Seen before a project is open and in the sample project, until it is hidden; the
    preferences remember that.

    Signals
    -------
    step_requested(Step)
        The button of a step was pressed.
    """

    step_requested = Signal(object)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.path = markup_label(wrapped=True)
        self.text = wrapped_label()
        self.button = push_button("", self._begin, "Begin this step")
        self.hide_button = push_button(
            "Hide", self.dismiss, "Hide the first steps; Project menu shows them"
        )
        head = row_of(self.path, self.hide_button)
        layout = stack(self, head, self.text, row_of(self.button, None))
        layout.setContentsMargins(6, 4, 6, 6)
        layout.setSpacing(4)
        Connections(self).add(
            self.refresh,
            session.project_changed,
            session.runs_changed,
            session.cases_changed,
        )
        self.refresh()

    @property
    def step(self) -> Step:
        """What to do next."""
        project = self.session.project
        if project is None:
            return LOAD
        return next_step(self.session.cases(), trained=bool(project.runs()))

    def refresh(self, _: object = None) -> None:
        """Show the next step, or nothing in a project of the user's own."""
        project = self.session.project
        own = project is not None and project.name != SAMPLE_NAME
        self.setVisible(not own and not guide_is_hidden())
        if own:
            return
        step = self.step
        done = STEPS.index(step) if step in STEPS else len(STEPS)
        names = [f"{n}\u00a0{one.name}" for n, one in enumerate(STEPS, start=1)]
        names[:done] = [f"\u2713\u00a0{one.name}" for one in STEPS[:done]]
        names[done : done + 1] = [f"<b>{name}</b>" for name in names[done : done + 1]]
        self.path.setText("First steps: " + " \u203a ".join(names))
        self.text.setText(step.text)
        self.button.setText(step.button)
        self.button.setVisible(bool(step.button))

    def _begin(self) -> None:
        self.step_requested.emit(self.step)

    def dismiss(self) -> None:
        """Hide the guide, now and after the next start."""
        hide_guide(True)
        self.refresh()

    def bring_back(self) -> None:
        """Show the guide again, and the sample cohort where another project is open."""
        hide_guide(False)
        self.refresh()
        if not self.isVisibleTo(self.parentWidget()):
            self.step_requested.emit(LOAD)


def next_step(cases: Iterable[Case], *, trained: bool) -> Step:
    """Tell the next step in the sample project.

    Parameters
    ----------
    cases : iterable of Case
        All of the project.
    trained : bool
        Whether there is a run.
    """
    by_hand = [
        entry
        for case in cases
        for entry in case.record.standing
        if isinstance(entry, Labelled) and entry.by != SAMPLE_AUTHOR
    ]
    if not by_hand:
        return MARK
    if not trained:
        return TRAIN
    return DONE if any(entry.run for entry in by_hand) else REVIEW


def case_to_mark(cases: Iterable[Case]) -> str | None:
    """Return the first case without a label."""
    return next((c.id for c in cases if c.state is CaseState.UNLABELLED), None)


def make_sample_project(folder: Path) -> Path:
    """Make a project of the sample cohort, three cases of it labelled.

    Raises
    ------
    SemisegError
        nilearn is not installed.
    """
    from napari_semiseg.project.project import Project
    from napari_semiseg.samples.virtual_patients import LABEL as STRUCTURE
    from napari_semiseg.samples.virtual_patients import make_cohort

    cohort = make_cohort(folder.parent / "cohort")
    project = Project.create(folder, {STRUCTURE: 1}, name=SAMPLE_NAME)
    project.add(*cohort.images)
    masks = dict(zip(cohort.ids, cohort.masks, strict=True))
    for case_id in cohort.labelled:
        project.set_label(case_id, masks[case_id], by=SAMPLE_AUTHOR)
    return folder
