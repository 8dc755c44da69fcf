"""Train and predict as the child process of an experiment."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_semiseg.core.case import Split
from napari_semiseg.core.events import Event, Warned
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import read_json, write_json

if TYPE_CHECKING:
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

TRIAL_VERB = "bench-trial"
"""Hidden verb of the command line that does the work of this module."""
FACTS = "bench.json"


class TrialFacts(BaseModel):
    """Measurements that only the child can make; kept beside the run's log.

    Attributes
    ----------
    steps : int
        Of the model, once training is complete.
    predict_seconds : float
        Over all sessions.
    peak_memory_mb, peak_gpu_mb : float
        Largest of all sessions, 10^6 bytes; the second is 0 without a GPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = 0
    predict_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    peak_gpu_mb: float = 0.0


def read_facts(run: Run) -> TrialFacts:
    """Read what the processes of a run have measured so far."""
    try:
        return TrialFacts.model_validate(read_json(run.folder.path / FACTS))
    except (ProjectError, ValidationError):
        return TrialFacts()


def train_and_predict(
    project: Project, run: Run, cases: Collection[str] | None = None
) -> Iterator[Event]:
    """Train a run to its end, from where it is, and predict cases.

    The model is the last checkpoint. A request to stop ends it early; the next call
    continues. Before a run with a budget in minutes is planned, what earlier ones have
    prepared is removed, so that each prepares within its own.
    Without ``cases`` the test cases are predicted.
    """
    from napari_semiseg import engine

    try:
        cache = project.layout.cache
        if run.config.minutes is not None and run.plan is None and cache.exists():
            shutil.rmtree(cache)
        if not _is_trained(run):
            if run.started:
                yield from engine.resume(project, run)
            else:
                yield from engine.train(project, run.config, run=run)
        if _is_trained(run):
            yield from _predict(project, run, cases)
    finally:
        _measure(run, 0.0)


def _is_trained(run: Run) -> bool:
    """Whether the last checkpoint is that of the last step."""
    from napari_semiseg.engine.training.checkpoint import Checkpoint

    plan = run.plan
    if plan is None or not run.has_model:
        return False
    return Checkpoint.load(run.folder.last).step >= plan.steps


def _predict(
    project: Project, run: Run, cases: Collection[str] | None
) -> Iterator[Event]:
    from napari_semiseg import engine

    if cases is None:
        chosen = project.cases(split=Split.TEST)
    else:
        chosen = [project.case(name) for name in cases]
    missing = [case for case in chosen if not run.has_prediction(case.id)]
    start = time.perf_counter()
    error = None
    for event in engine.predict_cases(project, run, missing) if missing else ():
        error = event.message if isinstance(event, Warned) else error
        yield event
    _measure(run, time.perf_counter() - start, trained=True)
    if error is not None:
        raise ProjectError(error)


def _measure(run: Run, seconds: float, *, trained: bool = False) -> None:
    from napari_semiseg.engine.devices import peak_gpu_mb

    if not run.folder.path.is_dir():
        return
    known, plan = read_facts(run), run.plan
    facts = TrialFacts(
        steps=plan.steps if trained and plan is not None else known.steps,
        predict_seconds=known.predict_seconds + seconds,
        peak_memory_mb=max(known.peak_memory_mb, peak_memory_mb()),
        peak_gpu_mb=max(known.peak_gpu_mb, peak_gpu_mb()),
    )
    write_json(run.folder.path / FACTS, facts.model_dump())


def peak_memory_mb() -> float:
    """Peak resident set of this process, 10^6 bytes; shared libraries count."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage includes the memory of the parent from which this was forked.
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
