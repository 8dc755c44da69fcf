"""A tiny cohort of bright balls, and a way to see that nothing changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.runs.run import Run

SIZE = 24


@dataclass(frozen=True)
class Spheres:
    """Files of a cohort: ``images`` and ``masks`` hold ``case_0.nii.gz`` and so on."""

    images: Path
    masks: Path
    ids: tuple[str, ...]


def ball(number: int) -> np.ndarray:
    """Mask (i, j, k) of a ball that lies elsewhere in every case."""
    grid = np.indices((SIZE, SIZE, SIZE)) - np.array(
        [11 + number, 12, 11], dtype=float
    ).reshape(3, 1, 1, 1)
    return (np.linalg.norm(grid, axis=0) < 6).astype(np.uint8)


def save_nifti(path: Path, data: np.ndarray, shift: float = 0.0) -> Path:
    """Write (i, j, k) data with voxels of 1 x 1 x 2 mm; the first axis grows to L."""
    import nibabel as nib

    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = [10.0 + shift, -5.0, 3.0]
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files below a folder but locks, with their contents, and all folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"dir"
        for path in sorted(folder.rglob("*"))
        if path.name != ".lock"
    }


def prediction_of(
    run: Run,
    case: Case,
    labels: np.ndarray,
    *,
    sdm_mm: np.ndarray | float = 1.0,
    doubt: np.ndarray | float = 0.3,
    step: int = 5,
    method: str = "ug_mcl",
    kind: str = "entropy",
    **score: Any,
) -> Prediction:
    """What a run might have said of a case: a mask (Z, Y, X), its maps and scores."""
    from napari_semiseg.core.prediction import (
        CaseScore,
        Prediction,
        PredictionRecord,
    )

    values = {"uncertainty": 0.3, "entropy": 0.1, "gap": 0.1, "volumes_ml": {}}
    record = PredictionRecord(
        case=case.id,
        run=run.id,
        step=step,
        method=method,
        image_sha256=case.record.sha256,
        uncertainty_kind=kind,
        score=CaseScore(**{"slices": ()} | values | score),
    )
    maps = (
        np.broadcast_to(np.asarray(one, np.float32), labels.shape).copy()
        for one in (sdm_mm, doubt)
    )
    distance, uncertainty = maps
    return Prediction(record, case.geometry, labels, distance[np.newaxis], uncertainty)
