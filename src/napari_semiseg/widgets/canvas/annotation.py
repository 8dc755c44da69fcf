"""Save, accept and discard the mask that is open."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.core.text import count, percent
from napari_semiseg.errors import Conflict, SemisegError
from napari_semiseg.project.cases.history import Viewed
from napari_semiseg.project.cases.record import VIEWED_LEAST, Acceptance
from napari_semiseg.project.cases.versions import MaskVersions
from napari_semiseg.project.review.corrections import viewed_fraction
from napari_semiseg.project.review.undo import undo
from napari_semiseg.widgets.canvas.mask_sources import MaskSource, proposed_by
from napari_semiseg.widgets.common.background import report_error, warn
from napari_semiseg.widgets.common.planes import NAMES
from napari_semiseg.widgets.common.preferences import setting
from napari_semiseg.widgets.elements.questions import Leave

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.project.cases.history import LabelDetails, Labelled
    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.canvas.case_model import CaseModel, OpenCase
    from napari_semiseg.widgets.common.session import Session
    from napari_semiseg.widgets.elements.questions import Questions

LEAST_MINUTES = 0.05
"""Less time than this is not worth a line in the history."""
UNTOUCHED = 3
"""So many masks accepted in a row, unchanged and hardly viewed, raise a question."""
ALL, PAINTED = "Painted and filled", "Only painted"


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
        self._accepted: list[tuple[Project, str, Labelled]] = []
        self._untouched = 0
        self._unsaved = ""

    @property
    def _open(self) -> OpenCase:
        if self._model.current is None:
            raise LookupError("expected an open case, found none")
        return self._model.current

    def save_draft(self) -> bool:
        """Write the mask to the case's draft; False when it could not be."""
        return self._attempt(self.write_draft, self._open.editing.values)

    def take_over(self) -> None:
        """Ask whether to write over a draft that another program has changed."""
        if self._open.aside is not None and self.questions.confirm(
            "Replace the draft of somebody else?",
            f"Another window or program has changed {self._open.case.id}. Make your "
            "edits the draft? What is there now is kept with the previous versions.",
        ):
            self._open.aside = self._open.versions = None
            self._open.own_draft = False

    def autosave(self, values: NDArray[np.uint8]) -> bool:
        """Write the draft; what keeps it from being written pops up once."""
        known, self._unsaved = self._unsaved, ""
        try:
            self.write_draft(values)
        except (SemisegError, OSError) as error:
            self._unsaved = f"Draft not saved yet: {error}"
            if self._unsaved == known:
                self._session.say(known)
            else:
                warn(self._session, self._unsaved)
        return not self._unsaved

    def write_draft(self, values: NDArray[np.uint8]) -> None:
        """Write ``values`` to the case's draft.

        Where another program has changed label or draft since, they are kept beside
        it, and the user is notified.
        """
        current, say = self._open, self._session.say
        project, case, editing = current.project, current.case, current.editing
        project.labels.check(editing.encoding.classes(values), f"mask of {case.id}")
        if current.aside is None:
            try:
                current.versions = project.save_draft(
                    case.id,
                    values,
                    expected=current.versions,
                    keeping=not current.own_draft,
                )
                current.own_draft = True
                say(f"Draft of {case.id} saved.")
            except Conflict as conflict:
                current.aside = project.keep_edits(case.id, values)
                kept = f"Your edits are kept as previous/{current.aside}"
                text = f"{conflict}. {kept}; Save draft makes them the draft."
                report_error(self._session, Conflict(text))
        else:
            project.keep_edits(case.id, values, current.aside)
            say(f"Your edits of {case.id} are kept beside the draft of somebody else.")
        editing.mark_saved()
        self._session.cases_changed.emit({case.id})

    def discard(self) -> bool:
        """Take the draft away, after asking; False when nothing was done."""
        current, case_id = self._open, self._open.case.id
        if not self.questions.confirm(
            "Discard the draft?",
            f"Discard all edits of {case_id} that are not accepted?",
        ):
            return False
        if current.aside is not None:  # the draft is somebody else's
            return True
        discard = partial(current.project.discard_draft, expected=current.versions)
        return self._attempt(discard, case_id)

    def accept(self, *, painted_only: bool) -> str | None:
        """Store the mask as the human label.

        Unsaved edits are saved as a draft first, which is kept: so that `undo_accept`
        brings back what is painted, filled in and proposed.

        Returns
        -------
        str or None
            What was stored, in words; None when nothing was.
        """
        current, editing = self._open, self._open.editing
        values = self._painted() if painted_only else self._whole()
        if values is None:
            return None
        editing.active.tick()
        editing.recount()
        changed, viewed = editing.changed_voxels(), self._viewed_fraction()
        blind = not changed and viewed < VIEWED_LEAST
        blind &= current.case.acceptance is not Acceptance.SEEN
        if blind and not self._accepts_blindly(viewed):
            return None
        if editing.dirty and not self.save_draft():
            return None
        details: LabelDetails = {
            "seen": True,
            "seen_fraction": round(editing.annotated, 4),
            "viewed_fraction": viewed,
            "changed_voxels": changed,
        }
        entry = self._set_label(values, details)
        if entry is None:
            return None
        editing.active.reset()
        self._untouched = self._untouched + 1 if blind else 0
        self._accepted.append((current.project, current.case.id, entry))
        text = f"Accepted {current.case.id}"
        if painted_only:
            left = int((editing.values != UNANNOTATED).sum() - _annotated(values))
            text += f": {_annotated(values)} voxels are stored"
            text += f", {left} that are only proposed are not" if left else ""
        if blind:
            text += f", unverified: unchanged, {percent(viewed)} viewed"
        return f"{text}."

    def undo_accept(self) -> str | None:
        """Undo the last acceptance in this window; gives the id of its case."""
        known = [one for one in self._accepted if one[0] is self._session.project]
        if not known:
            self._session.say("Nothing was accepted in this window.")
            return None
        project, case_id, entry = known[-1]
        self._accepted.remove(known[-1])
        done = self._attempt(partial(undo, project, case_id, expected=entry))
        return case_id if done else None

    def _set_label(
        self, values: NDArray[np.uint8], details: LabelDetails
    ) -> Labelled | None:
        """Store a label; asks first where another program has stored one."""
        current = self._open
        store = partial(
            current.project.set_label,
            current.case.id,
            values,
            minutes=round(current.editing.active.minutes, 2),
            details=details,
            prediction=current.proposal,
            edits=current.aside,
        )
        try:
            return store(expected=current.versions)
        except Conflict as conflict:
            title = "Replace the label of somebody else?"
            if not self.questions.confirm(title, f"{conflict}. Theirs is kept."):
                return None
            now = MaskVersions.of(current.case.folder)
            if current.versions is not None:
                current.versions = replace(current.versions, label=now.label)
            entry: list[Labelled] = []
            again = partial(store, expected=current.versions)
            return entry[0] if self._attempt(lambda: entry.append(again())) else None
        except (SemisegError, OSError) as error:
            report_error(self._session, error)
            return None

    def _viewed_fraction(self) -> float:
        """Part of the slices viewed, now or before with the same prediction."""
        current, now = self._open, round(self._open.editing.viewed_fraction(), 4)
        if current.proposal is None:
            return now
        record = current.project.case(current.case.id).record
        return max(now, viewed_fraction(record, current.proposal.record) or 0.0)

    def _accepts_blindly(self, viewed: float) -> bool:
        """Ask when one mask after the other is accepted without a look."""
        if self._untouched + 1 < UNTOUCHED or not setting("ask_untouched"):
            return True
        if not self.questions.confirm(
            "Accept without a look?",
            f"This is number {self._untouched + 1} in a row that you accept unchanged, "
            f"with {percent(viewed)} of its slices viewed. Such masks are marked as "
            "unverified and tell nothing about the quality of the predictions. Scroll "
            "through it first, or accept it all the same?",
        ):
            return False
        self._untouched = -1  # the next question after as many more
        return True

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
        record, viewed = project.case(case.id).record, self._viewed_fraction()
        before = None if shown is None else viewed_fraction(record, shown)
        known = shown is None or (before is not None and viewed <= before)
        if minutes < LEAST_MINUTES and known:
            return
        entry = Viewed(
            minutes=minutes,
            viewed_fraction=viewed,
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
        if not self._open.editing.dirty and self._open.aside is None:
            return True
        answer = self.questions.leave(self._open.case.id)
        if answer is Leave.SAVE:
            return self.save_draft()
        return answer is Leave.DISCARD and self._restore_draft()

    def mark_slice(self, axis: int, index: int) -> None:
        """Count a slice of any plane as annotated, or take that back."""
        name = f"{NAMES[axis]} slice {index + 1}"
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
        current = self._open
        project, case_id, first = current.project, current.case.id, current.first_draft
        done = True
        if current.own_draft and first is None:
            discard = partial(project.discard_draft, expected=current.versions)
            done = self._attempt(discard, case_id)
        elif current.own_draft:
            save = partial(project.save_draft, expected=current.versions)
            done = self._attempt(save, case_id, first)
        if done:
            current.editing.mark_saved()
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

    def _painted(self) -> NDArray[np.uint8] | None:
        """What is painted or done, and what is filled in where the user wants it."""
        current, editing = self._open, self._open.editing
        encoding, values = editing.encoding, editing.annotated_only()
        proposed = np.isin(editing.values, list(encoding.proposed.values()))
        filled = proposed
        if current.prediction is not None:  # what a model proposes was never painted
            model = encoding.propose(current.prediction.labels)
            filled = proposed & (editing.values != model)
        if filled.any():
            both = np.where(filled, encoding.classes(editing.values), values)
            painted = f"{_annotated(values)} voxels in {_slices(values)}"
            new = f"{np.count_nonzero(filled)} voxels in {_slices(both, values)}"
            answer = self.questions.choose(
                "What is to be stored?",
                f"Painted or done: {painted}. Filled in or changed by a tool, not "
                f"painted: {new}. Store both, or only what is painted? All else is "
                "stored as not annotated. Undo accept brings everything back.",
                (ALL, PAINTED),
            )
            if answer is None:
                return None
            values = both if answer == ALL else values
        if not _annotated(values):
            self._session.say("Nothing is painted or marked as done yet.")
            return None
        return values

    def _whole(self) -> NDArray[np.uint8] | None:
        """The whole mask; None when the user takes it back."""
        editing = self._open.editing
        values = editing.whole()
        if not values.any():
            sure = self.questions.confirm(
                "Accept an empty mask?",
                "Nothing is painted. Accept that this volume holds none of the "
                "structures?",
            )
            return values if sure else None
        unknown = int((editing.values == UNANNOTATED).any(axis=(1, 2)).sum())
        proposals = list(editing.encoding.proposed.values())
        if unknown and not np.isin(editing.values, proposals).any():
            sure = self.questions.confirm(
                "Accept the whole volume?",
                f"{unknown} slices hold voxels that nobody has annotated. Count them "
                "as background?",
            )
            return values if sure else None
        return values


def _annotated(values: NDArray[np.uint8]) -> int:
    return int(np.count_nonzero(values != UNANNOTATED))


def _slices(values: NDArray[np.uint8], without: NDArray[np.uint8] | None = None) -> str:
    """Count the axial slices with annotated voxels, or with more than before."""
    other = UNANNOTATED if without is None else without
    return count(int((values != other).any(axis=(1, 2)).sum()), "axial slice")
