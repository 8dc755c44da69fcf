"""Encode in the values of a mask which voxels a person has annotated.

While a mask is edited, one array holds everything: a class or background where a
person has annotated, a number of its own for each class that is only proposed, and
255 elsewhere. So every undo step and every draft is complete.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.labels import BACKGROUND, UNANNOTATED, LabelScheme
from napari_semiseg.errors import ConfigError


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
        unused = [v for v in range(UNANNOTATED - 1, 0, -1) if v not in scheme.values]
        if len(unused) < len(scheme):
            raise ConfigError(
                f"expected at most 127 classes to review, found {len(scheme)}; split "
                "the project into two"
            )
        self.values = scheme.values
        self.proposed = dict(zip(scheme.values, unused, strict=False))
        self._is_annotated = np.zeros(256, bool)
        self._is_annotated[[BACKGROUND, *scheme.values]] = True
        self._classes = np.arange(256, dtype=np.uint8)
        self._propose = self._classes.copy()
        self._propose[BACKGROUND] = UNANNOTATED
        for value, code in self.proposed.items():
            self._classes[code] = value
            self._propose[value] = code
        self._confirm = self._classes.copy()
        self._confirm[UNANNOTATED] = BACKGROUND
        self._human = np.where(self._is_annotated, self._classes, UNANNOTATED)
        self._human = self._human.astype(np.uint8)

    def annotated(self, mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Find the voxels that a person has annotated."""
        return self._is_annotated[mask]

    def classes(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Decode classes, annotated or proposed; 255 elsewhere."""
        return self._classes[mask]

    def human(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Decode annotated classes and background; 255 elsewhere."""
        return self._human[mask]

    def confirm(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Decode classes, annotated or proposed; background elsewhere."""
        return self._confirm[mask]

    def propose(self, classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Encode classes as proposed, and background as not annotated."""
        return self._propose[classes]

    def unconfirm(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Encode annotated background as not annotated; classes stay."""
        return np.where(mask == BACKGROUND, np.uint8(UNANNOTATED), mask)

    def fill(
        self, mask: NDArray[np.uint8], classes: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Propose classes where nothing is annotated."""
        return np.where(self.annotated(mask), mask, self.propose(classes))

    def change(
        self, mask: NDArray[np.uint8], classes: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Encode other classes and background; annotated voxels stay annotated."""
        return np.where(self.annotated(mask), classes, self.propose(classes))

    def renew(
        self,
        mask: NDArray[np.uint8],
        classes: NDArray[np.uint8],
        locked: Collection[int] = (),
    ) -> NDArray[np.uint8]:
        """Replace proposals by other classes; annotated and locked voxels stay."""
        own = self.classes(mask)
        fixed = np.isin(own, list(locked)) | np.isin(classes, list(locked))
        return np.where(self.annotated(mask) | fixed, mask, self.propose(classes))

    def count(self, voxels: NDArray[np.int64]) -> dict[int, int]:
        """Sum the voxels of each class, from those of each value (256,)."""
        total = np.zeros(256, np.int64)
        np.add.at(total, self._classes, voxels)
        return {int(v): int(total[v]) for v in np.flatnonzero(total)}
