"""Training and prediction in a process of its own, for whoever needs many of them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from napari_semiseg.core.events import Finished, Staged, Warned
from napari_semiseg.core.text import duration
from napari_semiseg.execution.follow import follow, last_output
from napari_semiseg.experiments.benchmark import TRIAL_VERB
from napari_semiseg.experiments.benchmark.worker import read_facts
from napari_semiseg.imaging.metrics import evaluate_labels
from napari_semiseg.io.atomic import machine
from napari_semiseg.project.runs.process import QUIET_S
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.events import Event
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.execution.executor import Executor, Handle
    from napari_semiseg.imaging.metrics import Metrics
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project

POLL_S = 0.5
ELSEWHERE = (
    "waits for a worker on another machine, until it ends or has said nothing for "
    f"{duration(QUIET_S)}"
)


def is_complete(run: Run, wanted: Sequence[str]) -> bool:
    """Whether a run has its last checkpoint and the predictions that are wanted."""
    return read_facts(run).steps > 0 and all(map(run.has_prediction, wanted))


def train(
    project: Project,
    run: Run,
    config: TrainingConfig,
    wanted: Sequence[str],
    stop: Callable[[], bool],
    executor: Executor,
    listed: Path | None = None,
) -> Generator[Event, None, str | None]:
    """Train a run to its end, from where it is, and predict cases.

    A child that an interrupted parent has left at work is followed instead of starting
    another one; where it ends without a word, another one goes on. After a stop the run
    is not complete; the next call goes on.

    Parameters
    ----------
    project : Project
        The project.
    run : Run
        There or not.
    config : TrainingConfig
        Of a run that is not there yet.
    wanted : sequence of str
        Ids of the cases to predict.
    stop : callable
        Asked often; the child then writes a checkpoint and ends.
    executor : Executor
        Starts the child.
    listed : Path, optional
        File that names those cases, one a line; without it they are the test cases.

    Returns
    -------
    str or None
        What went wrong, if anything.
    """
    if _has_worker(run):
        if _is_elsewhere(run):
            yield Warned(message=ELSEWHERE)
        error = yield from _watch(run, None, wanted, stop)
        if run.status == "failed":  # its own word; else it was interrupted
            return error
        if stop():
            return None
    if not run.started:
        run.discard()
        Run.create(project, config, run.id)
    if is_complete(run, wanted):
        return None
    words = [str(project.folder), run.id]
    words += [] if listed is None else ["--cases", str(listed)]
    handle = executor.submit(TRIAL_VERB, words, run.folder.log)
    if handle.pid is not None:
        run.claim(handle.pid)
    error = yield from _watch(run, handle, wanted, stop)
    return None if is_complete(run, wanted) or stop() else error


def _watch(
    run: Run, handle: Handle | None, wanted: Sequence[str], stop: Callable[[], bool]
) -> Generator[Event, None, str]:
    """Follow a worker to its end; returns what it says went wrong.

    Without a handle it is one that an earlier call has left at work.
    """

    def relay() -> bool:
        if stop():
            run.request_stop()
        return False  # look on until the child has written its checkpoint

    error = None
    for event in follow(run, handle, poll_s=POLL_S, stop=relay):
        if isinstance(event, Finished):
            error = event.error if event.reason == "failed" else None
        else:
            yield event
    while handle.poll() is None if handle is not None else _has_worker(run):
        relay()
        done = sum(map(run.has_prediction, wanted))
        yield Staged(stage="Predicting", done=done, total=len(wanted))
        time.sleep(POLL_S)
    said = (last_output(run) or ["its process ended early"])[-1]
    return (error or said).removeprefix("semiseg: ")


def score(
    run: Run,
    cases: Mapping[str, Case],
    reference: Callable[[str, Case], NDArray[np.uint8]],
    labels: LabelScheme,
) -> Generator[Event, None, dict[str, dict[str, Metrics]]]:
    """Score stored predictions; returns metrics by name and class.

    Parameters
    ----------
    run : Run
        Has predicted the cases.
    cases : mapping
        Cases by the name that is reported.
    reference : callable
        Reference mask (Z, Y, X) of a name and its case.
    labels : LabelScheme
        The classes.
    """
    found = {}
    for done, (name, case) in enumerate(cases.items(), start=1):
        _, mask = run.read_mask(case.id, case.geometry)
        truth = reference(name, case)
        found[name] = evaluate_labels(mask, truth, case.geometry, labels)
        yield Staged(stage="Scoring", done=done, total=len(cases))
    return found


def _has_worker(run: Run) -> bool:
    """Whether another process is at work on a run: one that outlived its parent."""
    return run.is_working and run.pid != os.getpid()


def _is_elsewhere(run: Run) -> bool:
    """Whether the process is one of another machine, or of an earlier container."""
    claim = run.claimed
    return claim is not None and claim.host not in ("", machine())
