"""Executors without processes: for the panel, for benchmarks and simulations."""

from __future__ import annotations

import os
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from unittest.mock import patch

from napari_semiseg.core.events import Finished, Planned, Started, Stepped
from napari_semiseg.errors import ProjectError
from napari_semiseg.experiments.worker import FACTS, TrialFacts
from napari_semiseg.io.atomic import write_json
from napari_semiseg.project.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_semiseg.project.runs.run import Run

NOBODY = 2**30
"""A number that no process has."""
SECONDS = 30.0


@dataclass
class FakeHandle:
    """A process that ends when the test sets its exit code."""

    code: int | None = None
    pid: int | None = NOBODY
    started: float = field(default_factory=time.time)
    session: str = ""
    terminated: bool = False
    place: str = ""
    job: str = ""
    log_start: int = 0
    withdrawn: bool = False

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.terminated = True

    def withdraw(self) -> bool:
        self.withdrawn = True
        return self.code is not None


@dataclass
class FakeExecutor:
    """Notes what is submitted; a training goes on for as long as this process.

    Attributes
    ----------
    submitted : list of list of str
        Verb and arguments, in order.
    handle : FakeHandle
        Of everything that is submitted.
    refusal : str or None
        Error that is raised instead.
    """

    parallel: ClassVar[int] = 1
    submitted: list[list[str]] = field(default_factory=list)
    handle: FakeHandle = field(
        default_factory=lambda: FakeHandle(pid=os.getpid(), started=0.0)
    )
    refusal: str | None = None

    def submit(self, verb: str, arguments: Sequence[str], log: Path) -> FakeHandle:
        if self.refusal is not None:
            raise ProjectError(self.refusal)
        self.submitted.append([verb, *arguments])
        if verb == "train":
            folder, _option, run_id = arguments
            run = Project.open(folder).run(run_id)
            method = run.config.method
            run.append(Started(run=run_id, method=method, pid=self.handle.pid))
        return self.handle


class WorkersHere:
    """Runs verbs in this process, which has loaded PyTorch already."""

    parallel: ClassVar[int] = 1

    def submit(self, verb: str, arguments: Sequence[str], log: Path) -> FakeHandle:
        from napari_semiseg.cli.app import app
        from napari_semiseg.cli.errors import exit_code

        handle = FakeHandle(pid=None)
        words = ["semiseg", verb, *arguments]
        with (
            log.open("a", encoding="utf-8") as output,
            redirect_stdout(output),
            redirect_stderr(output),
            patch.object(sys, "argv", words),
        ):
            handle.code = exit_code(app)
        return handle


@dataclass
class FakeWorkers:
    """Trains by writing down that it did, and predicts the reference, or nothing.

    Attributes
    ----------
    started : list of str
        Run ids, in order.
    wanted : list of list of str
        Ids that each was to predict.
    broken : dict
        What a run says before it ends with exit code 1, by its id.
    empty : set of str
        Runs that predict nothing.
    during : callable
        Called with the run before it is over.
    """

    predict: Callable[..., Any]
    parallel: int = 1
    started: list[str] = field(default_factory=list)
    wanted: list[list[str]] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)
    during: Callable[[Run], None] = lambda run: None

    def submit(self, verb: str, arguments: Sequence[str], log: Path) -> FakeHandle:
        folder, run_id, *listed = arguments
        project = Project.open(folder)
        run = project.run(run_id)
        self.started.append(run_id)
        tests = [case.id for case in project.cases(split="test")]
        wanted = Path(listed[1]).read_text().split() if listed else tests
        self.wanted.append(wanted)
        handle = FakeHandle(code=0)
        if run_id in self.broken:
            log.write_text(f"semiseg: {self.broken[run_id]}\n")
            handle.code = 1
            return handle
        run.clear_stop()
        steps = run.config.steps or 7
        self._train(run, steps)
        self.during(run)
        reason = "cancelled" if run.stop_requested else "completed"
        run.append(Finished(run=run_id, reason=reason, step=steps, seconds=SECONDS))
        if reason == "completed":
            self._predict(project, run, steps, wanted)
        return handle

    def _train(self, run: Run, steps: int) -> None:
        run.append(Started(run=run.id, method=run.config.method, pid=NOBODY))
        run.append(
            Planned(device="cpu", steps=steps, seconds_per_step=1.0, parameters=1000)
        )
        run.append(
            Stepped(
                step=steps,
                steps=steps,
                losses={"supervised": 0.5},
                learning_rate=0.1,
                seconds=SECONDS,
                seconds_left=0.0,
            )
        )

    def _predict(
        self, project: Project, run: Run, steps: int, wanted: list[str]
    ) -> None:
        run.folder.checkpoints.mkdir(exist_ok=True)
        run.folder.last.touch()
        for name in wanted:
            case = project.case(name)
            made = self.predict(run, case, empty=run.id in self.empty)
            run.write_prediction(made, case.image)
        facts = TrialFacts(
            steps=steps, predict_seconds=1.5, peak_memory_mb=321.0, peak_gpu_mb=1234.0
        )
        write_json(run.folder.path / FACTS, facts.model_dump())
