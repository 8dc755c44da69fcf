"""Do work of some seconds in a thread, and show errors in one sentence."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QTimer

from napari_semiseg.errors import SemisegError
from napari_semiseg.widgets.common.compat import is_alive
from napari_semiseg.widgets.elements.forms import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qtpy.QtCore import QObject

    from napari_semiseg.widgets.common.session import Session

T = TypeVar("T")

PROGRESS_MS = 200
"""Between two looks at how far work is."""


class Named(partial):  # type: ignore[type-arg]
    """A function that napari's dialogs and task list show by a sentence."""

    title = ""

    def __repr__(self) -> str:
        return self.title


def named(title: str, function: Callable[..., Any], *args: Any) -> Named:
    """Bind arguments, with a title that is shown when it is printed."""
    bound = Named(function, *args)
    bound.title = title
    return bound


def report_error(session: Session, error: Exception) -> None:
    """Show an error as a notification and in the status line."""
    show_error(plain(str(error)))
    session.say(str(error))


def warn(session: Session, text: str) -> None:
    """Show a warning as a notification and in the status line."""
    show_warning(plain(text))
    session.say(text)


class ProgressReport:
    """Note how far work in another thread is; the window reads it.

    Parameters
    ----------
    title : str
        What is done, as "Adding images".
    say : callable
        Shows a sentence; called in the GUI thread.
    """

    def __init__(self, title: str, say: Callable[[str], object]) -> None:
        self._title, self._say = title, say
        self._noted = ""

    def __call__(self, done: int, total: int) -> None:
        """Note what is done, and of how much: 0 where nobody knows."""
        self.note(f"{done:,} of {total:,}" if total else f"{done:,}")

    def note(self, words: str) -> None:
        """Note in words how far it is."""
        self._noted = words

    def show(self) -> None:
        """Say how far the work is, where that has changed."""
        words, self._noted = self._noted, ""
        if words:
            self._say(f"{self._title} … {words}")


@contextmanager
def show_errors(session: Session) -> Iterator[None]:
    """Report a `SemisegError` or `OSError` of a block instead of raising it."""
    try:
        yield
    except (SemisegError, OSError) as error:
        report_error(session, error)


def in_background(
    session: Session,
    title: str,
    work: Callable[[], T],
    then: Callable[[T], object],
    finally_: Callable[[], None] | None = None,
    *,
    quiet: bool = False,
    progress: ProgressReport | None = None,
    owner: QObject | None = None,
) -> None:
    """Do ``work`` in a thread and hand its result to ``then`` in the GUI thread.

    Parameters
    ----------
    session : Session
        Where the status line is.
    title : str
        Shown in the status line and in napari's activity dock meanwhile.
    work : callable
        Touches neither Qt nor layers. What it raises is shown to the user when it
        is a `SemisegError` or `OSError`, and goes to napari's error dialog else.
    then : callable
        Called with the result of ``work``, only when it succeeded, the dock is open
        and the owner is there.
    finally_ : callable, optional
        Called afterwards, unless the dock was closed or the owner destroyed meanwhile.
    quiet : bool
        Leave the status line as it is.
    progress : ProgressReport, optional
        What ``work`` tells its progress to; shown a few times a second.
    owner : QObject, optional
        What ``then`` and ``finally_`` change, where that may be destroyed before the
        dock is closed, as a dialog.
    """
    pending = [work]  # what it holds goes with it: napari keeps finished workers

    def is_open() -> bool:
        return not session.closed and (owner is None or is_alive(owner))

    def done(answer: tuple[T, SemisegError | OSError | None]) -> None:
        timer.stop()
        result, error = answer
        if error is not None:
            report_error(session, error)
        elif is_open():
            then(result)

    if not quiet:
        session.say(f"{title} …")
    worker = create_worker(
        named(title, _attempt, pending),
        _start_thread=False,
        _progress={"desc": title},
    )

    timer = QTimer()
    if progress is not None:
        timer.timeout.connect(progress.show)
        timer.start(PROGRESS_MS)

    def settle() -> None:
        timer.stop()
        # Qt keeps what is connected alive.
        worker.returned.disconnect(done)
        worker.finished.disconnect(settle)
        if finally_ is not None and is_open():
            finally_()

    worker.returned.connect(done)
    worker.finished.connect(settle)
    worker.start()


def _attempt(
    pending: list[Callable[[], T]],
) -> tuple[T | None, SemisegError | OSError | None]:
    """Do the work that is handed over, and return its result or what went wrong."""
    try:
        return pending.pop()(), None
    except (SemisegError, OSError) as error:
        return None, error
