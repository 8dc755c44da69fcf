"""Watch the edits of one mask: what changed, what is saved, how long it took."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from superqt.utils import QSignalThrottler

from napari_semiseg.core.labels import BACKGROUND, plane_counts
from napari_semiseg.widgets.elements.connections import Connections, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_semiseg.imaging.mask_encoding import MaskEncoding

AUTOSAVE_S = 20.0
IDLE_S = 60.0
COUNT_S = 0.3
COUNT_SHARE = 0.1
EDIT_EVENTS = ("paint", "labels_update", "data")


class ActiveTime:
    """Minutes of work: pauses longer than a minute are not counted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None
        self._seconds = 0.0

    @property
    def minutes(self) -> float:
        """Time worked so far."""
        return self._seconds / 60

    def reset(self) -> None:
        """Begin anew: what was worked so far is noted elsewhere."""
        self._seconds = 0.0

    def tick(self) -> None:
        """Note that the user did something now."""
        now = self._clock()
        if self._last is not None and now - self._last <= IDLE_S:
            self._seconds += now - self._last
        self._last = now


class Editing:
    """Watches a Labels layer from when it is shown until it is left.

    Parameters
    ----------
    layer : MaskLayer
        The mask, uint8, with values as ``encoding`` has them.
    reference : ndarray (Z, Y, X), uint8
        Classes that were there before the user painted: the accepted label, else
        the proposal, else zeros.
    encoding : MaskEncoding
        Tells what a person has annotated from what is proposed.
    save : callable
        Called with the mask when the draft is to be written; gives False when it could
        not be, and is called again after as long.
    autosave_s : float
        Seconds from an edit to the saving of the draft.

    Signals
    -------
    counted(dict of int to int)
        Voxels per class, a moment after each edit.
    dirtied(bool)
        Whether there are unsaved edits, when that changes.
    """

    counted = Signal(object)
    dirtied = Signal(bool)

    def __init__(
        self,
        layer: Any,
        reference: NDArray[np.uint8],
        encoding: MaskEncoding,
        save: Callable[[NDArray[np.uint8]], bool],
        *,
        autosave_s: float = AUTOSAVE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.layer = layer
        self.reference = reference
        self.encoding = encoding
        self.active = ActiveTime(clock)
        self.active.tick()
        depth, height, width = layer.data.shape
        self._digests: list[int | None] = [None] * depth
        self._voxels = np.zeros((depth, 256), np.int64)
        self._rows = np.zeros((depth, height), np.int64)
        self._columns = np.zeros((depth, width), np.int64)
        self._viewed: tuple[set[int], ...] = (set(), set(), set())
        self._look()
        self._saved = list(self._digests)
        self._dirty = False
        self._save = save
        self._autosave = _delayed(autosave_s, self._save_if_dirty)
        self._count = _delayed(COUNT_S, self.recount)
        self._connections = Connections()
        events = [getattr(layer.events, name) for name in EDIT_EVENTS]
        self._connections.add(self._edited, *events)
        self._connections.add(self._redrawn, layer.events.set_data)

    def look(self, axis: int, index: int) -> None:
        """Note that a slice across an axis is shown."""
        self._viewed[axis].add(index)

    def was_seen(self, axis: int, index: int) -> bool:
        """Whether a slice across an axis was shown since the mask was opened."""
        return index in self._viewed[axis]

    def viewed_fraction(self) -> float:
        """Part of the slices with a structure that was shown.

        In the plane of which most was; of all slices where the mask is empty.
        """
        occupied = [np.zeros(size, bool) for size in self.values.shape]
        for index, plane in enumerate(self.values):
            inside = self.encoding.confirm(plane) != BACKGROUND
            occupied[0][index] = inside.any()
            occupied[1] |= inside.any(axis=1)
            occupied[2] |= inside.any(axis=0)
        parts = []
        for axis, rows in enumerate(occupied):
            slices = np.flatnonzero(rows) if rows.any() else np.arange(rows.size)
            parts.append(np.isin(slices, list(self._viewed[axis])).mean())
        return float(max(parts))

    @property
    def values(self) -> NDArray[np.uint8]:
        """The mask as it is now; not a copy."""
        return np.asarray(self.layer.data)

    @property
    def dirty(self) -> bool:
        """Whether there are edits in no file."""
        return self._dirty

    @property
    def annotated(self) -> float:
        """Part of the volume that a person has annotated, at the last count."""
        return float(self._rows.sum() / max(self.values.size, 1))

    def proposed_counts(self) -> dict[int, int]:
        """Voxels per class that are only proposed, at the last count."""
        voxels = self._voxels.sum(axis=0)
        proposed = self.encoding.proposed
        return {value: int(voxels[code]) for value, code in proposed.items()}

    def annotated_slices(self, axis: int) -> NDArray[np.float64]:
        """Annotated part of each slice across an axis, at the last count."""
        counts = (
            self._rows.sum(axis=1),
            self._rows.sum(axis=0),
            self._columns.sum(axis=0),
        )[axis]
        return np.asarray(counts / max(self.values.size // len(counts), 1))

    def toggle_done(self, axis: int, index: int) -> bool:
        """Count a slice as annotated, or take that back, as one undo step.

        Proposals in it are taken over; what is not painted is background.

        Returns
        -------
        bool
            Whether it is done now.
        """
        key = plane_key(axis, index)
        plane = self.values[key]
        done = not self.encoding.annotated(plane).all()
        change = self.encoding.confirm if done else self.encoding.unconfirm
        self.layer.put(change(plane), key)
        return done

    def is_done(self, axis: int, index: int) -> bool:
        """Whether every voxel of the slice is annotated."""
        return bool(self.encoding.annotated(self.values[plane_key(axis, index)]).all())

    def whole(self) -> NDArray[np.uint8]:
        """Classes, with every voxel annotated: what was not is background."""
        return self.encoding.confirm(self.values)

    def annotated_only(self) -> NDArray[np.uint8]:
        """Classes where a person has painted or marked a slice done; 255 elsewhere."""
        return self.encoding.human(self.values)

    def changed_voxels(self) -> int:
        """Voxels of which the class differs from the reference.

        Plane by plane, since copies of a large mask take longer than counting.
        """
        confirm = self.encoding.confirm
        planes = zip(self.values, self.reference, strict=True)
        return sum(
            int(np.count_nonzero(confirm(now) != confirm(before)))
            for now, before in planes
        )

    def rebase(self, reference: NDArray[np.uint8]) -> None:
        """Take the present mask as what was there before, and as saved."""
        self.reference = reference
        self.recount()
        self.mark_saved()

    def mark_saved(self) -> None:
        """Take the present mask as saved."""
        self._look()
        self._saved = list(self._digests)
        self._set_dirty(False)

    def recount(self) -> None:
        """Count the voxels of each value and see whether anything is unsaved.

        An undo tells nobody, so digests of the slices are compared with those of
        what was saved. On large volumes this is done less often, so that it takes a
        tenth of the time at most.
        """
        began = time.perf_counter()
        self._look()
        self._set_dirty(self._digests != self._saved)
        took = time.perf_counter() - began
        self._count.setTimeout(round(1000 * max(COUNT_S, took / COUNT_SHARE)))
        self.counted.emit(self.encoding.count(self._voxels.sum(axis=0)))

    def stop(self) -> None:
        """Leave the layer."""
        self._autosave.cancel()
        self._count.cancel()
        self._connections.close()

    def _save_if_dirty(self) -> None:
        if self._dirty and not self._save(self.values):
            self._autosave.throttle()

    def _look(self) -> None:
        """Count anew in the slices that have changed."""
        for index, plane in enumerate(self.values):
            digest = zlib.crc32(np.ascontiguousarray(plane).data)
            if digest != self._digests[index]:
                self._digests[index] = digest
                self._voxels[index] = plane_counts(plane)
                seen = self.encoding.annotated(plane)
                self._rows[index] = np.count_nonzero(seen, axis=1)
                self._columns[index] = np.count_nonzero(seen, axis=0)

    def _edited(self, event: Any = None) -> None:
        self.active.tick()
        self._set_dirty(True)
        self._redrawn()

    def _redrawn(self, event: Any = None) -> None:
        self._count.throttle()

    def _set_dirty(self, dirty: bool) -> None:
        if dirty:
            self._autosave.throttle()
        if dirty is not self._dirty:
            self._dirty = dirty
            if not dirty:
                self._autosave.cancel()
            self.dirtied.emit(dirty)


def _delayed(seconds: float, callback: Callable[[], None]) -> QSignalThrottler:
    throttler = QSignalThrottler(QSignalThrottler.EmissionPolicy.Trailing)
    throttler.setTimeout(round(1000 * seconds))
    throttler.triggered.connect(callback)
    return throttler


def plane_key(axis: int, index: int) -> tuple[slice, slice, slice]:
    """Cut one slice across an axis out of a volume, as a block one voxel thick."""
    key = [slice(0, None)] * 3
    key[axis] = slice(index, index + 1)
    return (key[0], key[1], key[2])
