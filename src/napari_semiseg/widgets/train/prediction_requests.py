"""What the running training is asked to predict: what the user looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.project.runs.prediction_requests import MOST, want, wanted
from napari_semiseg.widgets.common.background import show_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.common.session import Session


class Wishes:
    """Tells the run that trains which case is open, and what comes next.

    Parameters
    ----------
    session : Session
        Says which case is open, and what the queue holds.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._run: Run | None = None
        self._queue: tuple[str, ...] = ()
        session.case_opened.connect(self._tell)
        session.queue_changed.connect(self._queued)

    def follow(self, run: Run | None) -> None:
        """Talk to this run from now on; None when it has ended."""
        self._run = run
        self._tell()

    def withdraw(self) -> None:
        """Want nothing any more, as when the panel closes."""
        if self._run is not None:
            with show_errors(self._session):
                want(self._run, ())
        self._run = None

    def _queued(self, cases: Sequence[str]) -> None:
        self._queue = tuple(cases)
        self._tell()

    def _tell(self, _case: str | None = None) -> None:
        run, opened = self._run, self._session.case_id
        if run is None:
            return
        cases = list(dict.fromkeys([*([opened] if opened else []), *self._queue]))
        cases = cases[:MOST]
        if tuple(cases) != wanted(run):
            with show_errors(self._session):
                want(run, cases)
