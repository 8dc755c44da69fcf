"""Stop a run wherever it is: at work, or in the queue of another computer."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from napari_semiseg.errors import SemisegError
from napari_semiseg.execution.place import submitted
from napari_semiseg.project.runs import submission

if TYPE_CHECKING:
    from napari_semiseg.execution.executor import Handle
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run


def stop(project: Project, run: Run) -> bool:
    """Ask a run to end; what has not begun is taken out of its queue where possible.

    Another computer is asked, which may take seconds.

    Returns
    -------
    bool
        Whether a verb that waited was taken out. Where it could not be, it ends as
        soon as it begins; one that is asked for a second time counts as lost.
    """
    again = run.stop_requested
    run.request_stop()
    return take_back(project, run, lost=again)


def take_back(project: Project, run: Run, *, lost: bool = False) -> bool:
    """Take what waits to work on a run out of its queue; whether it was.

    Parameters
    ----------
    lost : bool
        Whether what cannot be taken out is to count as lost: the run waits for it no
        longer.
    """
    waiting, gone = run.waiting, False
    if waiting is None:
        return False
    if waiting.is_from_here:
        with suppress(SemisegError):  # it does not answer, or is no longer known
            gone = withdraw(run, submitted(waiting, project, run))
    if lost and not gone:
        submission.close(run.folder, waiting.session)
    return gone


def withdraw(run: Run, handle: Handle) -> bool:
    """Take a verb on a run out of a queue; whether nothing of it is left there.

    One that has begun is left alone.
    """
    waiting = run.waiting
    if waiting is None or waiting.session != handle.session:
        return False
    try:
        gone = handle.withdraw()
    except SemisegError:  # the place does not answer: it ends when it begins
        return False
    if gone and not run.is_busy and not run.has_workers:
        run.clear_stop()  # nothing is left to hear it
    return gone
