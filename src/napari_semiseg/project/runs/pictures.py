"""Read and write how a slice of one scan was segmented in the course of a training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_semiseg.io.atomic import atomic_path
from napari_semiseg.project.runs.predictions import DAMAGED

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """An axial slice on the working grid, and its mask at some steps, oldest first.

    Attributes
    ----------
    case : str
        The scan.
    index : int
        The slice, on the case's own grid.
    spacing_mm : (float, float)
        Of rows and columns.
    image : ndarray (Y, X), uint8
        Grey values.
    masks : ndarray (N, Y, X), uint8
        Values of the project's label scheme.
    steps, seconds : tuple
        Of training at each mask.
    around : ndarray (Z, Y, X), uint8
        The newest mask of the slices around it as well.
    spent : float
        Seconds that all of this has taken.
    """

    case: str
    index: int
    spacing_mm: tuple[float, float]
    image: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    around: NDArray[np.uint8]
    spent: float = 0.0

    def until(self, step: int) -> Self:
        """Leave out what was made after a step."""
        kept = sum(known <= step for known in self.steps)
        return replace(
            self,
            masks=self.masks[:kept],
            steps=self.steps[:kept],
            seconds=self.seconds[:kept],
        )

    def three(self) -> tuple[int, ...]:
        """Positions of the first mask, one from half-way and the newest."""
        last = len(self.steps) - 1
        half = np.abs(np.array(self.steps) - self.steps[-1] / 2)
        return tuple(sorted({0, int(half.argmin()), last}))

    def write(self, path: Path) -> None:
        """Store them in one file.

        Raises
        ------
        ProjectError
            It cannot be written.
        """
        values = {name: getattr(self, name) for name in self.__slots__}
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **values)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read what was stored; None where there is nothing that can be used."""
        try:
            with (
                path.open("rb") as file,
                np.load(file, allow_pickle=False) as stored,
            ):
                found: dict[str, Any] = {name: stored[name] for name in cls.__slots__}
            for name in ("case", "index", "spent"):
                found[name] = found[name].item()
            for name in ("spacing_mm", "steps", "seconds"):
                found[name] = tuple(found[name].tolist())
            made = cls(**found)
        except (*DAMAGED, OSError):
            return None
        whole = made.masks.shape == (len(made.steps), *made.image.shape)
        return made if whole and made.image.ndim == 2 and made.steps else None
