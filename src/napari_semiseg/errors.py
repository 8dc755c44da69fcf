"""What a user can mend: every message says what was expected, found, and what to do."""

from __future__ import annotations


class SemisegError(Exception):
    """Base of all errors whose message alone tells the user what to do next."""


class ProjectError(SemisegError):
    """A project folder, a case or a run is not what was expected."""


class Conflict(ProjectError):
    """Another program has changed a case since it was looked at."""


LAUNCHED = "SEMISEG_LAUNCHED"
"""Variable of processes whose launcher says what became of them; see `RankLost`."""

STOPPED = 130
"""Exit code of a verb that was asked to stop."""
ENDED, SILENT = 75, 76
"""Exit codes of a process that has lost another one."""


class RankLost(ProjectError):
    """Another process of a training on several devices has ended, or does not answer.

    Attributes
    ----------
    code : int
        `ENDED` or `SILENT`.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class ImageError(SemisegError):
    """An image or mask file cannot be used as it is."""


class ConfigError(SemisegError):
    """A setting is unknown, out of range, or contradicts another one."""


class EngineMissing(SemisegError):
    """PyTorch, or the device asked for, is not available."""
