"""Show trainings in the trackers of experiments, from their event logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.core.events import Pictured, Stepped, Validated
from napari_semiseg.errors import ConfigError, ProjectError

if TYPE_CHECKING:
    from napari_semiseg.core.events import Event
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

TRACKERS = ("tensorboard",)


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
        Folder with one for each run; by default ``tensorboard`` in the project.
    to : {"tensorboard"}
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
    try:
        from tensorboard.compat.proto.event_pb2 import Event as Record
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise ConfigError(
            f"expected TensorBoard, found '{error}'; run: pip install "
            f"'napari-semiseg[tensorboard]'"
        ) from error
    chosen = list(runs) or [run for run in project.runs() if run.is_training]
    if not chosen:
        raise ProjectError(
            "expected a training, found none; train first: semiseg train"
        )
    root = project.folder / to if out is None else Path(out)
    written = {}
    for run in chosen:
        folder = root / run.id
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        writer = EventFileWriter(str(folder))
        settings = json.dumps(run.config.model_dump(mode="json"), indent=2)
        about = text_pb("settings", f"```\n{settings}\n```")
        writer.add_event(Record(wall_time=run.created, step=0, summary=about))
        count = 0
        for event in run.events():
            for step, name, value in _values(event):
                summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
                record = Record(wall_time=event.at, step=step, summary=summary)
                writer.add_event(record)
                count += 1
        writer.close()
        written[run.id] = count
    return written


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
