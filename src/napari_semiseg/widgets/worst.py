"""The doubtful slices of a case that nobody has been through yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.core.prediction import SliceScore
    from napari_semiseg.widgets.editing import Editing


def waiting(
    slices: Sequence[SliceScore], editing: Editing | None
) -> tuple[SliceScore, ...]:
    """Slices of all planes that are not done, the most doubtful first."""
    left = (
        item
        for item in slices
        if editing is None or not editing.is_done(item.axis, item.index)
    )
    return tuple(sorted(left, key=lambda item: -item.score))


def following(slices: Sequence[SliceScore], here: tuple[int, int]) -> SliceScore:
    """The slice behind the one that is shown (axis, index), or the first again."""
    places = [(item.axis, item.index) for item in slices]
    return slices[(places.index(here) + 1) % len(places) if here in places else 0]
