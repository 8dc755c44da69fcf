from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_semiseg.project.project import Project


@pytest.fixture
def predicted_run(ball_project: Project, predict_ball: Callable[..., Any]) -> Run:
    """A run that has ended, with a prediction of case_3."""
    run = Run.create(ball_project, TrainingConfig(steps=5))
    run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
    run.append(Finished(run=run.id, reason="completed", step=5, seconds=1.0))
    case = ball_project.case("case_3")
    run.write_prediction(predict_ball(run, case), case.image)
    return run
