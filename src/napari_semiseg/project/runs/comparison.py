"""Compare the label of a case with the prediction that it was made from."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NotRequired, TypedDict

from napari_semiseg.errors import SemisegError
from napari_semiseg.imaging.metrics import overlap

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.core.prediction import PredictionRecord
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.runs.run import Run


class PredictionFacts(TypedDict):
    """Which prediction a label was made from, for the history."""

    run: str
    step: int
    uncertainty: float | None
    uncertainty_kind: str


class CorrectionFacts(PredictionFacts):
    """What a person made of that prediction."""

    corrective_dice: NotRequired[float]
    corrective_dice_by_class: NotRequired[dict[str, float]]
    changed_voxels: int


def prediction_facts(record: PredictionRecord) -> PredictionFacts:
    """Describe a prediction; its uncertainty counts only where something was found."""
    found = any(record.score.volumes_ml.values())
    return {
        "run": record.run,
        "step": record.step,
        "uncertainty": record.score.uncertainty if found else None,
        "uncertainty_kind": record.uncertainty_kind,
    }


def correction_facts(
    record: PredictionRecord,
    proposed: NDArray[np.uint8],
    accepted: NDArray[np.uint8],
    labels: LabelScheme,
) -> CorrectionFacts:
    """Measure how much a person corrected a prediction.

    Parameters
    ----------
    record : PredictionRecord
        Of the prediction.
    proposed, accepted : ndarray (Z, Y, X), uint8
        Mask of the prediction, and the label; 255 where not annotated.
    labels : LabelScheme
        The classes.
    """
    found = overlap(proposed, accepted, labels)
    return {
        **prediction_facts(record),
        "corrective_dice": round(found.mean_dice, 4),
        "corrective_dice_by_class": {
            name: round(value, 4) for name, value in found.dice.items()
        },
        "changed_voxels": found.changed_voxels,
    }


def stored_correction_facts(
    run: Run | None, case: Case, accepted: NDArray[np.uint8], labels: LabelScheme
) -> CorrectionFacts | None:
    """Compute `correction_facts` for the stored prediction of a run, if any.

    One that cannot be read must not keep anybody from accepting a label.
    """
    if run is not None:
        with suppress(SemisegError, OSError):
            record, proposed = run.read_mask(case, case.geometry)
            return correction_facts(record, proposed, accepted, labels)
    return None
