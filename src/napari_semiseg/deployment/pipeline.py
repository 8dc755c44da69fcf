"""Describe what is done around an exported network, from a file to its mask."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_semiseg.core.config import describe
from napari_semiseg.core.labels import LabelClass
from napari_semiseg.core.plan import Intensity
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.io.atomic import read_json, write_json

FILE = "pipeline.json"
FOLDERS = (".", "configs")
"""Where the file lies in an exported model, and in a bundle of MONAI."""


class Pipeline(BaseModel):
    """Steps from the images of a case to its mask; ``docs/deployment.md`` has them.

    Attributes
    ----------
    project, run, method, step, written_by
        Where the network is from.
    model, model_sha256 : str
        Path of the network beside this file, and its SHA-256.
    input, output : str
        Tensors of the network: window (1, K, z, y, x) to probabilities (1, C, z, y, x).
    axes : str
        Order and directions of the axes.
    channels, intensities
        Names of the K images of a case, and how each is normalised.
    spacing_mm, patch_zyx
        Of the working grid, and size of a window on it.
    overlap, gaussian_sigma : float
        Least overlap of windows, and deviation of their weights, over their size.
    flips : tuple of tuple of int
        Views that are averaged, by their mirrored axes (0 is z).
    adapts : bool
        Whether the network also takes ``own`` and answers ``apart``, scalars both: the
        part that a scan's own statistics have, and how far they are from those of the
        training; see ``docs/deployment.md``.
    single_pieces : tuple of int
        Values of the classes of which a mask has the largest piece alone; voxels
        belong to one piece that touch by a face, an edge or a corner.
    classes : tuple of LabelClass
        Voxel value, name and colour of channels 1 to C - 1; channel 0 is background.
    units : dict
        Of the numbers here and in what the runner reports.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    project: str
    run: str
    method: str
    step: int
    written_by: str
    model: str
    model_sha256: str
    input: Literal["image"] = "image"
    output: Literal["probabilities"] = "probabilities"
    axes: Literal["z to Superior, y to Posterior, x to Left"] = (
        "z to Superior, y to Posterior, x to Left"
    )
    channels: tuple[str, ...]
    intensities: tuple[Intensity, ...]
    spacing_mm: tuple[float, float, float]
    patch_zyx: tuple[int, int, int]
    overlap: float
    gaussian_sigma: float
    flips: tuple[tuple[int, ...], ...]
    adapts: bool = False
    single_pieces: tuple[int, ...] = ()
    classes: tuple[LabelClass, ...]
    units: dict[str, str] = {
        "spacing_mm": "mm",
        "patch_zyx": "voxels of the working grid",
        "volumes": "mL",
    }

    @classmethod
    def read(cls, folder: Path) -> tuple[Self, Path]:
        """Read the pipeline of an exported model; also give the network's path.

        Raises
        ------
        SemisegError
            There is none in the folder, or it is of another version.
        """
        for inner in FOLDERS:
            path = folder / inner / FILE
            if path.is_file():
                try:
                    found = cls.model_validate(read_json(path))
                except ValidationError as error:
                    raise ConfigError(describe(error, str(path))) from error
                return found, path.parent / found.model
        raise ProjectError(
            f"{folder}: expected an exported model with a {FILE}, found none; make it "
            f"with semiseg export-model"
        )

    def write(self, path: Path) -> None:
        """Write the file."""
        write_json(path, self.model_dump(mode="json"))
