"""What is worth annotating next, and why."""

from __future__ import annotations

from dataclasses import dataclass

PLANES = ("axial", "coronal", "sagittal")
"""Names of the planes whose slices lie along axis 0, 1, 2."""


@dataclass(frozen=True, slots=True)
class VolumeSuggestion:
    """A volume worth annotating.

    Attributes
    ----------
    case : str
        Its id.
    score : float
        In [0, 1]; what it means depends on the strategy, more is more urgent.
    reason : str
        In words.
    flag : str, optional
        Comment of its flag.
    skipped : bool
        Whether somebody has put it off; it stands behind the others then.
    """

    case: str
    score: float
    reason: str
    flag: str | None = None
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class SliceSuggestion:
    """A slice worth annotating: voxel ``index`` along ``axis`` (0, 1, 2 is z, y, x)."""

    case: str
    axis: int
    index: int
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Volumes and slices, the most worthwhile first."""

    volumes: tuple[VolumeSuggestion, ...]
    slices: tuple[SliceSuggestion, ...]
