"""Name the next sensible step, and the state of a training, for the header."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Do(StrEnum):
    """What the button of the header does."""

    CREATE = "create a project"
    ADD = "add images"
    CHECK = "check the project"
    LABEL = "open a case without a label"
    FINISH = "open a draft"
    TRAIN = "show the training"
    PREDICT = "predict the rest"
    REVIEW = "open the first case of the queue"
    SEVERAL = "accept several"
    SLICE = "go to the next doubtful slice"
    PAINT = "paint a slice"
    FILL = "fill between slices"
    REFINE = "refine the prediction"
    APPLY = "use the tool that is open"
    ACCEPT = "accept"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class NextStep:
    """The next sensible step.

    Attributes
    ----------
    do : Do
        What it does.
    text : str
        In words, one line.
    case : str, optional
        The case that it is about.
    key : str
        That does the same.
    elsewhere : bool
        Whether another button does it, which is the blue one then.
    """

    do: Do
    text: str
    case: str | None = None
    key: str = ""
    elsewhere: bool = False


class Phase(StrEnum):
    """What a training does."""

    IDLE = "idle"
    TRAINING = "training"
    PROPOSING = "proposing"
    DONE = "done"
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True)
class TrainingState:
    """How far a training is.

    Attributes
    ----------
    phase : Phase
        What it does.
    text : str
        Time left, or what it waits for, in few words.
    part : float
        Of the work, in [0, 1].
    """

    phase: Phase = Phase.IDLE
    text: str = ""
    part: float = 0.0
