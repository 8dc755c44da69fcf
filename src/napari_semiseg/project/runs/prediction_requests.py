"""Ask a training that runs to predict cases, and read what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import read_json, write_json
from napari_semiseg.project.cases.case import id_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_semiseg.project.cases.case import CaseRef
    from napari_semiseg.project.runs.run import Run

MAX_REQUESTS = 4
"""Cases that a run takes on: the open one and the first ones of the queue."""


def request_predictions(run: Run, cases: Iterable[CaseRef]) -> None:
    """Ask a run to keep the predictions of these cases up to date; returns at once.

    Parameters
    ----------
    run : Run
        A training that runs; any other ignores the request.
    cases : iterable of Case or str
        Most urgent first; none takes the request back.
    """
    if run.folder.config.exists():  # not of a run that was refused and is gone
        ids = [id_of(case) for case in cases][:MAX_REQUESTS]
        write_json(run.folder.prediction_requests, {"cases": ids})


def requested_predictions(run: Run) -> tuple[str, ...]:
    """Ids of the cases to keep predicted, most urgent first."""
    try:
        found = read_json(run.folder.prediction_requests)["cases"]
    except (ProjectError, KeyError, TypeError):
        return ()
    if not isinstance(found, list):
        return ()
    return tuple(name for name in found if isinstance(name, str))[:MAX_REQUESTS]
