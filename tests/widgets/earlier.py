"""What a model of yesterday says of real scans: their masks, bent by some mm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel
import numpy as np

from napari_semiseg.core.boxes import others
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.core.prediction import Prediction, SliceScore
from napari_semiseg.imaging.distance import truncated_distance
from napari_semiseg.project.runs.run import Run
from synthetic import prediction_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project

REACH_MM = 12.0
WAVES = (0.2, 0.05, 0.06)
WORST = 4


def reference_of(case: Case, masks: Path) -> NDArray[np.uint8]:
    """Reference mask of a case, (z, y, x)."""
    stored = np.asarray(nibabel.load(masks / f"{case.id}.nii.gz").dataobj)
    return np.ascontiguousarray(case.geometry.to_canonical(stored > 0), np.uint8)


def earlier_model(project: Project, masks: Path, off_mm: Mapping[str, float]) -> Run:
    """Store predictions by a run that has ended.

    Parameters
    ----------
    project : Project
        With one class.
    masks : Path
        Folder of the reference masks.
    off_mm : mapping of str to float
        How far the predicted surface is off, mm at most, by case.
    """
    run = Run.create(project, TrainingConfig(method="supervised", minutes=20))
    run.append(Started(run=run.id, method="supervised", pid=1))
    for name, off in off_mm.items():
        case = project.case(name)
        run.write_prediction(
            _bent(run, case, reference_of(case, masks), off), case.image
        )
    run.append(Finished(run=run.id, reason="completed", step=900, seconds=1200))
    run.folder.pid.unlink()  # this process is not the one that trained
    return run


def _bent(run: Run, case: Case, mask: NDArray[np.uint8], off: float) -> Prediction:
    sdm = truncated_distance(mask == 1, case.geometry.spacing_mm, REACH_MM)
    z, y, x = (
        np.sin(wave * np.arange(size, dtype=np.float32)).reshape(shape)
        for wave, size, shape in zip(
            WAVES, mask.shape, ((-1, 1, 1), (-1, 1), (-1,)), strict=True
        )
    )
    near = np.abs(sdm) < REACH_MM
    sdm[near] += (off * z * (y + x))[near]
    labels = (sdm < 0).astype(np.uint8)
    doubt = np.exp(-np.abs(sdm) / (1 + off)) * (0.5 + 0.5 * np.abs(z))
    doubt[~near] = 0
    shell = np.abs(sdm) < 3
    slices = tuple(item for axis in (0, 1) for item in _worst(doubt, shell, axis))
    return prediction_of(
        run,
        case,
        labels,
        sdm_mm=sdm,
        doubt=doubt,
        step=900,
        method="supervised",
        uncertainty=float(doubt[shell].mean()),
        entropy=float(doubt[shell].mean()) / 2,
        gap=1 / (10 + off),
        volumes_ml={"left atrium": float(labels.sum()) * case.geometry.voxel_ml},
        slices=tuple(sorted(slices, key=lambda item: -item.score)),
    )


def _worst(
    doubt: NDArray[np.float32], shell: NDArray[np.bool_], axis: int
) -> list[SliceScore]:
    across = others(axis)
    size = shell.sum(axis=across)
    means = np.where(shell, doubt, 0).sum(axis=across) / np.maximum(size, 1)
    means[size < size.max() / 4] = 0
    return [
        SliceScore(
            axis=axis,
            index=int(index),
            score=float(means[index]),
            reason="boundary uncertain",
        )
        for index in np.argsort(-means)[:WORST]
    ]
