"""What a user can mend: every message says what was expected, found, and what to do."""

from __future__ import annotations


class SemisegError(Exception):
    """Base of all errors whose message alone tells the user what to do next."""


class ProjectError(SemisegError):
    """A project folder, a case or a run is not what was expected."""


class Conflict(ProjectError):
    """Another program has changed a case since it was looked at."""


class ImageError(SemisegError):
    """An image or mask file cannot be used as it is."""


class ConfigError(SemisegError):
    """A setting is unknown, out of range, or contradicts another one."""


class EngineMissing(SemisegError):
    """PyTorch, or the device asked for, is not available."""
