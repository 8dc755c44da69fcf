"""Read newer predictions of the open case in the background."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_semiseg.widgets.common.background import in_background, show_errors
from napari_semiseg.widgets.elements.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_semiseg.core.prediction import Prediction, PredictionRecord
    from napari_semiseg.widgets.canvas.case_model import CaseModel
    from napari_semiseg.widgets.common.session import Session


class PredictionUpdates(QObject):
    """Looks for another prediction of the open case when runs change.

    ``show`` is called with a prediction of the open case that is not shown yet.
    """

    def __init__(
        self,
        session: Session,
        model: CaseModel,
        show: Callable[[Prediction], None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._model = model
        self._show = show
        self._reading: PredictionRecord | None = None
        Connections(self).add(self._look, session.runs_changed)

    def _look(self) -> None:
        """Read the prediction of the run that is chosen now, when it is another."""
        current = self._model.current
        if current is None:
            return
        case, shown = current.case, current.prediction
        with show_errors(self._session):
            run = self._session.run_of(case)
            record = None if run is None else run.prediction_record(case.id)
            known = None if shown is None else shown.record
            if run is None or record is None or record in (known, self._reading):
                return
            self._reading = record
            in_background(
                self._session,
                f"Reading the new prediction of {case.id}",
                partial(run.read_prediction, case.id, case.geometry),
                self._read,
                self._done,
                quiet=True,
            )

    def _done(self) -> None:
        self._reading = None

    def _read(self, prediction: Prediction) -> None:
        case = self._model.case
        if case is not None and case.id == prediction.record.case:
            self._show(prediction)
