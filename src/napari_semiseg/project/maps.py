"""The files of a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.io.atomic import write_json
from napari_semiseg.io.masks import write_labels, write_map

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.project.layout import PredictionFolder


def write_maps(
    prediction: Prediction,
    image: Path,
    folder: PredictionFolder,
    heed: Callable[[], None],
) -> None:
    """Write a prediction into a folder that nobody reads yet.

    Distances are stored in 32,767 steps to the furthest, uncertainties in 255.

    Parameters
    ----------
    prediction : Prediction
        On the grid of the case.
    image : Path
        The case's image, whose header the files are written onto.
    folder : PredictionFolder
        Where.
    heed : callable
        Called before each file; what it raises ends the writing.
    """
    geometry = prediction.geometry
    sdm = prediction.sdm_mm
    heed()
    furthest = float(max(sdm.max(initial=0.0), -sdm.min(initial=0.0)))
    write_labels(folder.labels, prediction.labels, geometry, image)
    heed()
    write_map(
        folder.sdm,
        sdm,
        geometry,
        image,
        slope=(furthest or 1.0) / np.iinfo(np.int16).max,
        dtype=np.int16,
    )
    heed()
    write_map(
        folder.uncertainty,
        prediction.uncertainty,
        geometry,
        image,
        slope=1 / np.iinfo(np.uint8).max,
        dtype=np.uint8,
    )
    write_json(folder.json, prediction.record.model_dump(mode="json"))
