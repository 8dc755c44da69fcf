"""A project with scans of the left atrium's size, masks and predictions, for the panel.

Real scans of the 2018 challenge where SEMISEG_DATA points to them, else ellipsoids of
the same size. The predictions are the masks, moved by two voxels.
"""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.core.prediction import (
    CaseScore,
    Prediction,
    PredictionRecord,
    SliceScore,
)
from napari_semiseg.imaging.distance import truncated_distance
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run

SHAPE = (88, 140, 183)
SPACING_MM = 0.625
NAME = "left atrium"
NOBODY = 2**22 - 1
"""Number of no process."""


def scans(folder: Path, count: int) -> list[tuple[str, Path, np.ndarray]]:
    """Case id, image file and mask (z, y, x) of some scans."""
    real = Path(os.environ.get("SEMISEG_DATA", "")) / "LA"
    if "SEMISEG_DATA" in os.environ and real.is_dir():
        listed = (real / "splits" / "dev_train.list").read_text(encoding="utf-8")
        return [
            (
                name,
                real / "imagesTr" / f"{name}.nii.gz",
                (_read(real / "labelsTr" / f"{name}.nii.gz") > 0).astype(np.uint8),
            )
            for name in listed.split()[:count]
        ]
    return [_ellipsoid(folder, number) for number in range(count)]


def make(folder: Path, *, labelled: int, predicted: int) -> tuple[Project, list[str]]:
    """Make a project; its predicted cases are the last ones.

    Returns
    -------
    Project
        With `labelled` human masks and `predicted` predictions.
    list of str
        Ids of the predicted cases.
    """
    found = scans(folder / "scans", labelled + predicted)
    project = Project.create(folder / "project", {NAME: 1}, name="Left atria")
    project.add(*(image for _, image, _ in found))
    for name, _, mask in found[:labelled]:
        project.set_label(name, mask)
    run = Run.create(project, TrainingConfig(minutes=1))
    run.append(Started(run=run.id, method="supervised", pid=os.getpid()))
    for name, _, mask in found[labelled:]:
        _predict(project, run, name, np.roll(mask, 2, axis=2))
    run.append(Finished(run=run.id, reason="completed", step=1, seconds=60))
    run.claim(NOBODY)  # else this process would be taken for its training
    return project, [name for name, _, _ in found[labelled:]]


def _predict(project: Project, run: Run, name: str, labels: np.ndarray) -> None:
    case = project.case(name)
    spacing = case.geometry.spacing_mm
    sdm = truncated_distance(labels == 1, spacing, 10.0)
    middle = int(np.median(np.flatnonzero(labels.any(axis=(1, 2)))))
    reason = "boundary uncertain"
    slices = tuple(
        SliceScore(axis=0, index=middle + step, score=0.5, reason=reason)
        for step in (0, 10, -10)
    )
    volume = float(labels.sum()) * case.geometry.voxel_ml
    score = CaseScore(
        uncertainty=0.2,
        entropy=0.1,
        gap=0.1,
        volumes_ml={NAME: volume},
        slices=slices,
    )
    record = PredictionRecord(
        case=name,
        run=run.id,
        step=1,
        method="supervised",
        image_sha256=case.record.sha256,
        uncertainty_kind="entropy",
        score=score,
    )
    prediction = Prediction(
        record=record,
        geometry=case.geometry,
        labels=labels,
        sdm_mm=sdm[np.newaxis],
        uncertainty=np.exp(-np.abs(sdm) / 2).astype(np.float32),
    )
    run.write_prediction(prediction, case.image)


def _ellipsoid(folder: Path, number: int) -> tuple[str, Path, np.ndarray]:
    rng = np.random.default_rng(number)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    axes = rng.uniform(0.3, 0.6, 3)
    inside = sum((g / a) ** 2 for g, a in zip(grid, axes, strict=True)) < 1
    image = rng.normal(200, 40, SHAPE) + 150 * inside
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"atrium_{number}.nii.gz"
    affine = np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1.0])
    nibabel.save(nibabel.Nifti1Image(image.astype(np.int16).T, affine), path)
    return f"atrium_{number}", path, inside.astype(np.uint8)


def _read(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj).T
