"""Guide through the first steps on the sample cohort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QWidget

from napari_semiseg.project.cases.history import Labelled
from napari_semiseg.project.runs.run import UNDER_WAY
from napari_semiseg.widgets.common.preferences import choose, setting
from napari_semiseg.widgets.elements.buttons import KeyButton
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    markup_label,
    plain_label,
    push_button,
    row_of,
    stack,
    wrapped_label,
)
from napari_semiseg.widgets.elements.style import look

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.common.session import Session

SAMPLE_NAME = "Sample cohort"
SAMPLE_AUTHOR = "sample cohort"
SAMPLE_MINUTES = 2
"""Of training, until the proposals of the sample are worth a correction."""
ENDED = frozenset({"completed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its name, what to do, and the button that begins it, if any."""

    name: str
    text: str
    button: str


LOAD = Step("Load", "", "")
MARK = Step(
    "Label",
    "Open a case without a label. Key 1 takes the structure: paint the dark ventricles "
    "of a slice, then press D. After a few slices \u21e7A accepts what is painted.",
    "Open a case",
)
TRAIN = Step(
    "Train",
    f"{SAMPLE_MINUTES} minutes are enough for these small scans: the button fills them "
    "in, then press Start training. You can go on labelling meanwhile.",
    f"Go to training, {SAMPLE_MINUTES} min",
)
TRAINING = Step(
    "Train",
    "The training runs; the bar above says how long. At its end the cases without a "
    "label get a proposal. Label another one meanwhile, it is learnt from at once.",
    "Open a case",
)
REVIEW = Step(
    "Review",
    "Doubtful cases come first. W goes to the worst slice; correct it with brush and "
    "eraser, then N accepts the case and opens the next.",
    "Open the most doubtful case",
)
DONE = Step(
    "Done",
    "That is the whole loop: label, train, review, train again. Now your own scans?",
    "New project\u2026",
)
NAMES = (LOAD.name, MARK.name, TRAIN.name, REVIEW.name)


class Guide(QFrame):
    """Names the four steps, ticks those that are done and offers the next.

    Seen in the sample project, until it is hidden; the preferences remember that.

    Signals
    -------
    step_requested(Step)
        The button of a step was pressed.
    """

    step_requested = Signal(object)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        look(self, "card")
        title = look(plain_label("First steps"), "title")
        self.path = look(markup_label(wrapped=True), "small")
        self.text = look(wrapped_label(), "secondary")
        self.button = KeyButton("", "", "arrow_right", run=self._begin, left=True)
        self.button.setToolTip("Begin this step")
        self.hide_button = look(push_button("\u2715", self.dismiss), "flat")
        self.hide_button.setAccessibleName("Hide the first steps")
        self.hide_button.setToolTip("Hide the first steps; \u22ee brings them back")
        self.hide_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        head = row_of(title, None, self.hide_button)
        layout = stack(self, head, self.path, self.text, self.button)
        layout.setContentsMargins(10, 4, 6, 8)
        layout.setSpacing(6)
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
        return next_step(self.session.cases(), project.runs())

    def refresh(self, _: object = None) -> None:
        """Show the next step, or nothing outside of the sample project."""
        project = self.session.project
        is_sample = project is not None and project.name == SAMPLE_NAME
        self.setVisible(is_sample and setting("first_steps"))
        if not is_sample:
            return
        step = self.step
        done = NAMES.index(step.name) if step.name in NAMES else len(NAMES)
        shown = [f"\u2713\u00a0{name}" for name in NAMES[:done]]
        shown += [f"{n}\u00a0{name}" for n, name in enumerate(NAMES, 1)][done:]
        shown[done : done + 1] = [f"<b>{name}</b>" for name in shown[done : done + 1]]
        self.path.setText(" \u203a ".join(shown))
        self.text.setText(step.text)
        self.button.set_step(step.button, "")

    def _begin(self) -> None:
        self.step_requested.emit(self.step)

    def dismiss(self) -> None:
        """Hide the guide, now and after the next start."""
        choose("first_steps", False)
        self.refresh()

    def bring_back(self) -> None:
        """Show the guide again, and the sample cohort where another project is open."""
        choose("first_steps", True)
        self.refresh()
        if not self.isVisibleTo(self.parentWidget()):
            self.step_requested.emit(LOAD)


def next_step(cases: Iterable[Case], runs: Iterable[Run]) -> Step:
    """Tell the next step in the sample project.

    A training counts once it has ended and left a model.

    Parameters
    ----------
    cases, runs : iterable of Case and of Run
        All of the project.
    """
    by_hand = [
        entry
        for case in cases
        for entry in case.record.standing
        if isinstance(entry, Labelled) and entry.by != SAMPLE_AUTHOR
    ]
    states = {run.status for run in runs if run.status in UNDER_WAY or run.has_model}
    if not by_hand:
        return MARK
    if not states & ENDED:
        return TRAINING if states & UNDER_WAY else TRAIN
    return DONE if any(entry.run for entry in by_hand) else REVIEW


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
