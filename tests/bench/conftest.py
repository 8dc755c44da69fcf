"""A data set of bright balls in nnU-Net's layout, and a worker without PyTorch."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_semiseg.bench.layout import Dataset
from napari_semiseg.bench.runner import Bench
from napari_semiseg.bench.spec import Benchmark, Budget, Entry
from napari_semiseg.bench.worker import FACTS, Facts
from napari_semiseg.core.events import Finished, Planned, Started, Stepped
from napari_semiseg.io.atomic import write_json
from napari_semiseg.project.store import Project
from synthetic import ball, save_nifti

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_semiseg.project.runs import Run

IDS = tuple(f"case_{number}" for number in range(7))
NOBODY = 2**30
"""A number that no process has."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Seven images of 24^3 voxels with their masks, and ``dataset.json``."""
    folder = tmp_path / "Balls"
    for number, name in enumerate(IDS):
        mask = ball(number)
        noise = np.random.default_rng(number).normal(0, 10, mask.shape)
        image = (100 * mask + noise).astype(np.int16)
        save_nifti(folder / "imagesTr" / f"{name}.nii.gz", image)
        save_nifti(folder / "labelsTr" / f"{name}.nii.gz", mask)
    described = {"labels": {"background": 0, "ball": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


@pytest.fixture
def make_bench(data: Path, tmp_path: Path) -> Callable[..., Bench]:
    """Make a benchmark of two methods; every part of it may be another one."""

    def make(methods: str = "supervised,ug_mcl", **changes: Any) -> Bench:
        values: dict[str, Any] = {
            "data": data,
            "labelled": {"two": IDS[:2]},
            "unlabelled": IDS[:4],
            "test": IDS[4:],
            "entries": tuple(map(Entry.parse, methods.split(","))),
            "budgets": (Budget(steps=3),),
        }
        benchmark = Benchmark(**values | changes)
        dataset = Dataset.open(data)
        scheme = dataset.scheme((), ())
        return Bench(benchmark, dataset, scheme, tmp_path / "out")

    return make


@dataclass
class FakeWorkers:
    """Stands in for child processes: trains by writing down that it did.

    Attributes
    ----------
    started : list of str
        Run ids, in order.
    broken : dict
        What a run says before it ends with exit code 1, by its id.
    empty : set of str
        Runs that predict nothing.
    during : callable
        Called with the run before it is over.
    """

    predict: Callable[..., Any]
    started: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)
    during: Callable[[Run], None] = lambda run: None

    def start(self, words: list[str], log: Path) -> FakeJob:
        _verb, folder, run_id = words
        project = Project.open(folder)
        run = project.run(run_id)
        self.started.append(run_id)
        job = FakeJob(started=time.time())
        if run_id in self.broken:
            log.write_text(f"semiseg: {self.broken[run_id]}\n")
            job.code = 1
            return job
        steps = run.config.steps or 7
        run.clear_stop()
        run.append(Started(run=run_id, method=run.config.method, pid=NOBODY))
        run.append(
            Planned(device="cpu", steps=steps, seconds_per_step=1.0, parameters=1000)
        )
        run.append(
            Stepped(
                step=steps,
                steps=steps,
                losses={"supervised": 0.5},
                learning_rate=0.1,
                seconds=30.0,
                seconds_left=0.0,
            )
        )
        self.during(run)
        reason = "cancelled" if run.stop_requested else "completed"
        run.append(Finished(run=run_id, reason=reason, step=steps, seconds=30.0))
        if reason == "completed":
            for case in project.cases(split="test"):
                made = self.predict(run, case, empty=run_id in self.empty)
                run.write_prediction(made, case.image)
            facts = Facts(
                steps=steps,
                predict_seconds=1.5,
                peak_memory_mb=321.0,
                peak_gpu_mb=1234.0,
            )
            write_json(run.folder.path / FACTS, facts.model_dump())
        return job


@dataclass
class FakeJob:
    """A process that is over."""

    started: float
    code: int = 0
    pid: int = NOBODY

    def poll(self) -> int:
        return self.code


@pytest.fixture
def workers(
    monkeypatch: pytest.MonkeyPatch, predict_ball: Callable[..., Any]
) -> FakeWorkers:
    """Workers without PyTorch in the place of the real ones."""
    fake = FakeWorkers(predict_ball)
    monkeypatch.setattr("napari_semiseg.jobs.start", fake.start)
    return fake
