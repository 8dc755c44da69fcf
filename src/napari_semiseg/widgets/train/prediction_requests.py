"""Ask the running training to predict what the user looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_semiseg.project.runs.prediction_requests import (
    MAX_REQUESTS,
    request_predictions,
    requested_predictions,
)
from napari_semiseg.widgets.common.background import show_errors
from napari_semiseg.widgets.elements.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.common.session import Session


class PredictionRequests(QObject):
    """Requests predictions of the open case and of the next ones of the queue."""

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._run: Run | None = None
        self._queue: tuple[str, ...] = ()
        connections = Connections(self)
        connections.add(self._send, session.case_opened)
        connections.add(self._set_queue, session.queue_changed)

    def follow(self, run: Run | None) -> None:
        """Send requests to this run from now on; None when it has ended."""
        self._run = run
        self._send()

    def withdraw(self) -> None:
        """Take all requests back, as when the panel closes."""
        if self._run is not None:
            with show_errors(self._session):
                request_predictions(self._run, ())
        self._run = None

    def _set_queue(self, cases: Sequence[str]) -> None:
        self._queue = tuple(cases)
        self._send()

    def _send(self, _case: str | None = None) -> None:
        run, opened = self._run, self._session.case_id
        if run is None:
            return
        cases = [*([opened] if opened else []), *self._queue]
        cases = list(dict.fromkeys(cases))[:MAX_REQUESTS]
        if tuple(cases) != requested_predictions(run):
            with show_errors(self._session):
                request_predictions(run, cases)
