"""Name the slices in which a label may be wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from napari_semiseg.active_learning.candidates import RankedVolume
from napari_semiseg.active_learning.registry import register
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.review.readers import disagreements

if TYPE_CHECKING:
    from napari_semiseg.active_learning.candidates import Pool
    from napari_semiseg.core.prediction import SliceScore
    from napari_semiseg.project.cases.case import Case


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
    return _ranked(
        pool,
        disagreements,
        "expected scans on which two readers differ, found none; add the masks of "
        "another one: semiseg readers --masks DIR --reader NAME, or More > Second "
        "reader in the panel",
    )


@register(
    "audit",
    "Labels to check",
    "Slices whose label contradicts a model that has not seen it, once labels were "
    "checked.",
    needs_predictions=False,
    sort_slices=True,
    of_labels=True,
)
def by_audit(pool: Pool) -> list[RankedVolume]:
    """Rank by the scores of the newest audit, but for labels changed since."""
    return _ranked(
        pool,
        pool.audit.slices,
        "expected labels that an audit doubts, found none; run semiseg audit, or More "
        "> Check the labels in the panel",
    )


def _ranked(
    pool: Pool, doubts: Callable[[Case], Sequence[SliceScore]], refusal: str
) -> list[RankedVolume]:
    """Rank the cases by their worst slice."""
    ranked = []
    for item in pool.candidates:
        if slices := doubts(item.case):
            worst = slices[0]
            ranked.append(
                RankedVolume(item, worst.score, worst.reason, partial(list, slices))
            )
    if not ranked:
        raise ProjectError(refusal)
    return sorted(ranked, key=lambda item: (-item.score, item.candidate.id))
