"""Define the events of a run, one JSON line each.

Grammar of a session: ``Started (Staged | Planned | Stepped | Validated |
Checkpointed | Learned | Decided | Pictured | Predicted | Warned)* Finished``. A
resumed run appends a further session to the same log; one without ``Finished`` was
interrupted. Predictions behind ``Finished`` begin with a ``Staged``.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from napari_semiseg.core.text import as_sentence, listed

FinishReason = Literal["completed", "cancelled", "failed"]
NAMED = 3
"""Cases that a sentence names before it only counts."""


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    at: float = Field(default_factory=time.time, description="Unix time, s")

    def to_line(self) -> str:
        """One line of ``events.jsonl``, without the line break."""
        return self.model_dump_json()


class Started(_Event):
    """A session of a run begins (or goes on, when ``step`` > 0).

    ``source`` is the run whose weights it begins with; ``session`` is what started it,
    by a mark that no other has.
    """

    type: Literal["started"] = "started"
    run: str
    method: str
    pid: int
    step: int = 0
    source: str | None = None
    session: str = ""


class Staged(_Event):
    """Work before or after training: preparing the cohort, measuring the speed."""

    type: Literal["staged"] = "staged"
    stage: str
    done: int
    total: int


class Planned(_Event):
    """The plan is made, or its steps are fixed anew to keep the minutes."""

    type: Literal["planned"] = "planned"
    device: str
    steps: int
    seconds_per_step: float
    parameters: int


class Stepped(_Event):
    """Progress of training, at most about twice a second.

    ``losses`` are weighted terms, averaged since the last event; ``gradient_ratio``
    is the gradient of those on unlabelled crops over that of labelled ones,
    ``entropy_ratio`` how much less sure the networks are where nothing is annotated.
    """

    type: Literal["stepped"] = "stepped"
    step: int
    steps: int
    losses: dict[str, float]
    learning_rate: float
    seconds: float
    seconds_left: float
    gradient_ratio: float | None = None
    entropy_ratio: float | None = None


class Validated(_Event):
    """Dice on the validation cases: of each class, and mean of each case."""

    type: Literal["validated"] = "validated"
    step: int
    dice: dict[str, float]
    cases: dict[str, float] = Field(default_factory=dict)


class Checkpointed(_Event):
    """Everything needed to go on from ``step`` is safely on disk."""

    type: Literal["checkpointed"] = "checkpointed"
    step: int


class Learned(_Event):
    """Labels that changed since are learnt from, from ``step`` on.

    Attributes
    ----------
    cases : tuple of str
        Cases with a new or changed label.
    dropped : tuple of str
        Cases whose label is no longer learnt from.
    labelled, unlabelled : int
        Cases in the two streams now; a partly annotated one is in both.
    """

    type: Literal["learned"] = "learned"
    step: int
    cases: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    labelled: int
    unlabelled: int

    @property
    def sentence(self) -> str:
        """The same in words."""
        parts = []
        if self.cases:
            parts.append(f"learns from the new labels of {listed(self.cases, NAMED)}")
        if self.dropped:
            parts.append(f"no longer learns from {listed(self.dropped, NAMED)}")
        what = " and ".join(parts) or "learns from other unlabelled scans"
        return (
            f"From step {self.step} on it {what} "
            f"({self.labelled} labelled, {self.unlabelled} unlabelled)"
        )


class Decided(_Event):
    """By what a training has measured it goes on otherwise, or as before."""

    type: Literal["decided"] = "decided"
    step: int
    message: str

    @property
    def sentence(self) -> str:
        """The message as a sentence."""
        return as_sentence(self.message)


class Pictured(_Event):
    """A picture was stored of how a slice of one scan is segmented by now.

    Attributes
    ----------
    case : str
        The scan, the same one all through a run.
    seconds : float
        Of training over all sessions.
    agreement : float or None
        Dice of the mask around that slice and the one of the picture before, mean over
        the classes in either; None for the first, and where both are empty.
    """

    type: Literal["pictured"] = "pictured"
    step: int
    case: str
    seconds: float
    agreement: float | None = None


class Predicted(_Event):
    """A prediction of a case was stored.

    ``training_step`` is the step of a training that made it on the way; None for
    predictions by a model that was done.
    """

    type: Literal["predicted"] = "predicted"
    case: str
    uncertainty: float
    done: int
    total: int
    training_step: int | None = None

    @property
    def sentence(self) -> str:
        """The same in words."""
        step = self.training_step
        when = "" if step is None else f" at step {step}"
        doubt = f"uncertainty {self.uncertainty:.2f}"
        return f"{self.case} was predicted anew{when} ({doubt})"


class Warned(_Event):
    """Something the user should know that does not stop the run."""

    type: Literal["warned"] = "warned"
    message: str

    @property
    def sentence(self) -> str:
        """The message as a sentence."""
        return as_sentence(self.message)


class Finished(_Event):
    """The session's last event. ``seconds`` of training over all sessions."""

    type: Literal["finished"] = "finished"
    run: str
    reason: FinishReason
    step: int
    seconds: float
    error: str | None = None


Event = Annotated[
    Started
    | Staged
    | Planned
    | Stepped
    | Validated
    | Checkpointed
    | Learned
    | Decided
    | Pictured
    | Predicted
    | Warned
    | Finished,
    Field(discriminator="type"),
]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


def from_line(line: str) -> Event:
    """Inverse of ``to_line``; raises ``ValueError`` on a torn or foreign line."""
    return _ADAPTER.validate_json(line)
