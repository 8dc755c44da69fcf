"""Propose masks by registering the labelled scans to a scan without a label."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.text import count, with_version
from napari_semiseg.errors import ImageError, ProjectError
from napari_semiseg.imaging.resampling import slabs
from napari_semiseg.imaging.volume_registration import CoarseScan, register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_semiseg.core.cancellation import CancellationToken
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

MOST_SCANS = 10
"""Labelled scans that are registered; more take longer and add little."""
NEAR_VOXELS = 3.0
"""Deviation of the surroundings in which scans are compared."""
LEAST = 1e-6
"""Weight of a scan that looks otherwise."""


class AtlasSource:
    """Labelled scans that vote, each where it looks like the scan after registration.

    Multi-atlas segmentation with local weights (Artaechevarria et al., IEEE Trans. Med.
    Imaging 2009) of the first `MOST_SCANS` training cases with a whole label, by id.
    After some seconds those vote that are registered by then, one at least; scans that
    cannot be registered do not vote.
    """

    tool = "atlas"

    def __init__(self, project: Project, seconds: float) -> None:
        whole = project.cases(split=Split.TRAIN, state=CaseState.LABELLED)
        self._cases = [case for case in whole if case.human_verified][:MOST_SCANS]
        if not self._cases:
            raise ProjectError(
                "expected training cases with a whole label to register, found none; "
                "label one, or attach masks with 'semiseg label'"
            )
        self._seconds = seconds
        self._atlases: dict[str, CoarseScan] = {}
        self._values = (0, *project.labels.values)
        self.text = f"{count(len(self._cases), 'labelled scan')}, registered"

    def version(self) -> str | None:
        """Say which version of SimpleITK registers."""
        return with_version("SimpleITK")

    def labels(
        self,
        case: Case,
        _run: Run,
        _structures: Mapping[str, int],
        cancellation: CancellationToken,
    ) -> NDArray[np.uint8]:
        """Register the labelled scans to a case, and let them vote."""
        start = time.monotonic()
        others = [atlas for atlas in self._cases if atlas.id != case.id]
        if not others:
            raise ProjectError("expected another scan with a label, found none")
        scan = case.read_image()
        fixed = CoarseScan.of(scan.data, case.geometry.spacing_mm)
        votes = np.zeros((len(self._values), *fixed.image.shape), np.float32)
        voters, problem = 0, None
        for atlas in others:
            cancellation.check()
            if voters and time.monotonic() - start > self._seconds:
                break
            try:
                grey, shares = register(fixed, self._coarse(atlas))
            except ImageError as error:
                problem = error
                continue
            votes += shares * _likeness(grey, fixed.image)
            voters += 1
        if problem is not None and not voters:
            raise problem
        votes[0] += LEAST  # what lies beyond all labelled scans is background
        values = np.array(self._values, np.uint8)
        found = np.empty(case.geometry.shape_zyx, np.uint8)
        for planes, part in slabs([votes], votes.shape[1], found.shape):
            found[planes] = values[part.argmax(axis=0)]
        return found

    def _coarse(self, atlas: Case) -> CoarseScan:
        """Read a labelled scan when it is needed first."""
        if atlas.id not in self._atlases:
            labels, image = atlas.read_label(), atlas.read_image().data
            assert labels is not None  # the cases are those with a label
            masks = (labels == value for value in self._values)
            spacing_mm = atlas.geometry.spacing_mm
            self._atlases[atlas.id] = CoarseScan.of(image, spacing_mm, masks)
        return self._atlases[atlas.id]


def _likeness(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weight of a vote: the fourth power of the correlation around a voxel."""

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(ndimage.gaussian_filter(values, NEAR_VOXELS))

    centres = mean(first), mean(second)
    spread = [
        np.maximum(mean(image**2) - centre**2, LEAST)
        for image, centre in zip((first, second), centres, strict=True)
    ]
    together = mean(first * second) - centres[0] * centres[1]
    correlation = together / np.sqrt(spread[0] * spread[1])
    weights: NDArray[np.float32] = np.maximum(correlation, 0.0) ** 4 + np.float32(LEAST)
    return weights
