"""Name the slices in which a label may be wrong."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_semiseg.active_learning.candidates import RankedVolume
from napari_semiseg.active_learning.registry import register
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.review.readers import disagreements

if TYPE_CHECKING:
    from napari_semiseg.active_learning.candidates import Pool


@register(
    "readers",
    "Readers disagree",
    "Slices in which two readers of a scan differ, the largest area first.",
    needs_predictions=False,
    sort_slices=True,
    slice_distance=1,
    of_labels=True,
)
def by_readers(pool: Pool) -> list[RankedVolume]:
    """Rank by the part of the largest cross-section over which readers differ."""
    ranked = []
    for item in pool.candidates:
        if slices := disagreements(item.case):
            worst = slices[0]
            ranked.append(
                RankedVolume(item, worst.score, worst.reason, partial(list, slices))
            )
    if not ranked:
        raise ProjectError(
            "expected scans on which two readers differ, found none; add the masks of "
            "another one with semiseg readers --masks DIR --reader NAME"
        )
    return sorted(ranked, key=lambda item: (-item.score, item.candidate.id))
