"""What happened to a case: the entries of its history, one class per action."""

from __future__ import annotations

import getpass
import time
from typing import Annotated, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from napari_semiseg.core.case import Split
from napari_semiseg.project.cases.references import FileFacts

SliceRanges = tuple[tuple[int, int], ...]
"""First and last index of each unbroken row of slices."""


def user_name() -> str:
    """Name of the user of this computer, as the system knows it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MaskFacts(_Value):
    """A label by its annotation and its file.

    Attributes
    ----------
    annotated_fraction : float or None
        Part of the voxels that is not 255; None where the write was interrupted.
    file : FileFacts or None
        Of the label's file, by which it is identified.
    done_slices : tuple of SliceRanges or None
        Slices without 255 along z, y and x; None where the mask is whole.
    """

    annotated_fraction: float | None = None
    file: FileFacts | None = None
    done_slices: tuple[SliceRanges, SliceRanges, SliceRanges] | None = None


class Replaced(_Value):
    """Names in ``previous`` of the label and the draft that a change took away."""

    label: str | None = None
    draft: str | None = None


class Comparison(_Value):
    """A label compared with the prediction that it was made from.

    Attributes
    ----------
    run, step : str and int, or None
        The model that made the prediction; None without one.
    uncertainty, uncertainty_kind : float and str, or None
        Of the prediction, see `CaseScore`; None where nothing had been predicted.
    corrective_dice : float or None
        Prediction before against label after, mean over the classes, in [0, 1].
    corrective_dice_by_class : dict of str to float
        The same per class.
    changed_voxels : int or None
        Voxels of which the class was changed.
    """

    run: str | None = None
    step: int | None = None
    uncertainty: float | None = None
    uncertainty_kind: str | None = None
    corrective_dice: float | None = None
    corrective_dice_by_class: dict[str, float] = Field(default_factory=dict)
    changed_voxels: int | None = None


class _Entry(_Value):
    """Who did it, when (Unix time, s), and how many active minutes it took.

    ``remarks`` are values of format 1 that have no field; nothing reads them.
    """

    by: str = Field(default_factory=user_name)
    at: float = Field(default_factory=time.time)
    minutes: float | None = None
    remarks: dict[str, JsonValue] | None = None


class Added(_Entry):
    """The image was added; ``files`` has one entry per channel."""

    action: Literal["add"] = "add"
    files: tuple[FileFacts, ...] = ()
    notes: tuple[str, ...] = ()


class Relocated(_Entry):
    """The image was found again at ``image``."""

    action: Literal["relocate"] = "relocate"
    image: str


class SplitChanged(_Entry):
    """The case may be used for ``split`` from now on."""

    action: Literal["split"] = "split"
    split: Split


class Excluded(_Entry):
    """The case was taken out of training, prediction and scores."""

    action: Literal["exclude"] = "exclude"


class Included(_Entry):
    """The case was taken in again."""

    action: Literal["include"] = "include"


class Labelled(_Entry, MaskFacts, Comparison):
    """A person's mask became the label.

    Attributes
    ----------
    seen : bool
        Whether the person had the case open in the viewer.
    seen_fraction : float or None
        Part that was annotated by hand, in [0, 1].
    viewed_fraction : float or None
        Part of the slices with a structure that was shown, in [0, 1], in the plane
        of which most was; None where it is not known.
    replaced : Replaced or None
        What `undo` brings back; None in records of earlier versions.
    mask : str or None
        File that the mask came from.
    resampled : {"nearest"} or None
        How it was brought onto the grid of the image.
    """

    action: Literal["label"] = "label"
    annotated_fraction: float = 1.0
    seen: bool = False
    seen_fraction: float | None = None
    viewed_fraction: float | None = None
    mask: str | None = None
    resampled: Literal["nearest"] | None = None
    replaced: Replaced | None = None


class LabelDetails(TypedDict, total=False):
    """What a caller knows of a label, see `Labelled`."""

    seen: bool
    seen_fraction: float
    viewed_fraction: float
    changed_voxels: int
    mask: str
    resampled: Literal["nearest"]


class Accepted(_Entry, MaskFacts, Comparison):
    """A prediction of ``method`` became the label as it is.

    ``seen``: whether a person had it open, or declared to have looked at it;
    ``viewed_fraction`` and ``replaced`` as in `Labelled`.
    """

    action: Literal["accept"] = "accept"
    method: str | None = None
    seen: bool = False
    viewed_fraction: float | None = None
    replaced: Replaced | None = None


class Reopened(_Entry):
    """The label was taken back."""

    action: Literal["reopen"] = "reopen"
    replaced: Replaced | None = None


class Undone(_Entry):
    """The newest `LabelChange` that stood was undone; ``minutes`` are those of it."""

    action: Literal["undo"] = "undo"


class Viewed(_Entry):
    """The case was open with a prediction, and nothing was accepted.

    ``viewed_fraction`` as in `Labelled`.
    """

    action: Literal["view"] = "view"
    viewed_fraction: float | None = None
    run: str | None = None
    step: int | None = None


class Flagged(_Entry):
    """The case was marked for a second look."""

    action: Literal["flag"] = "flag"
    comment: str


class Unflagged(_Entry):
    """The flag was taken away."""

    action: Literal["unflag"] = "unflag"


class Skipped(_Entry):
    """The case was put off; ``shown`` is run and step of its prediction."""

    action: Literal["skip"] = "skip"
    shown: str


class Proposed(_Entry):
    """Another program's mask was taken as a proposal, into a run.

    ``version`` is what the program says of itself, where it does.
    """

    action: Literal["propose"] = "propose"
    run: str
    command: str
    version: str | None = None


class SecondRead(_Entry):
    """A mask of a further reader was stored beside the label; ``mask`` is its file."""

    action: Literal["read"] = "read"
    reader: str
    mask: str


class Mark(_Value):
    """One prompt: a point, a stroke or a box, by the z, y, x of its voxels in turn."""

    kind: Literal["point", "scribble", "box"]
    foreground: bool = True
    voxels: tuple[int, ...]


class Prompted(_Entry):
    """An assistant proposed the class ``value`` from marks of a person."""

    action: Literal["prompt"] = "prompt"
    value: int
    assistant: str
    marks: tuple[Mark, ...]


class Remarked(_Entry):
    """An action that this version does not know, kept from format 1."""

    action: Literal["remark"] = "remark"


HistoryEntry = Annotated[
    Added
    | Relocated
    | SplitChanged
    | Excluded
    | Included
    | Labelled
    | Accepted
    | Reopened
    | Undone
    | Viewed
    | Flagged
    | Unflagged
    | Skipped
    | Proposed
    | Prompted
    | SecondRead
    | Remarked,
    Field(discriminator="action"),
]

LabelChange = Labelled | Accepted | Reopened
"""Entries after which a case has another label than before."""
