"""Save, accept and discard the mask that is open."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.errors import SemisegError
from napari_semiseg.project.cases.history import Viewed
from napari_semiseg.project.review.corrections import was_viewed
from napari_semiseg.widgets.canvas.mask_sources import MaskSource, proposed_by
from napari_semiseg.widgets.common.background import report_error
from napari_semiseg.widgets.common.planes import NAMES
from napari_semiseg.widgets.common.questions import Leave

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.widgets.canvas.case_model import CaseModel, OpenCase
    from napari_semiseg.widgets.common.questions import Questions
    from napari_semiseg.widgets.common.session import Session

LEAST_MINUTES = 0.05
"""Less time than this is not worth a line in the history."""


class Annotation:
    """Stores what the user does to the mask of the open case.

    Its methods need an open case; `LookupError` without one.
    """

    def __init__(
        self, session: Session, model: CaseModel, questions: Questions
    ) -> None:
        self.questions = questions
        self._session = session
        self._model = model

    @property
    def _open(self) -> OpenCase:
        if self._model.current is None:
            raise LookupError("expected an open case, found none")
        return self._model.current

    def save_draft(self) -> bool:
        """Write the mask to the case's draft; False when it could not be."""
        return self._attempt(self.write_draft, self._open.editing.values)

    def write_draft(self, values: NDArray[np.uint8]) -> None:
        """Write ``values`` to the case's draft."""
        project, case, editing = self._open.project, self._open.case, self._open.editing
        project.labels.check(editing.encoding.classes(values), f"mask of {case.id}")
        project.save_draft(case.id, values)
        editing.mark_saved()
        self._session.cases_changed.emit({case.id})
        self._session.say(f"Draft of {case.id} saved.")

    def discard(self) -> bool:
        """Delete the draft, after asking; False when nothing was done."""
        case_id = self._open.case.id
        if not self.questions.confirm(
            "Discard the draft?",
            f"Discard all edits of {case_id} that are not accepted?",
        ):
            return False
        return self._attempt(self._open.project.discard_draft, case_id)

    def accept(self, *, painted_only: bool) -> bool:
        """Store the mask as the human label; False when it was not."""
        editing = self._open.editing
        values = editing.annotated_only() if painted_only else editing.whole()
        sure = self._has_painted(values) if painted_only else self._sure(values)
        if not sure:
            return False
        editing.active.tick()
        editing.recount()
        done = self._attempt(
            self._open.project.set_label,
            self._open.case.id,
            values,
            minutes=round(editing.active.minutes, 2),
            details={
                "seen": True,
                "seen_fraction": round(editing.annotated, 4),
                "changed_voxels": editing.changed_voxels(),
            },
            prediction=self._open.proposal,
        )
        if done:
            editing.active.reset()
        return done

    def leave(self) -> None:
        """Close the mask; time and what was looked at go into the history."""
        if self._model.current is not None:
            self._open.editing.stop()
            with suppress(SemisegError, OSError):  # nobody's work is lost by that
                self.note_view()
            self._model.current = None

    def note_view(self) -> None:
        """Note which prediction was looked at, and the minutes since the last note."""
        project, case, editing = self._open.project, self._open.case, self._open.editing
        proposal = self._open.proposal
        shown = None if proposal is None else proposal.record
        minutes = round(editing.active.minutes, 2)
        record = project.case(case.id).record
        if minutes < LEAST_MINUTES and (shown is None or was_viewed(record, shown)):
            return
        entry = Viewed(
            minutes=minutes,
            run=None if shown is None else shown.run,
            step=None if shown is None else shown.step,
        )
        project.note(case, entry)
        editing.active.reset()
        if self._session.project is project:
            self._session.cases_changed.emit({case.id})

    def may_leave(self) -> bool:
        """Ask about edits in no file; False when the user stays with them."""
        if self._model.current is None:
            return True
        self._open.editing.recount()
        if not self._open.editing.dirty:
            return True
        answer = self.questions.leave(self._open.case.id)
        if answer is Leave.SAVE:
            return self.save_draft()
        return answer is Leave.DISCARD and self._restore_draft()

    def mark_slice(self, axis: int, index: int) -> None:
        """Count a slice of any plane as annotated, or take that back."""
        name = f"{NAMES[axis]} slice {index}"
        if self._open.editing.toggle_done(axis, index):
            text = f"{name} is done: what is not painted in it is background."
        else:
            text = f"{name} is no longer done: only what is painted in it counts."
        self._session.say(text)

    def fill(self, prediction: Prediction) -> bool:
        """Put a prediction where nobody has annotated, as one undo step.

        Where everything is annotated, the whole mask is replaced after asking.
        """
        editing, run = self._open.editing, prediction.record.run
        encoding, values = editing.encoding, editing.values
        if encoding.annotated(values).all():
            question = f"Replace the whole mask by what {run} proposes?"
            if not self.questions.confirm("Replace the mask?", question):
                return False
            filled = encoding.propose(prediction.labels)
        else:
            filled = encoding.fill(values, prediction.labels)
        changed = editing.layer.put(filled)
        if changed:
            text = f"Filled in by {run}, not accepted yet. Ctrl+Z undoes it."
        else:
            text = f"The mask is what {run} proposes already."
        self._session.say(text)
        return bool(changed)

    def update_prediction(self, prediction: Prediction) -> bool:
        """Take a newer prediction; an untouched mask becomes it, as one undo step.

        Returns
        -------
        bool
            Whether the mask is that prediction now.
        """
        current = self._open
        current.prediction = prediction
        current.case = current.project.case(current.case.id)
        editing, opened = current.editing, current.opened
        touched = editing.dirty or current.case.has_draft
        if touched or opened.source not in (MaskSource.PROPOSAL, MaskSource.EMPTY):
            return False
        editing.layer.put(editing.encoding.propose(prediction.labels))
        editing.rebase(prediction.labels)
        current.proposal = prediction
        text = proposed_by(prediction.record)
        current.opened = replace(opened, source=MaskSource.PROPOSAL, text=text)
        return True

    def _restore_draft(self) -> bool:
        """Bring the draft back to what it was when the mask was opened."""
        project, case_id = self._open.project, self._open.case.id
        if self._open.first_draft is None:
            done = self._attempt(project.discard_draft, case_id)
        else:
            done = self._attempt(project.save_draft, case_id, self._open.first_draft)
        if done:
            self._open.editing.mark_saved()
            self._session.cases_changed.emit({case_id})
        return done

    def _attempt(
        self, action: Callable[..., object], *args: Any, **kwargs: Any
    ) -> bool:
        try:
            action(*args, **kwargs)
        except (SemisegError, OSError) as error:
            report_error(self._session, error)
            return False
        return True

    def _has_painted(self, values: NDArray[np.uint8]) -> bool:
        if (values == UNANNOTATED).all():
            self._session.say("Nothing is painted or marked as done yet.")
            return False
        return True

    def _sure(self, values: NDArray[np.uint8]) -> bool:
        if not values.any():
            return self.questions.confirm(
                "Accept an empty mask?",
                "Nothing is painted. Accept that this volume holds none of the "
                "structures?",
            )
        editing = self._open.editing
        unknown = int((editing.values == UNANNOTATED).any(axis=(1, 2)).sum())
        proposals = list(editing.encoding.proposed.values())
        if unknown and not np.isin(editing.values, proposals).any():
            return self.questions.confirm(
                "Accept the whole volume?",
                f"{unknown} slices hold voxels that nobody has annotated. Count them "
                "as background?",
            )
        return True
