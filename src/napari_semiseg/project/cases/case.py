"""One volume of the cohort, as the files of its folder say it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.case import CaseState
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.io.images import read_image
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases.channels import Channel, check_same_grid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_semiseg.core.case import CaseRecord, Split
    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.io.images import Image
    from napari_semiseg.project.layout import CaseFolder


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Case:
    """A snapshot of one case; ask the project again after a change.

    Attributes
    ----------
    folder : CaseFolder
        Where its files lie.
    record : CaseRecord
        Contents of ``case.json``.
    state : CaseState
        Derived from the files.
    image : Path
        Absolute path of the image file, or of a DICOM folder; the first channel's.
    channels : tuple of Channel
        All images of the case, the first included; one as a rule.
    geometry : Geometry
        The image's grid.
    annotated_fraction : float
        Part of the voxels a person has labelled, 0 to 1.
    has_label, has_draft : bool
        Whether there is an accepted label, and an autosaved draft.
    """

    folder: CaseFolder
    record: CaseRecord
    state: CaseState
    image: Path
    channels: tuple[Channel, ...]
    geometry: Geometry
    annotated_fraction: float
    has_label: bool
    has_draft: bool

    def __repr__(self) -> str:
        return f"Case({self.id!r}, {self.state})"

    @property
    def id(self) -> str:
        """Name of the case, unique in its project."""
        return self.record.id

    @property
    def split(self) -> Split:
        """What the case may be used for."""
        return self.record.split

    @property
    def accepted_unseen(self) -> bool:
        """Whether the label is a prediction that nobody had open before."""
        return self.has_label and self.record.accepted_unseen

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels where there are several; else none."""
        return self.record.several

    def read_image(self, channel: int = 0) -> Image:
        """Read the voxels of a channel, the first one by default.

        Raises
        ------
        ImageError
            The file cannot be read, or lies on another grid than the case by now.
        """
        chosen = self.channels[channel]
        image = read_image(chosen.image, chosen.volume)
        if channel:
            check_same_grid(chosen.image, image.geometry, self.image, self.geometry)
        return image

    def read_images(self) -> list[Image]:
        """Read the voxels of all channels; as `read_image`."""
        return [self.read_image(index) for index in range(len(self.channels))]

    def read_label(self) -> NDArray[np.uint8] | None:
        """Accepted label (Z, Y, X) with 255 where not annotated, or None."""
        return read_labels(self.folder.label, self.geometry) if self.has_label else None

    def read_draft(self) -> NDArray[np.uint8] | None:
        """Autosaved edits (Z, Y, X), or None."""
        return read_labels(self.folder.draft, self.geometry) if self.has_draft else None


def annotated_fraction(labels: NDArray[np.uint8]) -> float:
    """Part of the voxels that is not 255.

    Exactly 1.0 only when every voxel is annotated. Plane by plane, since a copy of a
    large mask takes longer than counting.
    """
    known = sum(int(np.count_nonzero(plane != UNANNOTATED)) for plane in labels)
    return known / max(labels.size, 1)


def derive_state(
    *, excluded: bool, fraction: float | None, has_draft: bool, has_prediction: bool
) -> CaseState:
    """State of a case; ``fraction`` is None where there is no label."""
    if excluded:
        return CaseState.EXCLUDED
    if fraction is not None:
        return CaseState.LABELLED if fraction == 1.0 else CaseState.PARTIAL
    if has_draft:
        return CaseState.DRAFT
    return CaseState.PROPOSED if has_prediction else CaseState.UNLABELLED
