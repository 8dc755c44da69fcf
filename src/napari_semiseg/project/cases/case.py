"""Represent one case: its record, its state and access to its voxels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.errors import ImageError
from napari_semiseg.io.images import Image, read_image
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases.history import Added
from napari_semiseg.project.cases.record import Acceptance, CaseRecord
from napari_semiseg.project.cases.references import image_problem

if TYPE_CHECKING:
    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.project.cases.channels import Channel
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
    channels : tuple of Channel
        All images of the case; one as a rule.
    annotated_fraction : float
        Part of the voxels a person has labelled, 0 to 1.
    has_label, has_draft : bool
        Whether there is an accepted label, and an autosaved draft.
    scheme : LabelScheme
        Classes of the project.
    """

    folder: CaseFolder
    record: CaseRecord
    state: CaseState
    channels: tuple[Channel, ...]
    annotated_fraction: float
    has_label: bool
    has_draft: bool
    scheme: LabelScheme

    def __repr__(self) -> str:
        return f"Case({self.id!r}, {self.state})"

    @property
    def id(self) -> str:
        """Name of the case, unique in its project."""
        return self.record.id

    @property
    def image(self) -> Path:
        """Absolute path of the first channel's file, or DICOM folder."""
        return self.channels[0].image

    @property
    def geometry(self) -> Geometry:
        """Grid of the images."""
        return self.record.geometry

    @property
    def split(self) -> Split:
        """What the case may be used for."""
        return self.record.split

    @property
    def accepted_unseen(self) -> bool:
        """Whether the label is a prediction that was accepted without being viewed."""
        return self.acceptance is Acceptance.UNSEEN

    @property
    def acceptance(self) -> Acceptance | None:
        """How the label was accepted; None without one."""
        known = self.record.acceptance or Acceptance.SEEN
        return known if self.has_label else None

    @property
    def human_verified(self) -> bool:
        """Whether there is a label that a person has drawn or looked at."""
        return self.has_label and not self.accepted_unseen

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels."""
        return self.record.channel_names

    def read_image(self, channel: int = 0) -> Image:
        """Read the voxels of a channel, the first one by default.

        Raises
        ------
        ImageError
            The file cannot be read, or is not the one that was added.
        """
        if problem := self._problem(channel):
            raise ImageError(problem)
        return read_image(self.channels[channel].image, self.channels[channel].volume)

    def read_images(self) -> list[Image]:
        """Read the voxels of all channels; as `read_image`."""
        return [self.read_image(index) for index in range(len(self.channels))]

    @property
    def image_problem(self) -> str:
        """What is wrong with an image: missing, unreadable or changed; empty if none.

        Files with the size and time of change that they had are not read.
        """
        problems = map(self._problem, range(len(self.channels)))
        return next(filter(None, problems), "")

    def check_images(self) -> None:
        """Refuse images that are not those that were added.

        Raises
        ------
        ImageError
            With `image_problem`.
        """
        if problem := self.image_problem:
            raise ImageError(problem)

    def _problem(self, channel: int) -> str:
        added = (entry for entry in self.record.history if isinstance(entry, Added))
        known = {facts for entry in added for facts in entry.files}
        sha256 = self.record.channels[channel].sha256
        return image_problem(self.channels[channel].image, sha256, known)

    def read_label(self) -> NDArray[np.uint8] | None:
        """Accepted label (Z, Y, X) with 255 where not annotated, or None.

        Raises
        ------
        ImageError
            The file cannot be read, or holds values that are no class by now.
        """
        if not self.has_label:
            return None
        labels = read_labels(self.folder.label, self.geometry)
        self.scheme.check(labels, str(self.folder.label))
        return labels

    def read_draft(self) -> NDArray[np.uint8] | None:
        """Autosaved edits (Z, Y, X), or None."""
        return read_labels(self.folder.draft, self.geometry) if self.has_draft else None


CaseRef = Case | str
"""A case, or its id: wherever one is accepted, the other is too."""


def id_of(case: CaseRef) -> str:
    """Id of a case that may be given by its id."""
    return case if isinstance(case, str) else case.id


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
