"""Score slices by how much a label contradicts a model that has not seen it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_semiseg.core.boxes import others
from napari_semiseg.core.config import describe
from napari_semiseg.core.labels import BACKGROUND, UNANNOTATED
from napari_semiseg.core.prediction import SliceScore
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import read_json, write_json
from napari_semiseg.project.cases.references import FileFacts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project

LEAST = 0.01
"""Score below which a slice is not named."""
AROUND = 15
"""Slices about each whose median doubt is taken for the model's own failure."""
FAILURE = 0.5
"""Most that is: a label that is wrong throughout is named all the same."""
MISSING, BEYOND, SWAPPED = (
    "part of a structure may be missing",
    "more is labelled than seems to be there",
    "structures may be swapped",
)


class AuditedLabel(BaseModel):
    """Slices of a label, the most doubtful first; ``file`` is the label they are of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: FileFacts
    slices: tuple[SliceScore, ...]


class LabelAudit(BaseModel):
    """``audit.json``: the newest audit of all labels, by the id of the case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: dict[str, AuditedLabel] = Field(default_factory=dict)

    @classmethod
    def read(cls, project: Project) -> LabelAudit:
        """Read the audit of a project; an empty one where there is none."""
        path = project.layout.audit
        if not path.exists():
            return cls()
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            advice = "delete it and audit again"
            raise ProjectError(f"{describe(error, str(path))}; {advice}") from error

    def write(self, project: Project) -> None:
        """Store it in the project."""
        write_json(project.layout.audit, self.model_dump(mode="json"))

    def slices(self, case: Case) -> tuple[SliceScore, ...]:
        """Slices to check of a case; none where its label has changed since."""
        found = self.cases.get(case.id)
        if found is None or not case.has_label:
            return ()
        return found.slices if found.file == FileFacts.of(case.folder.label) else ()


def audit_folder(project: Project) -> Path:
    """Where the trainings of an audit lie by default, beside the project."""
    return project.folder.with_name(f"{project.folder.name}_audit")


def doubtful_slices(
    label: NDArray[np.uint8], prediction: Prediction
) -> tuple[SliceScore, ...]:
    """Rank the slices of a label by what a prediction is certain is otherwise.

    Parameters
    ----------
    label : ndarray (Z, Y, X)
        With 255 where not annotated; that does not count.
    prediction : Prediction
        Of a model that was trained without this label.

    Returns
    -------
    tuple of SliceScore
        In the plane with the finest pixels. The score is the sum of 1 - uncertainty
        over the pixels of another class, over the pixels of the largest cross-section
        of label and prediction, less the median of the slices around, up to `FAILURE`:
        a model that has failed to learn a structure contradicts many in a row.
    """
    from scipy.ndimage import median_filter

    mask, axis = prediction.labels, prediction.geometry.slice_axis
    along = others(axis)
    known = label != UNANNOTATED
    certain = np.where(known & (label != mask), 1 - prediction.uncertainty, 0)
    kinds = {
        MISSING: label == BACKGROUND,
        BEYOND: mask == BACKGROUND,
        SWAPPED: (label != BACKGROUND) & (mask != BACKGROUND),
    }
    sums = np.array([(certain * kind).sum(axis=along) for kind in kinds.values()])
    drawn = known & ((label != BACKGROUND) | (mask != BACKGROUND))
    scores = sums.sum(axis=0) / max(int(drawn.sum(axis=along).max()), 1)
    around = median_filter(scores, AROUND, mode="nearest")
    scores -= np.minimum(around, FAILURE)
    reasons = list(kinds)
    return tuple(
        SliceScore(
            axis=axis,
            index=int(index),
            score=float(scores[index]),
            reason=reasons[int(sums[:, index].argmax())],
        )
        for index in np.argsort(-scores, kind="stable")
        if scores[index] >= LEAST
    )
