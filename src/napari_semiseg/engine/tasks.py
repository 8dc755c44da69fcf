"""Predict a case as a task of a cluster; the model stays in memory between tasks."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

from napari_semiseg.core.events import Predicted
from napari_semiseg.engine.api import load_predictor, predicted_case
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import machine
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.workers import BATCH, Worker

if TYPE_CHECKING:
    from napari_semiseg.engine.inference.predictor import Predictor
    from napari_semiseg.project.runs.run import Run

_ONE_AT_A_TIME = threading.Lock()


def predict_case(
    project: str, run: str, step: int, batch: str, maps: int, case: str
) -> str:
    """Predict a case by a run's model and store that, unless that is done already.

    A cluster repeats calls whose result was lost with a worker.

    Parameters
    ----------
    project, run : str
        Folder and id.
    step : int
        Of the model; one that was trained further meanwhile is refused.
    batch : str
        What all tasks of one command have in common, by which they are stopped.
    maps : int
        0 to store the mask alone.
    case : str
        Id.

    Returns
    -------
    str
        The event, as a line of a log; empty where the run was asked to stop.
    """
    with _ONE_AT_A_TIME:
        opened, chosen, worker, predictor = _loaded(project, run, step, batch, maps)
        if chosen.is_predicted(case, step, maps=bool(maps)):
            score = chosen.prediction_record(case).score
            found = Predicted(case=case, uncertainty=score.uncertainty, done=1, total=1)
            return found.to_line()
        with worker.at_work():
            event = predicted_case(
                opened, chosen, opened.case(case), predictor, step, maps=bool(maps)
            )
        if event is None:
            return ""
        worker.append(event)
        return event.to_line()


@lru_cache(maxsize=1)
def _loaded(
    project: str, run: str, step: int, batch: str, maps: int
) -> tuple[Project, Run, Worker, Predictor]:
    opened = Project.open(project)
    chosen = opened.run(run)
    name = f"{machine() or 'task'}-{os.getpid()}"
    worker = Worker(chosen.folder, name, {BATCH[0]: batch})
    predictor, found = load_predictor(
        opened, chosen, worker.cancellation, feature_maps=bool(maps)
    )
    if found != step:
        raise ProjectError(
            f"expected the model of step {step} of run {run!r}, found that of {found}; "
            "start the prediction again"
        )
    return opened, chosen, worker, predictor
