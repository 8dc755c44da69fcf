"""The Labels layer of a mask: one undo step per change, and locks that hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_semiseg.widgets.common.link import assign

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray


class MaskLayer(Labels):
    """Labels whose locked values nothing paints over.

    Its data is replaced by `show` only: napari would keep the undo history of the
    array before, and Ctrl+Z would write voxels of that into this one.

    Attributes
    ----------
    protected : frozenset of int
        Values that brush, bucket, polygon and eraser leave alone.
    """

    def __init__(self, data: NDArray[np.uint8], **options: Any) -> None:
        self.protected: frozenset[int] = frozenset()
        super().__init__(data, **options)

    @property
    def _type_string(self) -> str:
        """For napari, which names writers and icons after it: a Labels layer."""
        return "labels"

    @property
    def can_undo(self) -> bool:
        """Whether Ctrl+Z has anything to take back."""
        return bool(self._undo_history)

    def show(self, values: NDArray[np.uint8], scale: Sequence[float]) -> None:
        """Show another mask (Z, Y, X), which nothing has been done to yet."""
        # Listeners to its data would make the texture of the colours anew. Where that
        # happens twice before the next frame VisPy looks for the one that is gone.
        with self.events.data.blocker():
            self.data = values
        self._reset_history()
        assign(self, "scale", scale)
        self.events.scale()  # the viewer fits its sliders to the new size

    def put(self, values: NDArray[np.uint8], key: tuple[slice, ...] = ()) -> int:
        """Write a block of voxels as one step that Ctrl+Z takes back whole.

        Parameters
        ----------
        values : ndarray, uint8
            The whole volume, or the block that ``key`` cuts out of it.
        key : tuple of slice
            Slices of all three axes; the whole volume by default.

        Returns
        -------
        int
            Voxels that changed; without any there is no step.
        """
        where = np.nonzero(np.asarray(self.data)[key] != values)
        if not len(where[0]):
            return 0
        new = values[where]
        # The history keeps the indices: half the bytes of what numpy gives.
        indices = tuple(
            (found + (key[axis].start if key else 0)).astype(np.int32)
            for axis, found in enumerate(where)
        )
        super().data_setitem(indices, new)
        return len(new)

    def data_setitem(self, indices: Any, value: Any, refresh: bool = True) -> None:
        """Set voxels unless they are locked; napari before 0.9 paints with this."""
        unlocked = self._unlocked(np.asarray(self.data)[indices])
        if isinstance(value, np.ndarray) and value.ndim:
            value = value[unlocked]
        super().data_setitem(tuple(part[unlocked] for part in indices), value, refresh)

    def _apply_mask_to_data(
        self, data: NDArray[np.uint8], mask: NDArray[np.bool_], *args: Any
    ) -> Any:
        """Leave locked voxels out; what napari paints with since 0.9."""
        return super()._apply_mask_to_data(data, mask & self._unlocked(data), *args)

    def _unlocked(self, values: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return ~np.isin(values, _array(self.protected))


def _array(values: Collection[int]) -> NDArray[np.uint8]:
    return np.array(sorted(values), np.uint8)
