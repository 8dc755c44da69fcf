"""Which voxels of a mask a person vouches for, kept in the mask itself.

While a mask is edited, one array holds all there is to know: a class or background
where a person has said so, a class of its own number where it is only proposed, and
255 where nobody has looked. So every undo step, and every draft, is whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.labels import BACKGROUND, UNANNOTATED
from napari_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_semiseg.core.labels import LabelScheme


class MaskEncoding:
    """Values of the voxels of a mask while it is edited.

    Parameters
    ----------
    scheme : LabelScheme
        Classes of the project.

    Attributes
    ----------
    proposed : dict of int to int
        Value of a voxel that is proposed to be of a class, by class. The highest
        values below 255 that are no class, in the order of the classes.

    Raises
    ------
    ConfigError
        More than 127 classes: there are not enough values.
    """

    def __init__(self, scheme: LabelScheme) -> None:
        free = [v for v in range(UNANNOTATED - 1, 0, -1) if v not in scheme.values]
        if len(free) < len(scheme):
            raise ConfigError(
                f"expected at most 127 classes to review, found {len(scheme)}; split "
                "the project into two"
            )
        self.values = scheme.values
        self.proposed = dict(zip(scheme.values, free, strict=False))
        self._is_seen = np.zeros(256, bool)
        self._is_seen[[BACKGROUND, *scheme.values]] = True
        self._classes = np.arange(256, dtype=np.uint8)
        self._propose = self._classes.copy()
        self._propose[BACKGROUND] = UNANNOTATED
        for value, code in self.proposed.items():
            self._classes[code] = value
            self._propose[value] = code
        self._confirm = self._classes.copy()
        self._confirm[UNANNOTATED] = BACKGROUND
        self._human = np.where(self._is_seen, self._classes, UNANNOTATED)
        self._human = self._human.astype(np.uint8)

    def seen(self, marked: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Where a person has said what is there."""
        return self._is_seen[marked]

    def classes(self, marked: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Classes whoever says so; 255 where nothing is known."""
        return self._classes[marked]

    def human(self, marked: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Only what a person has said; 255 elsewhere."""
        return self._human[marked]

    def confirm(self, marked: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Take over all proposals; what is not known is background."""
        return self._confirm[marked]

    def propose(self, classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Mark classes as proposed; background as not looked at."""
        return self._propose[classes]

    def unconfirm(self, marked: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Take back that background was looked at; painted classes stay."""
        return np.where(marked == BACKGROUND, np.uint8(UNANNOTATED), marked)

    def fill(
        self, marked: NDArray[np.uint8], classes: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Propose classes where no person has said anything."""
        return np.where(self.seen(marked), marked, self.propose(classes))

    def change(
        self, marked: NDArray[np.uint8], classes: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Put other classes; whether a person vouches for a voxel stays.

        Parameters
        ----------
        marked : ndarray, uint8
            The mask.
        classes : ndarray, uint8
            What it shall be, in classes and background.
        """
        return np.where(self.seen(marked), classes, self.propose(classes))

    def count(self, voxels: NDArray[np.int64]) -> dict[int, int]:
        """Voxels per class, from those per value (256,)."""
        total = np.zeros(256, np.int64)
        np.add.at(total, self._classes, voxels)
        return {int(v): int(total[v]) for v in np.flatnonzero(total)}
