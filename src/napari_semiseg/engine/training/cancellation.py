"""Work of minutes that ends within seconds when its run is asked to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_semiseg.project.runs.run import Run


class Stopped(Exception):
    """A run was asked to stop in the middle of a volume."""


def heed_stop(run: Run) -> None:
    """End what goes on for a run that was asked to stop; else nothing.

    Raises
    ------
    Stopped
        It was asked to.
    """
    if run.stop_requested:
        raise Stopped
