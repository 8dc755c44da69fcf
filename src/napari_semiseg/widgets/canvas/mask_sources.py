"""Choose which mask of a case is opened, and describe it in words."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.core.labels import UNANNOTATED, is_class
from napari_semiseg.project.cases.history import Labelled
from napari_semiseg.project.cases.record import DOUBTED
from napari_semiseg.widgets.elements.forms import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.core.prediction import Prediction, PredictionRecord
    from napari_semiseg.imaging.mask_encoding import MaskEncoding
    from napari_semiseg.project.cases.case import Case

PALE = 0.4
"""Opacity of a proposal beside that of what a person has annotated."""
UNANNOTATED_COLOUR = (0.45, 0.55, 0.75, 0.25)


class MaskSource(StrEnum):
    """Where the voxels of the mask come from."""

    LABEL = "label"
    DRAFT = "draft"
    PROPOSAL = "proposal"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True, eq=False)
class OpenedMask:
    """A mask to edit.

    Attributes
    ----------
    values : ndarray (Z, Y, X), uint8
        What is shown, as `MaskEncoding` writes it: proposals have values of their own.
    reference : ndarray (Z, Y, X), uint8
        Classes that were there before anybody painted: the accepted label, else
        the proposal, else zeros.
    source : MaskSource
        Where ``values`` come from.
    text : str
        The same in words.
    """

    values: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    source: MaskSource
    text: str


def choose_mask(
    case: Case,
    prediction: Prediction | None,
    encoding: MaskEncoding,
    *,
    drafts: bool = True,
) -> OpenedMask:
    """Choose label, draft, newest prediction or an empty mask, in this order.

    A draft goes before the label: with an acceptance it ceases to be one, so that its
    edits came after the label; without ``drafts`` it is left out. In an empty mask
    nothing is annotated, background neither.
    """
    label = case.read_label()
    reference, text = _before(case, label, prediction)
    source = MaskSource.EMPTY if prediction is None else MaskSource.PROPOSAL
    if label is not None:
        source = MaskSource.LABEL
    values = reference if label is not None else encoding.propose(reference)
    if drafts and (draft := case.read_draft()) is not None:
        values, source = draft, MaskSource.DRAFT
        text = _describe_draft(case, after_label=label is not None)
    return OpenedMask(values.copy(), reference, source, text)


def direct_colours(
    scheme: LabelScheme, encoding: MaskEncoding, *, show_unannotated: bool = True
) -> dict[int | None, Any]:
    """Colours of mask values: pale for proposals, a tint for what is unannotated."""
    colours: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    colours[UNANNOTATED] = UNANNOTATED_COLOUR if show_unannotated else "transparent"
    for item in scheme:
        colours[item.value] = item.colour
        red, green, blue = (int(item.colour[at : at + 2], 16) for at in (1, 3, 5))
        pale = (red / 255, green / 255, blue / 255, PALE)
        colours[encoding.proposed[item.value]] = pale
    return colours


def value_names(scheme: LabelScheme, encoding: MaskEncoding) -> dict[int, str]:
    """Names of mask values for napari's status bar."""
    names = {0: "background", UNANNOTATED: "not annotated"}
    for item in scheme:
        names[item.value] = plain(item.name)
        names[encoding.proposed[item.value]] = plain(f"{item.name}, proposed")
    return names


def largest_slice(values: NDArray[np.uint8]) -> int:
    """Axial slice with the most foreground; the middle one when there is none."""
    counts = np.count_nonzero(is_class(values), axis=(1, 2))
    return int(counts.argmax()) if counts.any() else len(values) // 2


def model_words(record: PredictionRecord) -> str:
    """Which model made a prediction, and when, in words."""
    when = "" if record.at is None else f", {moment(record.at)}"
    return f"{record.run}, step {record.step}{when}"


def proposed_by(record: PredictionRecord) -> str:
    """Describe a mask that is an unedited prediction."""
    return f"Proposed by {model_words(record)}"


def moment(at: float) -> str:
    """Format a Unix time as local day and time."""
    return time.strftime("%d %b %H:%M", time.localtime(at))


def _before(
    case: Case, label: NDArray[np.uint8] | None, prediction: Prediction | None
) -> tuple[NDArray[np.uint8], str]:
    if label is not None:
        return label, _describe_label(case, label)
    if prediction is not None:
        return prediction.labels, proposed_by(prediction.record)
    return np.zeros(case.geometry.shape_zyx, np.uint8), "No label and no prediction yet"


def _describe_label(case: Case, label: NDArray[np.uint8]) -> str:
    last = case.record.last(Labelled)
    by = "" if last is None else f" by {last.by}"
    if case.acceptance in DOUBTED:
        return f"Accepted {case.acceptance}; accept it again once checked"
    slices = sum(bool(plane.min() < UNANNOTATED) for plane in label)
    if slices < len(label):
        return f"Accepted label{by}: {slices} of {len(label)} slices annotated"
    return f"Accepted label{by}"


def _describe_draft(case: Case, *, after_label: bool) -> str:
    saved = moment(case.folder.draft.stat().st_mtime)
    text = f"Draft saved {saved}, not accepted yet"
    return f"{text}; newer than the accepted label" if after_label else text
