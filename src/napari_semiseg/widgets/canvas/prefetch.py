"""Cases that will probably be opened next are read while the user works."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer

from napari_semiseg.errors import SemisegError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.io.images import Image
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.cohort.panel import CohortPanel
    from napari_semiseg.widgets.review.panel import ReviewPanel

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


class ReadAhead:
    """Reads cases in a thread, and gives them out while their files are the same."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._held: dict[Key, Future[Voxels]] = {}

    def expect(self, wanted: Iterable[tuple[Case, Run | None]]) -> None:
        """Begin to read these, the likeliest first; let go of all others."""
        held: dict[Key, Future[Voxels]] = {}
        for case, run in wanted:
            voxels = math.prod(case.geometry.shape_zyx) * len(case.channels)
            if len(held) < HELD and voxels <= LARGEST:
                key = _key(case, run)
                known = self._held.pop(key, None)
                held[key] = known or self._pool.submit(read, case, run)
        self.forget()
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

    def forget(self) -> None:
        """Let go of everything."""
        for future in self._held.values():
            future.cancel()
        self._held = {}

    def close(self) -> None:
        """Read nothing any more."""
        self.forget()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _key(case: Case, run: Run | None) -> Key:
    """Everything that what is read depends on."""
    files = [channel.image for channel in case.channels]
    if run is not None:
        files.append(run.folder.prediction(case.id).json)
    facts = []
    for file in files:
        try:
            found = file.stat()
        except OSError:  # to be told when it is opened
            facts.append((str(file), 0, 0))
        else:
            facts.append((str(file), found.st_size, found.st_mtime_ns))
    return (case.id, None if run is None else run.id, *facts)


class NextCases(QObject):
    """Guesses what is opened next: the first of the queue, the next row of the table.

    Parameters
    ----------
    view : CaseView
        Opens cases; has a `ReadAhead`.
    review : ReviewPanel
        Has the queue.
    cohort : CohortPanel
        Has the table.
    parent : QObject
        The dock.
    """

    def __init__(
        self,
        view: CaseView,
        review: ReviewPanel,
        cohort: CohortPanel,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._view, self._review, self._cohort = view, review, cohort
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self._expect)
        view.session.case_opened.connect(self._opened)

    def close(self) -> None:
        """Guess nothing any more."""
        self._timer.stop()
        self._view.session.case_opened.disconnect(self._opened)

    def likely(self) -> list[str]:
        """Ids of the cases that are probably opened next, the likeliest first."""
        here = self._view.session.case_id
        queued = [name for name in self._review.queue.cases() if name != here][:1]
        below = self._cohort.table.after(here)
        return list(dict.fromkeys([*queued, *([below] if below else [])]))

    def _opened(self, case_id: str | None) -> None:
        if case_id is None:
            self._timer.stop()
            self._view.ahead.forget()
        else:
            self._timer.start()

    def _expect(self) -> None:
        project = self._view.session.project
        if project is not None:
            try:
                cases = [project.case(name) for name in self.likely()]
                runs = map(self._view.run_of, cases)
                self._view.ahead.expect(zip(cases, runs, strict=True))
            except (SemisegError, OSError):
                self._view.ahead.forget()  # opening them says what is wrong
