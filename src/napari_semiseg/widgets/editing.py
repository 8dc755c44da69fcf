"""Edits of one mask: what changed, what is saved, how long it took."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QObject, QTimer

from napari_semiseg.core.labels import UNANNOTATED

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

AUTOSAVE_S = 20.0
IDLE_S = 60.0
COUNT_S = 0.3
COUNT_SHARE = 0.1
EDIT_EVENTS = ("paint", "labels_update", "data")


class ActiveTime:
    """Minutes of work: pauses longer than a minute are not counted.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None
        self._seconds = 0.0

    @property
    def minutes(self) -> float:
        """Time worked so far."""
        return self._seconds / 60

    def tick(self) -> None:
        """Note that the user did something now."""
        now = self._clock()
        if self._last is not None and now - self._last <= IDLE_S:
            self._seconds += now - self._last
        self._last = now


class Editing(QObject):
    """Watches a Labels layer from when it is shown until it is left.

    Parameters
    ----------
    layer : napari.layers.Labels
        The mask, uint8.
    reference : ndarray (Z, Y, X), uint8
        What was there before the user painted: the accepted label, else the
        proposal, else zeros.
    accepted : bool
        Whether the reference is an accepted label.
    saved : bool
        Whether the mask is in a file as it is.
    save : callable
        Called with the mask when the draft is to be written.
    autosave_s : float
        Seconds from an edit to the saving of the draft.

    Signals
    -------
    counted(dict of int to int)
        Voxels per value, a moment after each edit.
    dirtied(bool)
        Whether there are unsaved edits, when that changes.
    """

    counted = Signal(object)
    dirtied = Signal(bool)

    def __init__(
        self,
        layer: Any,
        reference: NDArray[np.uint8],
        save: Callable[[NDArray[np.uint8]], None],
        *,
        accepted: bool = False,
        saved: bool = True,
        autosave_s: float = AUTOSAVE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.reference = reference
        self.accepted = accepted
        self.active = ActiveTime(clock)
        self._seen = _digests(layer.data)
        self._saved = self._seen if saved else []
        self._voxels = np.stack([_voxels(plane) for plane in layer.data])
        self._dirty = False
        self._done: set[int] = set()
        self._save = save
        self._autosave = _timer(self, autosave_s, self.autosave)
        self._count = _timer(self, COUNT_S, self.recount)
        for name in EDIT_EVENTS:
            getattr(layer.events, name).connect(self._edited)
        layer.events.set_data.connect(self._redrawn)

    @property
    def values(self) -> NDArray[np.uint8]:
        """The mask as it is now; not a copy."""
        return np.asarray(self.layer.data)

    @property
    def dirty(self) -> bool:
        """Whether there are edits in no file."""
        return self._dirty

    @property
    def minutes(self) -> float:
        """Minutes of active work, pauses left out."""
        return self.active.minutes

    def mark_done(self, index: int) -> None:
        """Count an axial slice as annotated although nothing is painted in it."""
        self._done.add(index)

    def unmark(self, index: int) -> None:
        """Take `mark_done` back."""
        self._done.discard(index)

    def is_done(self, index: int) -> bool:
        """Whether the slice was marked."""
        return index in self._done

    def touched_slices(self) -> NDArray[np.bool_]:
        """Axial slices that were painted or marked done, (Z,) bool."""
        touched: NDArray[np.bool_] = (self.values != self.reference).any(axis=(1, 2))
        touched[sorted(self._done)] = True
        return touched

    def whole(self) -> NDArray[np.uint8]:
        """Mask with every voxel annotated: what was not is background."""
        values = self.values.copy()
        values[values == UNANNOTATED] = 0
        return values

    def touched_only(self) -> NDArray[np.uint8]:
        """Mask in which only touched slices gain annotation.

        The others stay as they were accepted, or are 255 where nothing was.
        """
        touched = self.touched_slices()
        values = self.whole()
        values[~touched] = self.reference[~touched] if self.accepted else UNANNOTATED
        return values

    def changed_voxels(self) -> int:
        """Voxels that differ from the reference."""
        return int(np.count_nonzero(self.values != self.reference))

    def mark_saved(self) -> None:
        """Take the present mask as saved."""
        self._saved = _digests(self.values)
        self._set_dirty(False)

    def recount(self) -> None:
        """Count the voxels of each value and see whether anything is unsaved.

        An undo tells nobody, so digests of the slices are compared with those of
        what was saved. On large volumes this is done less often, so that it takes a
        tenth of the time at most.
        """
        began = time.perf_counter()
        values, seen = self.values, _digests(self.values)
        for index, (new, old) in enumerate(zip(seen, self._seen, strict=True)):
            if new != old:
                self._voxels[index] = _voxels(values[index])
        self._seen = seen
        self._set_dirty(seen != self._saved)
        took = time.perf_counter() - began
        self._count.setInterval(round(1000 * max(COUNT_S, took / COUNT_SHARE)))
        total = self._voxels.sum(axis=0)
        self.counted.emit({int(v): int(total[v]) for v in np.flatnonzero(total)})

    def autosave(self) -> None:
        """Write the draft when there is something to write."""
        if self._dirty:
            self._save(self.values)

    def stop(self) -> None:
        """Leave the layer."""
        self._autosave.stop()
        self._count.stop()
        for name in EDIT_EVENTS:
            getattr(self.layer.events, name).disconnect(self._edited)
        self.layer.events.set_data.disconnect(self._redrawn)

    def _edited(self, event: Any = None) -> None:
        self.active.tick()
        self._set_dirty(True)
        self._redrawn()

    def _redrawn(self, event: Any = None) -> None:
        if not self._count.isActive():
            self._count.start()

    def _set_dirty(self, dirty: bool) -> None:
        if dirty and not self._autosave.isActive():
            self._autosave.start()
        if dirty is not self._dirty:
            self._dirty = dirty
            if not dirty:
                self._autosave.stop()
            self.dirtied.emit(dirty)


def _timer(parent: QObject, seconds: float, callback: Callable[[], None]) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(round(1000 * seconds))
    timer.timeout.connect(callback)
    return timer


def _digests(values: NDArray[np.uint8]) -> list[int]:
    return [zlib.crc32(plane.tobytes()) for plane in values]


def _voxels(plane: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.bincount(plane.ravel(), minlength=256)
