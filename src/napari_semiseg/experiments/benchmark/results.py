"""Keep what came out of a benchmark, training by training: ``results.json``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import psutil
from pydantic import Field

from napari_semiseg.experiments.benchmark.spec import Benchmark, MethodTrial
from napari_semiseg.experiments.results_file import ExperimentResults, Stored
from napari_semiseg.imaging.metrics import Metrics

if TYPE_CHECKING:
    from napari_semiseg.project.runs.process import Environment


class MethodResult(Stored):
    """One training and its scores, or its error.

    Attributes
    ----------
    labelled, labels : str, int
        Name of the list of labelled cases, and how many it holds.
    run : str
        Id of the run in the project ``projects/<labelled>``.
    seconds, predict_seconds, score_seconds : float
        Of training over all sessions, and for all test cases.
    peak_memory_mb, peak_gpu_mb : float, optional
        Peak resident set of its process and of its tensors on a GPU, 10^6 bytes.
    parameters : int, optional
        Trained weights.
    gradient_ratio : float, optional
        Gradient of the terms on unlabelled crops over that of labelled ones.
    notes : tuple of str
        Warnings of the training, such as a case that it left out.
    cases : dict
        Metrics by test id and class name.
    """

    labelled: str
    labels: int
    method: str
    budget: str
    minutes: float | None = None
    seed: int
    run: str
    status: Literal["completed", "failed"]
    error: str | None = None
    device: str | None = None
    steps: int = 0
    seconds: float = 0.0
    predict_seconds: float = 0.0
    score_seconds: float = 0.0
    peak_memory_mb: float | None = None
    peak_gpu_mb: float | None = None
    parameters: int | None = None
    gradient_ratio: float | None = None
    notes: tuple[str, ...] = ()
    cases: dict[str, dict[str, Metrics]] = Field(default_factory=dict)

    def is_of(self, trial: MethodTrial) -> bool:
        """Whether this came out of a trial."""
        return self.labelled == trial.labelled and self.run == trial.run_id


class Machine(Stored):
    """The machine that trained; without a processor where none is known yet."""

    python: str | None = None
    platform: str = ""
    processor: str | None = None
    cores: int | None = None
    memory_gib: float | None = None

    @classmethod
    def here(cls, environment: Environment) -> Self:
        """Describe this machine by a run's environment, processor and memory."""
        memory = round(psutil.virtual_memory().total / 2**30, 1)
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        except OSError:
            lines = []
        names = [
            line.split(":", 1)[1] for line in lines if line.startswith("model name")
        ]
        return cls(
            python=environment.python,
            platform=environment.platform,
            processor=names[0].strip() if names else environment.processor,
            cores=environment.cores,
            memory_gib=memory,
        )


class BenchmarkResults(ExperimentResults[Benchmark]):
    """Contents of ``results.json``: machine, versions of packages, and all runs."""

    FILE: ClassVar[str] = "results.json"

    machine: Machine = Machine()
    versions: dict[str, str] = Field(default_factory=dict)
    runs: tuple[MethodResult, ...] = ()

    def completed(self) -> list[MethodResult]:
        """Runs with scores."""
        return [run for run in self.runs if run.status == "completed"]

    def failed(self) -> list[MethodResult]:
        """Runs without."""
        return [run for run in self.runs if run.status == "failed"]

    def with_run(
        self, result: MethodResult, environment: Environment | None = None
    ) -> Self:
        """Add or replace the result of a run, with what it was made by."""
        others = (
            run
            for run in self.runs
            if (run.labelled, run.run) != (result.labelled, result.run)
        )
        update: dict[str, Any] = {"runs": (*others, result)}
        if environment is not None:
            update["machine"] = Machine.here(environment)
            update["versions"] = environment.packages
        return self.model_copy(update=update)
