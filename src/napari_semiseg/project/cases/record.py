"""Represent the contents of ``case.json``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema
from pydantic_core import core_schema

from napari_semiseg.core.case import Split
from napari_semiseg.core.geometry import Geometry
from napari_semiseg.errors import ImageError
from napari_semiseg.project.cases.history import (
    Accepted,
    Flagged,
    HistoryEntry,
    LabelChange,
    Labelled,
    Reopened,
    Skipped,
    Undone,
    Unflagged,
)

Entry = TypeVar("Entry", bound=BaseModel)

VIEWED_LEAST = 0.5
"""Part of the slices with a structure that verify an untouched mask when shown."""


class Acceptance(StrEnum):
    """What is known of how a label was accepted."""

    SEEN = "seen"
    UNSEEN = "unseen"
    UNVERIFIED = "unverified"


DOUBTED = (Acceptance.UNSEEN, Acceptance.UNVERIFIED)
"""Labels that nobody has verified; shown as "accepted unseen" and so on."""


def acceptance_of(entry: Labelled | Accepted, before: Acceptance | None) -> Acceptance:
    """Judge an acceptance.

    A prediction that nobody had open is accepted unseen. A mask in which nothing was
    changed and of which few slices were viewed is not verified; one that was before
    (``before``: the label that it took the place of) stays so.
    """
    if isinstance(entry, Accepted) and not entry.seen:
        return Acceptance.UNSEEN
    viewed = entry.viewed_fraction
    if entry.changed_voxels or viewed is None or viewed >= VIEWED_LEAST:
        return Acceptance.SEEN
    stays = before is Acceptance.SEEN and isinstance(entry, Labelled)
    return Acceptance.SEEN if stays else Acceptance.UNVERIFIED


def _geometry(values: Any) -> Geometry:
    try:
        return values if isinstance(values, Geometry) else Geometry.from_json(values)
    except ImageError as error:
        raise ValueError(str(error)) from error


StoredGeometry = Annotated[
    Geometry,
    GetPydanticSchema(
        lambda _type, _handler: core_schema.no_info_plain_validator_function(
            _geometry,
            serialization=core_schema.plain_serializer_function_ser_schema(
                Geometry.to_json
            ),
        )
    ),
]


class ChannelRecord(BaseModel):
    """One image of a case.

    Attributes
    ----------
    name : str
        What it shows, such as T1; "image" where it is the only one and has no name.
    image : str
        Relative to the project folder where both share a root, else absolute.
    sha256 : str
        Of the image's bytes.
    volume : int, optional
        Its place along the fourth axis of a file that holds several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    image: str
    sha256: str
    volume: int | None = None


class CaseRecord(BaseModel):
    """Contents of ``case.json``.

    Attributes
    ----------
    id : str
        Name of the case, as its folder is named.
    channels : tuple of ChannelRecord
        All images of the case, on one grid; one as a rule.
    geometry : Geometry
        Grid of the images.
    split : Split
        What the case may be used for.
    excluded : bool
        Whether it is left out of everything.
    history : tuple of HistoryEntry
        What happened to it, oldest first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    id: str
    channels: tuple[ChannelRecord, ...] = Field(min_length=1)
    geometry: StoredGeometry
    split: Split = Split.TRAIN
    excluded: bool = False
    history: tuple[HistoryEntry, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of the first channel's image."""
        return self.channels[0].sha256

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels."""
        return tuple(channel.name for channel in self.channels)

    @property
    def standing(self) -> tuple[HistoryEntry, ...]:
        """The history without those changes of the label that were undone."""
        found: list[HistoryEntry] = []
        for entry in self.history:
            if isinstance(entry, Undone):
                places = (
                    at for at, one in enumerate(found) if isinstance(one, LabelChange)
                )
                if (last := max(places, default=None)) is not None:
                    del found[last]
            found.append(entry)
        return tuple(found)

    def last(self, *kinds: type[Entry]) -> Entry | None:
        """Newest entry of these kinds that stands; None without one."""
        found = (one for one in reversed(self.standing) if isinstance(one, kinds))
        return next(found, None)

    @property
    def flag(self) -> str | None:
        """Comment of the flag of the case; None without one."""
        last = self.last(Flagged, Unflagged)
        return last.comment if isinstance(last, Flagged) else None

    @property
    def skipped_prediction(self) -> str | None:
        """Which prediction was skipped in the review; None when none was.

        What was decided about the case since then takes it back.
        """
        last = self.last(Skipped, Labelled, Accepted, Reopened)
        return last.shown if isinstance(last, Skipped) else None

    @property
    def acceptance(self) -> Acceptance | None:
        """How the label was accepted; None without one that is recorded."""
        found: Acceptance | None = None
        for entry in self.standing:
            if isinstance(entry, Labelled | Accepted):
                found = acceptance_of(entry, found)
            elif isinstance(entry, Reopened):
                found = None
        return found

    def dump(self) -> dict[str, Any]:
        """Plain values for ``case.json``; values that are not known are left out."""
        return self.model_dump(mode="json", exclude_none=True)
