"""Note in the folder of a run which verb was submitted to another computer."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import machine, read_json, write_json

if TYPE_CHECKING:
    from napari_semiseg.project.layout import RunFolder

TRAINS = ("train", "resume")


class Submission(BaseModel):
    """A verb that another computer was asked to run, and that may wait in a queue.

    Attributes
    ----------
    verb : str
        Of the command line.
    place : str
        Where, as `execution.place.executor_at` takes it.
    job : str
        Number of the job, or of the process; the key of a task.
    session : str
        Mark of its process, see `process.SESSION`.
    at : float
        Unix time of the submission, s.
    computer : str
        Mark of the computer that submitted it, see `machine`.
    """

    model_config = ConfigDict(frozen=True)

    verb: str
    place: str
    job: str = Field(pattern=r"^\w[\w.-]{0,199}$")
    session: str = Field(pattern=r"^[0-9a-f]{32}$")
    at: float = Field(default_factory=time.time)
    computer: str = Field(default_factory=machine)

    @property
    def trains(self) -> bool:
        """Whether it begins or continues a training."""
        return self.verb in TRAINS

    @property
    def is_from_here(self) -> bool:
        """Whether this computer submitted it, and so may ask about it."""
        return self.computer == machine()

    @property
    def text(self) -> str:
        """What waits where, in a few words."""
        return f"{self.verb} waits on {self.place}, job {self.job}"

    @staticmethod
    def read(folder: RunFolder) -> Submission | None:
        """Find the one that has not ended; None where there is none, or it is damaged.

        Parameters
        ----------
        folder : RunFolder
            Of the run.
        """
        found = _stored(folder)
        if found is None or folder.exit_code(found.session).exists():
            return None
        return found

    def write(self, folder: RunFolder) -> None:
        """Store it in the folder of a run.

        Raises
        ------
        ProjectError
            The folder cannot be written.
        """
        write_json(folder.submitted, self.model_dump())


def close(folder: RunFolder, session: str) -> None:
    """Remove what is noted of a verb that has ended."""
    found = _stored(folder)
    with suppress(OSError):
        if found is not None and found.session == session:
            folder.submitted.unlink(missing_ok=True)
        folder.exit_code(session).unlink(missing_ok=True)


def close_ended(folder: RunFolder, session: str) -> None:
    """Remove what is left of verbs that have ended, but for that of one session."""
    for path in folder.exit_codes():
        if path.stem != session:
            close(folder, path.stem)


def _stored(folder: RunFolder) -> Submission | None:
    path = folder.submitted
    if not path.exists():
        return None
    try:
        return Submission.model_validate(read_json(path))
    except (ProjectError, ValidationError):
        return None
