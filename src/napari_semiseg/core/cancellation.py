"""Cancel long work between two of its parts."""

from __future__ import annotations

from collections.abc import Callable


class Cancelled(Exception):
    """Long work was cancelled at one of its checks."""


class CancellationToken:
    """Tell long work that it should end.

    Parameters
    ----------
    requested : callable, optional
        Whether to end now; never by default.
    """

    def __init__(self, requested: Callable[[], bool] = lambda: False) -> None:
        self._requested = requested

    def check(self) -> None:
        """Return at once, or raise `Cancelled` where the work should end."""
        if self._requested():
            raise Cancelled


NEVER = CancellationToken()
"""For work that nobody cancels."""
