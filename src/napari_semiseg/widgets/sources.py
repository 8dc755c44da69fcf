"""Which mask of a case is opened, and what is said about it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg.core.labels import UNANNOTATED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.project.cases import Case


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
        What is shown.
    reference : ndarray (Z, Y, X), uint8
        What was there before anybody painted: the accepted label, else the
        proposal, else zeros.
    source : MaskSource
        Where ``values`` come from.
    accepted : bool
        Whether ``reference`` is an accepted label.
    text : str
        The same in words.
    """

    values: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    source: MaskSource
    accepted: bool
    text: str


def choose_mask(case: Case, prediction: Prediction | None) -> OpenedMask:
    """Choose label, draft, newest prediction or an empty mask, in this order.

    A draft that is newer than the label wins: it is the label being corrected.
    """
    label = case.read_label()
    reference, text = _before(case, label, prediction)
    source = MaskSource.EMPTY if prediction is None else MaskSource.PROPOSAL
    if label is not None:
        source = MaskSource.LABEL
    values = reference
    if case.has_draft and (label is None or _draft_is_newer(case)):
        draft = case.read_draft()
        if draft is not None:
            values, source = draft, MaskSource.DRAFT
            text = _describe_draft(case, newer=label is not None)
    return OpenedMask(values.copy(), reference, source, label is not None, text)


def corrective_dice(
    proposed: NDArray[np.uint8], accepted: NDArray[np.uint8], scheme: LabelScheme
) -> float:
    """Mean Dice of a proposal and what a person made of it, over the classes.

    Overlap only, unlike `core.metrics`, which would take seconds over distances.
    Voxels that are 255 in ``accepted`` do not count; a class in neither has Dice 1.
    """
    known = accepted != UNANNOTATED
    scores = []
    for value in scheme.values:
        one, other = (proposed == value) & known, accepted == value
        total = np.count_nonzero(one) + np.count_nonzero(other)
        common = np.count_nonzero(one & other)
        scores.append(2 * common / total if total else 1.0)
    return float(np.mean(scores))


def direct_colours(scheme: LabelScheme) -> dict[int | None, Any]:
    """Colours of a mask: named classes, faint grey where nobody has looked."""
    colours: dict[int | None, Any] = {item.value: item.colour for item in scheme}
    return colours | {None: "transparent", 0: "transparent", 255: (0.6, 0.6, 0.7, 0.3)}


def contrast_of(image: NDArray[Any]) -> tuple[float, float]:
    """Grey values between which an image is shown: percentiles 0.5 and 99.5.

    Large volumes are sampled on a coarse grid.
    """
    step = max(1, round((image.size / 4e6) ** (1 / 3)))
    low, high = np.percentile(image[::step, ::step, ::step], (0.5, 99.5))
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1)


def busiest_slice(values: NDArray[np.uint8]) -> int:
    """Axial slice with the most foreground; the middle one when there is none."""
    labelled = (values != 0) & (values != UNANNOTATED)
    counts = np.count_nonzero(labelled, axis=(1, 2))
    return int(counts.argmax()) if counts.any() else len(values) // 2


def _before(
    case: Case, label: NDArray[np.uint8] | None, prediction: Prediction | None
) -> tuple[NDArray[np.uint8], str]:
    if label is not None:
        return label, _describe_label(case, label)
    if prediction is not None:
        return prediction.labels, f"Proposed by {prediction.record.run}"
    return np.zeros(case.geometry.shape_zyx, np.uint8), "Nothing labelled yet"


def _describe_label(case: Case, label: NDArray[np.uint8]) -> str:
    authors = [entry.by for entry in case.record.history if entry.action == "label"]
    by = f" by {authors[-1]}" if authors else ""
    slices = int((label != UNANNOTATED).any(axis=(1, 2)).sum())
    if slices < len(label):
        return f"Accepted label{by}: {slices} of {len(label)} slices annotated"
    return f"Accepted label{by}"


def _describe_draft(case: Case, *, newer: bool) -> str:
    saved = time.localtime(case.folder.draft.stat().st_mtime)
    text = f"Draft saved {time.strftime('%d %b %H:%M', saved)}, not accepted yet"
    return f"{text}; newer than the accepted label" if newer else text


def _draft_is_newer(case: Case) -> bool:
    return case.folder.draft.stat().st_mtime >= case.folder.label.stat().st_mtime
