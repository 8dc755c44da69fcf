"""What the annotator's side asks of a training that runs: to predict these cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_semiseg.project.runs.run import Run

MOST = 4
"""Cases that are listened to: the open one and the first ones of the queue."""


def want(run: Run, cases: Iterable[str]) -> None:
    """Ask a run to keep the predictions of these cases up to date; returns at once.

    Parameters
    ----------
    run : Run
        A training that runs; any other does not listen.
    cases : iterable of str
        Ids, the most wanted first; none takes the wish back.
    """
    if run.folder.config.exists():  # not of a run that was refused and is gone
        write_json(run.folder.wanted, {"cases": list(cases)[:MOST]})


def wanted(run: Run) -> tuple[str, ...]:
    """Cases that somebody wants predicted, the most wanted first."""
    try:
        found = read_json(run.folder.wanted)["cases"]
    except (ProjectError, KeyError, TypeError):
        return ()
    if not isinstance(found, list):
        return ()
    return tuple(name for name in found if isinstance(name, str))[:MOST]
