"""The doubtful slices of a case that nobody has been through yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.core.prediction import SliceScore
    from napari_semiseg.widgets.canvas.editing import Editing


def following(
    slices: Sequence[SliceScore], editing: Editing | None, last: tuple[int, int] | None
) -> SliceScore | None:
    """Find the most doubtful slice behind one, in any plane, that is not done.

    Parameters
    ----------
    slices : sequence of SliceScore
        Of one prediction.
    editing : Editing or None
        Knows which slices are done.
    last : tuple of int, or None
        Axis and index of the slice that was gone to last, wherever the user has
        looked since; None begins with the worst.

    Returns
    -------
    SliceScore or None
        The worst again behind the last one; None when all are done.
    """
    order = sorted(slices, key=lambda item: -item.score)
    places = [(item.axis, item.index) for item in order]
    start = places.index(last) + 1 if last in places else 0
    return next(
        (
            item
            for item in order[start:] + order[:start]
            if editing is None or not editing.is_done(item.axis, item.index)
        ),
        None,
    )
