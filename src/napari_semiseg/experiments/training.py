"""Train and predict in a process of its own, then score the predictions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.events import Event, Finished, Staged, Warned
from napari_semiseg.core.text import duration
from napari_semiseg.errors import SemisegError
from napari_semiseg.execution.executor import Executor, Handle, submit_for
from napari_semiseg.execution.follow import (
    REFUSED,
    UNSAID,
    follow_process,
    last_output,
)
from napari_semiseg.experiments.worker import TRIAL_VERB, read_facts
from napari_semiseg.imaging.metrics import Metrics, evaluate_labels
from napari_semiseg.io.atomic import machine, write_text
from napari_semiseg.project.runs.process import QUIET_S
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project

POLL_S = 0.5
ATTEMPTS = 3
"""To start a worker for a run that another one, which outlived its own, holds."""
WAITS_ELSEWHERE = (
    "waits for a worker on another machine, until it ends or has written nothing for "
    f"{duration(QUIET_S)}"
)


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """Scores by name and class, or the error that a training ended with."""

    scores: dict[str, dict[str, Metrics]] = field(default_factory=dict)
    score_seconds: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ScoredTraining:
    """A training in a process of its own, and the test cases that it is scored on.

    Attributes
    ----------
    project, run : Project, Run
        The run need not exist yet.
    config : TrainingConfig
        Of a run that does not exist yet.
    tests : mapping
        Test cases by the name that is reported.
    reference : callable
        Gives the reference mask (Z, Y, X) of a name and its case.
    predicted : sequence of str, optional
        Further cases to predict. With it, all ids to predict are written to
        ``<run>.list`` in the project's folder.
    """

    project: Project
    run: Run
    config: TrainingConfig
    tests: Mapping[str, Case]
    reference: Callable[[str, Case], NDArray[np.uint8]]
    predicted: list[str] | None = None

    def perform(
        self, executor: Executor, stop: Callable[[], bool]
    ) -> Generator[Event, None, TrainingOutcome | None]:
        """Train to the end from where the run is, predict, and score.

        A child that outlived its interrupted parent is followed instead of starting
        another one; where it ends without an error of its own, another one continues.
        After a stop the run is not complete; the next call continues.

        ``stop`` is asked often; the child then writes a checkpoint and ends, and None
        is returned.
        """
        try:
            error = yield from self._train(executor, stop)
            if error is not None:
                return TrainingOutcome(error=error)
            if not self._is_complete():
                return None
            start = time.perf_counter()
            scores = yield from self._score()
        except SemisegError as refusal:
            return TrainingOutcome(error=str(refusal))
        return TrainingOutcome(scores, time.perf_counter() - start)

    def _cases(self) -> list[str]:
        return [*(case.id for case in self.tests.values()), *(self.predicted or ())]

    def _is_complete(self) -> bool:
        """Whether there are the last checkpoint and all predictions."""
        run = self.run
        return read_facts(run).steps > 0 and all(map(run.has_prediction, self._cases()))

    def _train(
        self, executor: Executor, stop: Callable[[], bool]
    ) -> Generator[Event, None, str | None]:
        """Train and predict; returns the error, if any.

        A worker that is refused, since another one holds the run, says nothing about
        the training: that one is followed, then a worker is started again.
        """
        error = None
        for _ in range(ATTEMPTS):
            if _has_worker(self.run):
                if _is_elsewhere(self.run):
                    yield Warned(message=WAITS_ELSEWHERE)
                error = yield from self._watch(None, stop)
                if self.run.status == "failed":  # by its own record, not interrupted
                    return error
                if stop():
                    return None
            handle = self._submitted(executor)
            if handle is None:
                return None
            error = yield from self._watch(handle, stop)
            if self._is_complete() or stop():
                return None
            if handle.poll() != REFUSED or not _is_held(self.run):
                break
        return error

    def _submitted(self, executor: Executor) -> Handle | None:
        """Start a worker; None where nothing is left to do."""
        run = self.run
        if not run.started:
            run.discard()
            Run.create(self.project, self.config, run.id)
        arguments = [run.id]
        if self.predicted is not None:
            path = self.project.folder / f"{run.id}.list"
            write_text(path, "".join(f"{name}\n" for name in self._cases()))
            arguments += ["--cases", str(path)]
        if self._is_complete():
            return None
        return submit_for(executor, TRIAL_VERB, self.project, run, *arguments)

    def _watch(
        self, handle: Handle | None, stop: Callable[[], bool]
    ) -> Generator[Event, None, str]:
        """Follow a worker to its end; returns its error, or its last output.

        Without a handle it is one that an earlier call has started.
        """
        run = self.run

        def relay() -> bool:
            if stop():
                run.request_stop()
            return False  # follow on until the child has written its checkpoint

        error = None
        for event in follow_process(run, handle, poll_s=POLL_S, stop=relay):
            if isinstance(event, Finished):
                error = event.error if event.reason == "failed" else None
            else:
                yield event
        start = 0 if handle is None else handle.log_start
        output = (last_output(run.folder.log, start) or [UNSAID])[-1]
        return (error or output).removeprefix("semiseg: ")

    def _score(self) -> Generator[Event, None, dict[str, dict[str, Metrics]]]:
        scores = {}
        for done, (name, case) in enumerate(self.tests.items(), start=1):
            _, mask = self.run.read_mask(case.id, case.geometry)
            reference = self.reference(name, case)
            scores[name] = evaluate_labels(
                mask, reference, case.geometry, self.project.labels
            )
            yield Staged(stage="Scoring", done=done, total=len(self.tests))
        return scores


def _has_worker(run: Run) -> bool:
    """Whether another process works on a run: one that outlived its parent."""
    return run.is_working and run.pid != os.getpid()


def _is_held(run: Run) -> bool:
    """Whether another process trains a run, or prepares that."""
    return _has_worker(run) and run.status in ("preparing", "running")


def _is_elsewhere(run: Run) -> bool:
    """Whether that process is on another machine, or of an earlier container."""
    claim = run.claimed
    return claim is not None and claim.host not in ("", machine())
