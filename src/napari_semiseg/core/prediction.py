"""Hold the prediction of one case, on the case's own grid, and its scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from napari_semiseg.core.geometry import Geometry

LOWEST_LOG = -8.0
"""Natural logarithm of the least probability that `FeatureMaps` tell from 0."""
LARGE = 50_000_000
"""Voxels from which on a volume is large."""


class SliceScore(BaseModel):
    """How doubtful one slice is. ``axis`` 0, 1, 2 is z, y, x; ``index`` a voxel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    axis: int
    index: int
    score: float
    reason: str


class ClassScore(BaseModel):
    """How doubtful one structure of a case is, in [0, 1].

    Attributes
    ----------
    entropy : float
        Dice that the structure would lose if the normalised entropy were the chance
        of an error.
    slices : tuple of SliceScore
        The slices of each plane in which that structure is most doubtful.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    entropy: float
    slices: tuple[SliceScore, ...] = ()


class CaseScore(BaseModel):
    """Numbers that rank volumes and slices for review, all in [0, 1] but volumes.

    None of them grows with the field of view.

    Attributes
    ----------
    uncertainty : float
        Dice that would be lost if the stored uncertainty map were the chance of an
        error; 1 where nothing was predicted, and that not for certain.
    entropy, gap : float
        The same by the normalised entropy of the probabilities, and by the gap
        between segmentation and distance head.
    volumes_ml : dict
        Predicted volume per class name, mL.
    slices : tuple of SliceScore
        The most doubtful slices of each plane, worst first.
    gap_slices : tuple of SliceScore
        Those in which segmentation and distance disagree most.
    classes : dict
        Doubt per structure that was predicted, by its name.
    features : tuple of float
        Of the averaged network's encoder for the predicted structures: its coarsest
        feature maps, averaged over the scan with the foreground weighing
        most. Comparable between predictions of one model; empty where a network has
        no encoder of that kind.
    reach : tuple of (int, int), optional
        First and last voxel along z, y and x of what was predicted, of any class;
        empty where nothing was. None in records of earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uncertainty: float
    entropy: float
    gap: float
    volumes_ml: dict[str, float]
    slices: tuple[SliceScore, ...]
    gap_slices: tuple[SliceScore, ...] = ()
    classes: dict[str, ClassScore] = Field(default_factory=dict)
    features: tuple[float, ...] = ()
    reach: tuple[tuple[int, int], ...] | None = None


class PredictionRecord(BaseModel):
    """``prediction.json``: model, image and time (Unix time, s) of a prediction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    run: str
    step: int
    method: str
    image_sha256: str
    uncertainty_kind: str
    score: CaseScore
    at: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMaps:
    """What the network computed on its way to a prediction, in 8 bits.

    Corrections spread by it (`imaging.refinement`).

    Attributes
    ----------
    log_probabilities : ndarray (C, Z, Y, X), uint8
        Of background and each class, from `LOWEST_LOG` (0) to ln 1 (255), on the
        working grid, or a coarser one for large volumes; it covers the same box of
        space as the case's own grid.
    levels : tuple of ndarray (F, z, y, x), uint8
        Maps of each level of the decoder; the range of each map is its own.
    strides : tuple of (z, y, x)
        Voxels of ``log_probabilities`` per voxel of each level.
    """

    log_probabilities: NDArray[np.uint8]
    levels: tuple[NDArray[np.uint8], ...] = ()
    strides: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """A prediction: viewing and export never resample it.

    Attributes
    ----------
    record : PredictionRecord
        Provenance and scores.
    geometry : Geometry
        The case's own grid.
    labels : ndarray (Z, Y, X), uint8
        Values of the project's label scheme; 0 is background.
    sdm_mm : ndarray (K, Z, Y, X), float32, or float16 for large volumes
        Signed distance in mm per foreground class, negative inside.
    uncertainty : ndarray (Z, Y, X), as ``sdm_mm``
        In [0, 1]; 0 is certain.
    feature_maps : FeatureMaps, optional
        Where they are wanted; a prediction that is read lacks them, see
        `Run.read_feature_maps`.
    """

    record: PredictionRecord
    geometry: Geometry
    labels: NDArray[np.uint8]
    sdm_mm: NDArray[np.floating]
    uncertainty: NDArray[np.floating]
    feature_maps: FeatureMaps | None = None


def map_dtype(shape: Sequence[int]) -> type[np.floating]:
    """Type in which the maps of a volume of this shape are held.

    Half precision, which is as fine as what is stored, for more than `LARGE` voxels.
    """
    return np.float16 if math.prod(shape) > LARGE else np.float32
