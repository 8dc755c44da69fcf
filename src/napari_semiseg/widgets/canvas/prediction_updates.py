"""A newer prediction of the case that is open: read beside the window, then shown."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from napari_semiseg.widgets.canvas.mask_sources import MaskSource, proposed_by
from napari_semiseg.widgets.common.background import in_background, show_errors

if TYPE_CHECKING:
    from napari_semiseg.core.prediction import Prediction, PredictionRecord
    from napari_semiseg.widgets.canvas.case_view import CaseView


class NewerPrediction:
    """Looks for another prediction of the open case when runs change.

    Parameters
    ----------
    view : CaseView
        What it is shown in. A mask that the user has changed stays as it is.
    """

    def __init__(self, view: CaseView) -> None:
        self._view = view
        self._reading: PredictionRecord | None = None
        view.session.runs_changed.connect(self.look)

    def close(self) -> None:
        """Look no more."""
        self._view.session.runs_changed.disconnect(self.look)

    def look(self) -> None:
        """Read the prediction of the run that is chosen now, when it is another."""
        view = self._view
        case = view.case
        if case is None or view.opened is None:
            return
        with show_errors(view.session):
            run = view.run_of(case)
            record = None if run is None else run.prediction_record(case.id)
            known = None if view.prediction is None else view.prediction.record
            if run is None or record is None or record in (known, self._reading):
                return
            self._reading = record
            in_background(
                view.session,
                f"Reading the new prediction of {case.id}",
                partial(run.read_prediction, case.id, case.geometry),
                self._show,
                self._done,
                quiet=True,
            )

    def _done(self) -> None:
        self._reading = None

    def _show(self, prediction: Prediction) -> None:
        view, record = self._view, prediction.record
        if view.case is None or view.case.id != record.case or view.opened is None:
            return  # the user has gone on
        view.prediction = prediction
        view.case = view.project.case(record.case)
        untouched = not view.dirty and not view.case.has_draft
        untouched &= view.opened.source in (MaskSource.PROPOSAL, MaskSource.EMPTY)
        if untouched:
            self._put(prediction)
        view.show_views()
        words = proposed_by(record)
        view.say_what_is_shown(() if untouched else (f"beside it: {words}",))
        view.shown.emit()

    def _put(self, prediction: Prediction) -> None:
        """Put it into the untouched mask, as one undo step."""
        annotation, mask = self._view.annotation, self._view.mask
        if annotation is None or mask is None:
            return
        editing, labels = annotation.editing, prediction.labels
        mask.put(editing.marking.propose(labels))
        editing.rebase(labels)
        annotation.prediction = prediction
        annotation.opened = replace(
            annotation.opened,
            source=MaskSource.PROPOSAL,
            text=proposed_by(prediction.record),
        )
