"""Show trainings in the trackers of experiments, from their event logs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_semiseg.core.events import Pictured, Stepped, Validated
from napari_semiseg.errors import ConfigError, ProjectError

if TYPE_CHECKING:
    from napari_semiseg.core.events import Event
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run


NOT_IN_MLFLOW = re.compile(r"[^\w. :/-]")
"""What MLflow takes in no name."""
AT_ONCE = 1000
"""Most values that it takes at once."""


def log_runs(
    project: Project,
    out: str | Path | None = None,
    *,
    to: str = "tensorboard",
    runs: Sequence[Run] = (),
) -> dict[str, int]:
    """Write losses, scores and settings of trainings for a tracker, each anew.

    Parameters
    ----------
    out : Path, optional
        Folder for TensorBoard's files, one for each run, or for MLflow's database; by
        default ``tensorboard`` or ``mlflow`` in the project.
    to : {"tensorboard", "mlflow"}
        The tracker.
    runs : sequence of Run, optional
        By default all trainings.

    Returns
    -------
    dict
        Number of values by run.

    Raises
    ------
    SemisegError
        The tracker is not known or not installed, or nothing was trained yet.
    """
    if to not in TRACKERS:
        raise ConfigError(f"expected a tracker of {', '.join(TRACKERS)}, found {to!r}")
    chosen = list(runs) or [run for run in project.runs() if run.is_training]
    if not chosen:
        raise ProjectError(
            "expected a training, found none; train first: semiseg train"
        )
    root = project.folder / to if out is None else Path(out)
    written = {}
    try:
        for run in chosen:
            values = [
                LoggedValue(event.at, *value)
                for event in run.events()
                for value in _values(event)
            ]
            TRACKERS[to].write(project, run, root, values)
            written[run.id] = len(values)
    except ImportError as error:
        raise ConfigError(
            f"expected {to}, found '{error}'; run: pip install 'napari-semiseg[{to}]'"
        ) from error
    return written


class LoggedValue(NamedTuple):
    """A number of a training: when (Unix time, s), at which step, what, how much."""

    at: float
    step: int
    name: str
    value: float


def _to_tensorboard(
    _project: Project, run: Run, root: Path, values: Sequence[LoggedValue]
) -> None:
    from tensorboard.compat.proto.event_pb2 import Event as Record
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = root / run.id
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    writer = EventFileWriter(str(folder))
    settings = json.dumps(run.config.model_dump(mode="json"), indent=2)
    about = text_pb("settings", f"```\n{settings}\n```")
    writer.add_event(Record(wall_time=run.created, step=0, summary=about))
    for at, step, name, value in values:
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        writer.add_event(Record(wall_time=at, step=step, summary=summary))
    writer.close()


def _to_mlflow(
    project: Project, run: Run, root: Path, values: Sequence[LoggedValue]
) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    root.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(f"sqlite:///{root.resolve().as_posix()}/mlflow.db")
    known = client.get_experiment_by_name(project.name)
    experiment = (
        client.create_experiment(project.name) if known is None else known.experiment_id
    )
    for old in client.search_runs([experiment], f"tags.`mlflow.runName` = '{run.id}'"):
        client.delete_run(old.info.run_id)
    started = client.create_run(experiment, round(1000 * run.created), run_name=run.id)
    settings = run.config.model_dump(mode="json")
    params = [Param(name, json.dumps(value)) for name, value in settings.items()]
    client.log_batch(started.info.run_id, params=params)
    metrics = [
        Metric(NOT_IN_MLFLOW.sub("_", name), value, round(1000 * at), step)
        for at, step, name, value in values
    ]
    for first in range(0, len(metrics), AT_ONCE):
        batch = metrics[first : first + AT_ONCE]
        client.log_batch(started.info.run_id, metrics=batch)
    client.set_terminated(started.info.run_id)


class Tracker(NamedTuple):
    """What writes the values of a training into a folder, and what shows them."""

    write: Callable[[Project, Run, Path, Sequence[LoggedValue]], None]
    shown_by: str


TRACKERS = {
    "tensorboard": Tracker(_to_tensorboard, "tensorboard --logdir {}"),
    "mlflow": Tracker(
        _to_mlflow, "mlflow ui --backend-store-uri sqlite:///{}/mlflow.db"
    ),
}


def _values(event: Event) -> Iterator[tuple[int, str, float]]:
    """Step, name and value of each number that an event of a training has."""
    if isinstance(event, Stepped):
        for name, loss in event.losses.items():
            yield event.step, f"loss/{name}", loss
        yield event.step, "learning_rate", event.learning_rate
        if event.gradient_ratio is not None:
            yield event.step, "gradient_ratio", event.gradient_ratio
    elif isinstance(event, Validated):
        for name, dice in event.dice.items():
            yield event.step, f"validation_dice/{name}", dice
    elif isinstance(event, Pictured) and event.agreement is not None:
        yield event.step, "agreement_with_the_picture_before", event.agreement
