"""Curves of a training, read back by TensorBoard itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import napari_semiseg as ss
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Started, Stepped, Validated
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from napari_semiseg.project.project import Project


def test_losses_and_scores_are_curves(ball_project: Project, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="expected a training"):
        ss.log_runs(ball_project)
    run = Run.create(ball_project, TrainingConfig(method="ua_mt", seed=7))
    run.append(Started(run=run.id, method="ua_mt", pid=1, at=99.0))
    for step, loss in ((1, 0.5), (2, 0.25)):
        shared = {"learning_rate": 0.1, "seconds": 1.0, "seconds_left": 1.0}
        losses = {"supervised": loss}
        event = Stepped(step=step, steps=2, losses=losses, at=100.0 + step, **shared)
        run.append(event)
    run.append(Validated(step=2, dice={"left atrium": 0.75}))
    for _ in range(2):  # once more does not write twice
        assert ss.log_runs(ball_project, tmp_path) == {run.id: 5}
    found = EventAccumulator(str(tmp_path / run.id)).Reload()
    curve = found.Scalars("loss/supervised")
    assert [(one.wall_time, one.step, one.value) for one in curve] == [
        (101.0, 1, 0.5),
        (102.0, 2, 0.25),
    ]
    (dice,) = found.Scalars("validation_dice/left atrium")
    assert (dice.step, dice.value) == (2, 0.75)
    (settings,) = found.Tensors("settings")
    assert b'"seed": 7' in settings.tensor_proto.string_val[0]


def test_another_tracker_is_refused(ball_project: Project) -> None:
    with pytest.raises(
        ConfigError, match="tracker of tensorboard, mlflow, found 'paper'"
    ):
        ss.log_runs(ball_project, to="paper")


def test_mlflow_has_the_newest_values_of_each_training(
    ball_project: Project, tmp_path: Path
) -> None:
    mlflow = pytest.importorskip("mlflow")
    run = Run.create(ball_project, TrainingConfig(method="ua_mt", seed=7))
    run.append(Started(run=run.id, method="ua_mt", pid=1, at=99.0))
    run.append(Validated(step=2, dice={"left atrium (LA)": 0.75}, at=101.0))
    for _ in range(2):  # once more does not write twice
        assert ss.log_runs(ball_project, tmp_path, to="mlflow") == {run.id: 1}
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (found,) = client.search_experiments(filter_string="name = 'atrium'")
    (stored,) = client.search_runs([found.experiment_id])
    assert stored.info.run_name == run.id
    assert stored.data.params["seed"] == "7"
    (dice,) = client.get_metric_history(
        stored.info.run_id, "validation_dice/left atrium _LA_"
    )
    assert (dice.step, dice.value, dice.timestamp) == (2, 0.75, 101_000)
