"""Read the cases that are probably opened next while the user works."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from superqt.utils import QSignalDebouncer

from napari_semiseg.errors import SemisegError
from napari_semiseg.widgets.elements.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.io.images import Image
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.common.session import Session

HELD = 2
"""Cases that are held ready at most."""
LARGEST = 30_000_000
"""Voxels of all channels; a larger case would take too much memory while it waits."""
SETTLE_MS = 600
"""How long a case must be open before the next one is read."""

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Voxels:
    """What the files of a case hold."""

    images: list[Image]
    prediction: Prediction | None


def read(case: Case, run: Run | None) -> Voxels:
    """Read the images of a case and the prediction that a run made of it."""
    prediction = None if run is None else run.read_prediction(case.id, case.geometry)
    return Voxels(case.read_images(), prediction)


class Prefetch(QObject):
    """Reads cases in a thread, and gives them out while their files are the same.

    ``likely_next`` gives the ids of cases that are probably opened next, the likeliest
    first; it is asked once a case has been open for a moment.
    """

    def __init__(
        self,
        session: Session,
        likely_next: Callable[[], Iterable[str]],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._likely_next = likely_next
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._held: dict[Key, Future[Voxels]] = {}
        self._settled = QSignalDebouncer(parent=self)
        self._settled.setTimeout(SETTLE_MS)
        self._settled.triggered.connect(self._expect_likely)
        connections = Connections(self)
        connections.at_close(self._stop)
        connections.add(self._opened, session.case_opened)

    def expect(self, cases: Iterable[tuple[Case, Run | None]]) -> None:
        """Begin to read these, the likeliest first; drop all others."""
        held: dict[Key, Future[Voxels]] = {}
        for case, run in cases:
            voxels = math.prod(case.geometry.shape_zyx) * len(case.channels)
            if len(held) < HELD and voxels <= LARGEST:
                key = _key(case, run)
                known = self._held.pop(key, None)
                held[key] = known or self._pool.submit(read, case, run)
        self.clear()
        self._held = held

    def take(self, case: Case, run: Run | None) -> Voxels:
        """What `read` gives; at once where it was expected. Raises what that does.

        What nobody has begun to read does not wait for what is being read.
        """
        held = self._held.pop(_key(case, run), None)
        if held is not None and not held.cancel():
            try:
                return held.result()
            except (SemisegError, OSError):
                pass  # mended meanwhile, or reading it once more says what is wrong
        return read(case, run)

    def clear(self) -> None:
        """Drop everything that was read."""
        for future in self._held.values():
            future.cancel()
        self._held = {}

    def _stop(self) -> None:
        self._settled.cancel()
        self.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _opened(self, case_id: str | None) -> None:
        if case_id is None:
            self._settled.cancel()
            self.clear()
        else:
            self._settled.throttle()

    def _expect_likely(self) -> None:
        project = self._session.project
        if project is not None:
            try:
                cases = [project.case(name) for name in self._likely_next()]
                self.expect([(case, self._session.run_of(case)) for case in cases])
            except (SemisegError, OSError):
                self.clear()  # opening them says what is wrong


def _key(case: Case, run: Run | None) -> Key:
    """Everything that what is read depends on."""
    files = [channel.image for channel in case.channels]
    if run is not None:
        files.append(run.folder.prediction(case.id).json)
    facts = []
    for file in files:
        try:
            found = file.stat()
        except OSError:  # it is reported when the case is opened
            facts.append((str(file), 0, 0))
        else:
            facts.append((str(file), found.st_size, found.st_mtime_ns))
    return (case.id, None if run is None else run.id, *facts)
