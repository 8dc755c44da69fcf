"""One volume of the cohort, as ``case.json`` records it."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

LABEL, ACCEPT, REOPEN, VIEW = "label", "accept", "reopen", "view"
"""Actions of a history: a person's mask, a prediction taken as it is, the label taken
back, and time spent on the case without any of these."""
ENDINGS = frozenset({LABEL, ACCEPT, REOPEN})
FLAG, UNFLAG, SKIP = "flag", "unflag", "skip"
"""What a reviewer notes: look twice, no longer, not now."""


class CaseState(StrEnum):
    """Derived from the files of a case; never stored."""

    UNLABELLED = "unlabelled"
    PROPOSED = "proposed"
    DRAFT = "draft"
    PARTIAL = "partial"
    LABELLED = "labelled"
    EXCLUDED = "excluded"


class Split(StrEnum):
    """What a case may be used for. Only ``train`` cases are seen by training."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class HistoryEntry(BaseModel):
    """Who did what to a case, when, and how long it took."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: str
    by: str
    at: float = Field(default_factory=time.time, description="Unix time, s")
    minutes: float | None = None
    details: dict[str, Any] = Field(default_factory=dict)


class ChannelRecord(BaseModel):
    """One image of a case that has several on one grid, such as T1 and FLAIR.

    ``volume`` is its place along the fourth axis of a file that holds several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    image: str
    sha256: str
    volume: int | None = None


class CaseRecord(BaseModel):
    """Contents of ``case.json``.

    ``image`` is relative to the project folder where both share a root, absolute
    otherwise. ``geometry`` is ``Geometry.to_json()``. ``channels`` lists all images
    of a case that has several, the first of which is ``image``; else it is empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    id: str
    image: str
    sha256: str
    channels: tuple[ChannelRecord, ...] = ()
    geometry: dict[str, Any]
    split: Split = Split.TRAIN
    excluded: bool = False
    history: tuple[HistoryEntry, ...] = ()

    @property
    def flag(self) -> str | None:
        """Comment of the flag that somebody has put on the case; None without one."""
        for entry in reversed(self.history):
            if entry.action in (FLAG, UNFLAG):
                return str(entry.details["comment"]) if entry.action == FLAG else None
        return None

    @property
    def put_off(self) -> str | None:
        """Which prediction was skipped in the review; None when none was.

        What was decided about the case since then takes it back.
        """
        for entry in reversed(self.history):
            if entry.action in (SKIP, *ENDINGS):
                return str(entry.details["shown"]) if entry.action == SKIP else None
        return None

    @property
    def accepted_unseen(self) -> bool:
        """Whether the label is a prediction that nobody had open before."""
        last = next((e for e in reversed(self.history) if e.action in ENDINGS), None)
        return (
            last is not None and last.action == ACCEPT and not last.details.get("seen")
        )

    @property
    def several(self) -> tuple[str, ...]:
        """Names of the channels where there are several; else none."""
        names = tuple(channel.name for channel in self.channels)
        return names if len(names) > 1 else ()
