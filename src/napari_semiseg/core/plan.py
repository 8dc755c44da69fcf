"""Define the plan of a training: what the engine decides before the first step."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_semiseg.core.config import DEFAULT_ARCHITECTURE, Optimiser, Precision


class Intensity(BaseModel):
    """How the grey values of one channel are cut and scaled.

    Attributes
    ----------
    kind : {"central", "zscore", "ct"}
        Mean and deviation of each volume, where "central" weighs its middle more, or
        the same for all volumes. Plans are made with "central" or "ct".
    cut : tuple of float
        Lowest and highest value: grey values for "ct", else percentiles.
    mean_std : tuple of float
        Of the cohort's objects; for "ct" only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["central", "zscore", "ct"]
    cut: tuple[float, float]
    mean_std: tuple[float, float]

    @property
    def calibrated(self) -> bool:
        """Whether a grey value means the same in every volume."""
        return self.kind == "ct"


class Plan(BaseModel):
    """Everything the engine decided before the first step; obeyed afterwards.

    Attributes
    ----------
    spacing_mm, patch_zyx
        Working voxel size (z, y, x) in mm, and crop size in working voxels.
    strides, kernels, width, architecture
        Of the network: strides between levels, sizes of the convolutions at each where
        not all are (3, 3, 3), feature maps at the finest level, name.
    labelled_batch, unlabelled_batch
        Crops of labelled and unlabelled volumes per step.
    sdm_limit_mm : float
        Distance at which signed distance maps are cut, mm.
    channels : tuple of str
        Names of the images of a case.
    intensities : tuple of Intensity
        Normalisation of each channel.
    classes : tuple of int
        Values of the project's classes.
    mirrored : bool
        Whether left and right may be exchanged.
    single_pieces : tuple of int
        Values of the classes of which a prediction has the largest piece alone.
    optimiser, learning_rate
        What moves the weights, and the peak of its schedule; "sgd" where a plan was
        made before there was another one.
    training_seconds : float
        What the steps shall take, which are fixed anew at a few set points for that;
        0 where their number was asked for.
    reasons : dict
        A sentence per decision.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spacing_mm: tuple[float, float, float]
    patch_zyx: tuple[int, int, int]
    strides: tuple[tuple[int, int, int], ...]
    kernels: tuple[tuple[int, int, int], ...] = ()
    width: int
    architecture: str = DEFAULT_ARCHITECTURE
    labelled_batch: int
    unlabelled_batch: int
    sdm_limit_mm: float
    channels: tuple[str, ...] = Field(min_length=1)
    intensities: tuple[Intensity, ...] = Field(min_length=1)
    classes: tuple[int, ...] = ()
    mirrored: bool = True
    single_pieces: tuple[int, ...] = ()
    device: str
    precision: Precision
    threads: int
    optimiser: Optimiser = "sgd"
    learning_rate: float
    steps: int
    training_seconds: float = 0.0
    validate_every: int
    reasons: dict[str, str]

    @model_validator(mode="after")
    def _one_intensity_a_channel(self) -> Self:
        if len(self.channels) != len(self.intensities):
            raise ValueError(
                f"expected one intensity for each of {len(self.channels)} channels, "
                f"found {len(self.intensities)}"
            )
        return self
