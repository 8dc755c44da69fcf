"""What becomes of the edits of an opened mask: draft, accepted label, or nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.errors import SemisegError
from napari_semiseg.project.cases.history import Viewed
from napari_semiseg.project.review.corrections import was_viewed
from napari_semiseg.widgets.canvas.editing import Editing
from napari_semiseg.widgets.common.background import report_error
from napari_semiseg.widgets.common.planes import NAMES
from napari_semiseg.widgets.common.questions import Leave

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.imaging.mask_encoding import MaskEncoding
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.canvas.mask_sources import OpenedMask
    from napari_semiseg.widgets.common.questions import Questions
    from napari_semiseg.widgets.common.session import Session

LEAST_MINUTES = 0.05
"""Less time than this is not worth a line in the history."""


class Annotation:
    """One mask of one case, from opening it until it is left.

    Parameters
    ----------
    session : Session
        Told about what was saved.
    project : Project
        Where it is saved.
    case : Case
        The case that is open.
    prediction : Prediction or None
        What the mask is compared with when it is accepted.
    opened : OpenedMask
        What is shown.
    layer : MaskLayer
        The layer that shows it.
    marking : MaskEncoding
        What its values mean.
    questions : Questions
        Asks the user.
    autosave_s : float
        Seconds from an edit to the saving of the draft.
    """

    def __init__(
        self,
        session: Session,
        project: Project,
        case: Case,
        prediction: Prediction | None,
        opened: OpenedMask,
        layer: Any,
        marking: MaskEncoding,
        questions: Questions,
        *,
        autosave_s: float,
    ) -> None:
        self.session = session
        self.project = project
        self.case = case
        self.prediction = prediction
        self.opened = opened
        self.questions = questions
        self.editing = Editing(
            layer,
            opened.reference,
            marking,
            self.write_draft,
            autosave_s=autosave_s,
        )
        self._first_draft = case.read_draft()

    def save_draft(self) -> bool:
        """Write the mask to the case's draft; False when it could not be."""
        return self._attempt(self.write_draft, self.editing.values)

    def write_draft(self, values: NDArray[np.uint8]) -> None:
        """Write ``values`` to the case's draft."""
        classes = self.editing.marking.classes(values)
        self.project.labels.check(classes, f"mask of {self.case.id}")
        self.project.save_draft(self.case.id, values)
        self.editing.mark_saved()
        self.session.cases_changed.emit({self.case.id})
        self.session.say(f"Draft of {self.case.id} saved.")

    def discard(self) -> bool:
        """Forget, after asking, what was not accepted; False when nothing was done."""
        if not self.questions.confirm(
            "Discard the draft?",
            f"Discard all edits of {self.case.id} that are not accepted?",
        ):
            return False
        return self._attempt(self.project.discard_draft, self.case.id)

    def accept(self, *, painted_only: bool) -> bool:
        """Store the mask as the human label; False when it was not."""
        editing = self.editing
        values = editing.annotated_only() if painted_only else editing.whole()
        sure = self._has_painted(values) if painted_only else self._sure(values)
        if not sure:
            return False
        editing.active.tick()
        done = self._attempt(
            self.project.set_label,
            self.case.id,
            values,
            minutes=round(editing.minutes, 2),
            details={
                "seen": True,
                "seen_fraction": round(self._seen(), 4),
                "changed_voxels": editing.changed_voxels(),
            },
            prediction=self.prediction,
        )
        if done:
            editing.active.reset()
        return done

    def close(self) -> None:
        """Stop watching the layer; time and what was looked at go into the history."""
        self.editing.stop()
        with suppress(SemisegError, OSError):  # nobody's work is lost by that
            self.note_view()

    def note_view(self) -> None:
        """Note which prediction was looked at, and the minutes since the last note."""
        record = self.project.case(self.case.id).record
        shown = None if self.prediction is None else self.prediction.record
        minutes = round(self.editing.minutes, 2)
        if minutes < LEAST_MINUTES and (shown is None or was_viewed(record, shown)):
            return
        entry = Viewed(
            minutes=minutes,
            run=None if shown is None else shown.run,
            step=None if shown is None else shown.step,
        )
        self.project.note(self.case, entry)
        self.editing.active.reset()
        if self.session.project is self.project:
            self.session.cases_changed.emit({self.case.id})

    def may_leave(self) -> bool:
        """Ask about edits in no file; False when the user stays with them."""
        self.editing.recount()
        if not self.editing.dirty:
            return True
        answer = self.questions.leave(self.case.id)
        if answer is Leave.SAVE:
            return self.save_draft()
        if answer is Leave.DISCARD:
            return self._forget()
        return False

    def mark_slice(self, axis: int, index: int) -> None:
        """Count a slice of any plane as annotated, or take that back."""
        done = self.editing.toggle_done(axis, index)
        name = f"{NAMES[axis]} slice {index}"
        if done:
            text = f"{name} is done: what is not painted in it is background."
        else:
            text = f"{name} is no longer done: only what is painted in it counts."
        self.session.say(text)

    def fill(self, prediction: Prediction) -> bool:
        """Put a prediction where nobody has annotated, as one undo step.

        Where everything is annotated, the whole mask is replaced after asking.
        """
        editing, run = self.editing, prediction.record.run
        marking, values = editing.marking, editing.values
        if marking.annotated(values).all():
            question = f"Replace the whole mask by what {run} proposes?"
            if not self.questions.confirm("Replace the mask?", question):
                return False
            filled = marking.propose(prediction.labels)
        else:
            filled = marking.fill(values, prediction.labels)
        changed = editing.layer.put(filled)
        if changed:
            self.session.say(f"Filled in by {run}, not accepted yet. Ctrl+Z undoes it.")
        else:
            self.session.say(f"The mask is what {run} proposes already.")
        return bool(changed)

    def _forget(self) -> bool:
        """Bring the draft back to what it was when the mask was opened."""
        project, draft = self.project, self._first_draft
        if draft is None:
            done = self._attempt(project.discard_draft, self.case.id)
        else:
            done = self._attempt(project.save_draft, self.case.id, draft)
        if done:
            self.editing.mark_saved()
            self.session.cases_changed.emit({self.case.id})
        return done

    def _attempt(
        self, action: Callable[..., object], *args: Any, **kwargs: Any
    ) -> bool:
        """Do something to the project; what the user can mend is told."""
        try:
            action(*args, **kwargs)
        except (SemisegError, OSError) as error:
            report_error(self.session, error)
            return False
        return True

    def _seen(self) -> float:
        """Part of the volume that a person has annotated."""
        self.editing.recount()
        return self.editing.annotated

    def _has_painted(self, values: NDArray[np.uint8]) -> bool:
        if (values == UNANNOTATED).all():
            self.session.say("Nothing is painted or marked as done yet.")
            return False
        return True

    def _sure(self, values: NDArray[np.uint8]) -> bool:
        if not values.any():
            return self.questions.confirm(
                "Accept an empty mask?",
                "Nothing is painted. Accept that this volume holds none of the "
                "structures?",
            )
        marked = self.editing.values
        unknown = int((marked == UNANNOTATED).any(axis=(1, 2)).sum())
        proposed = np.isin(marked, list(self.editing.marking.proposed.values())).any()
        if unknown and not proposed:
            return self.questions.confirm(
                "Accept the whole volume?",
                f"{unknown} slices hold voxels that nobody has annotated. Count them "
                "as background?",
            )
        return True
