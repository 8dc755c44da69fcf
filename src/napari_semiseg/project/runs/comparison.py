"""Compare the label of a case with the prediction that it was made from."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from napari_semiseg.errors import ImageError, SemisegError
from napari_semiseg.imaging.metrics import overlap
from napari_semiseg.project.cases.history import Comparison

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.core.prediction import PredictionRecord
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.runs.run import Run


def describe_prediction(record: PredictionRecord) -> Comparison:
    """Describe a prediction; its uncertainty counts only where something was found."""
    found = any(record.score.volumes_ml.values())
    return Comparison(
        run=record.run,
        step=record.step,
        uncertainty=record.score.uncertainty if found else None,
        uncertainty_kind=record.uncertainty_kind,
    )


def compare(
    record: PredictionRecord,
    proposed: NDArray[np.uint8],
    accepted: NDArray[np.uint8],
    labels: LabelScheme,
) -> Comparison:
    """Measure how much a person corrected a prediction, if it is of the same classes.

    Parameters
    ----------
    record : PredictionRecord
        Of the prediction.
    proposed, accepted : ndarray (Z, Y, X), uint8
        Mask of the prediction, and the label; 255 where not annotated.
    labels : LabelScheme
        The classes.
    """
    try:
        labels.check(proposed, f"prediction of {record.case}")
    except ImageError:
        return describe_prediction(record)
    found = overlap(proposed, accepted, labels)
    return describe_prediction(record).model_copy(
        update={
            "corrective_dice": round(found.mean_dice, 4),
            "corrective_dice_by_class": {
                name: round(value, 4) for name, value in found.dice.items()
            },
            "changed_voxels": found.changed_voxels,
        }
    )


def compare_stored(
    run: Run | None, case: Case, accepted: NDArray[np.uint8], labels: LabelScheme
) -> Comparison:
    """Compare with the stored prediction of a run, if there is one.

    One that cannot be read must not keep anybody from accepting a label.
    """
    if run is not None:
        with suppress(SemisegError, OSError):
            record, proposed = run.read_mask(case, case.geometry)
            return compare(record, proposed, accepted, labels)
    return Comparison()
