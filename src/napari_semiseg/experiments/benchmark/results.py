"""What came out, run by run: ``results.json``."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil
from pydantic import Field

from napari_semiseg.errors import ConfigError
from napari_semiseg.experiments.stored import Stored, earlier, refuse_others
from napari_semiseg.imaging.metrics import Metrics

if TYPE_CHECKING:
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.experiments.benchmark.spec import Benchmark, Trial

FILE = "results.json"


class TrialResult(Stored):
    """One training and its scores, or why there are none.

    Attributes
    ----------
    labelled, labels : str, int
        Name of the list of labelled cases, and how many it holds.
    method, budget, seed : str, str, int
        As asked for.
    run : str
        Id of the run in the project ``projects/<labelled>``.
    steps, seconds : int, float
        Training steps, and seconds of training over all sessions.
    predict_seconds, score_seconds : float
        Seconds in which all test cases were predicted, and scored.
    peak_memory_mb : float, optional
        Most memory that its process held, 10^6 bytes; that of a GPU is not in it.
    peak_gpu_mb : float, optional
        Most memory that it held on a GPU, 10^6 bytes.
    parameters : int, optional
        Trained weights.
    notes : tuple of str
        What the training warned of, such as a case that it left out.
    cases : dict
        Metrics by test id and class name.
    error : str, optional
        Of a run that failed.
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
    notes: tuple[str, ...] = ()
    cases: dict[str, dict[str, Metrics]] = Field(default_factory=dict)

    def is_of(self, trial: Trial) -> bool:
        """Whether this came out of a trial."""
        return self.labelled == trial.labelled and self.run == trial.run_id


class Settings(Stored):
    """What all runs of a benchmark have in common, and what was asked for so far."""

    data: str
    classes: dict[str, int]
    labelled: dict[str, tuple[str, ...]]
    unlabelled: tuple[str, ...]
    test: tuple[str, ...]
    device: str
    settings: dict[str, str]
    methods: tuple[str, ...]
    budgets: tuple[str, ...]
    seeds: tuple[int, ...]


class Results(Stored):
    """Contents of ``results.json``.

    Attributes
    ----------
    config : Settings
        The lists hold ids, so that the benchmark can be repeated.
    machine : dict
        What it ran on.
    versions : dict
        Of the packages that decide the numbers.
    runs : tuple of TrialResult
        Finished and failed ones.
    """

    format: Literal[1] = 1
    config: Settings
    machine: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    runs: tuple[TrialResult, ...] = ()

    def completed(self) -> list[TrialResult]:
        """Runs with scores."""
        return [run for run in self.runs if run.status == "completed"]

    def failed(self) -> list[TrialResult]:
        """Runs without."""
        return [run for run in self.runs if run.status == "failed"]

    def is_done(self, trial: Trial) -> bool:
        """Whether a trial has its scores."""
        return any(run.is_of(trial) for run in self.completed())

    def with_run(self, result: TrialResult, environment: dict[str, Any]) -> Results:
        """Add a result; it takes the place of an earlier one of the same run.

        Parameters
        ----------
        result : TrialResult
            The new one.
        environment : dict
            ``environment.json`` of its run.
        """
        others = (
            run
            for run in self.runs
            if (run.labelled, run.run) != (result.labelled, result.run)
        )
        found = dict(environment)
        versions = found.pop("packages", self.versions)
        found.pop("created", None)
        return self.model_copy(
            update={
                "runs": (*others, result),
                "machine": {**found, **_machine()} if found else self.machine,
                "versions": versions,
            }
        )


def begin(out: Path, benchmark: Benchmark, scheme: LabelScheme) -> Results:
    """Give the results so far, or none yet, for what is asked for now.

    Nothing is written.

    Raises
    ------
    SemisegError
        The folder holds something else, or a benchmark on other data.
    """
    asked = _settings(benchmark, scheme)
    path = out / FILE
    found = earlier(path, Results, "benchmark")
    if found is None:
        return Results(config=asked)
    return found.model_copy(update={"config": _joined(found.config, asked, path)})


def _settings(benchmark: Benchmark, scheme: LabelScheme) -> Settings:
    return Settings(
        data=str(benchmark.data.resolve()),
        classes={item.name: item.value for item in scheme},
        labelled=dict(benchmark.labelled),
        unlabelled=benchmark.unlabelled,
        test=benchmark.test,
        device=benchmark.device,
        settings=dict(benchmark.settings),
        methods=tuple(entry.label for entry in benchmark.entries),
        budgets=tuple(budget.text for budget in benchmark.budgets),
        seeds=benchmark.seeds,
    )


def _joined(old: Settings, new: Settings, path: Path) -> Settings:
    """Old and new settings together, where they speak of the same comparison."""
    common = ("data", "classes", "unlabelled", "test", "device", "settings")
    refuse_others(path, old, new, common, "benchmark")
    for name, ids in new.labelled.items():
        if old.labelled.get(name, ids) != ids:
            raise ConfigError(
                f"{path}: expected the same cases in list '{name}', found others; "
                "rename the list, or choose another --out"
            )
    return new.model_copy(
        update={
            "labelled": {**old.labelled, **new.labelled},
            "methods": tuple(dict.fromkeys((*old.methods, *new.methods))),
            "budgets": tuple(dict.fromkeys((*old.budgets, *new.budgets))),
            "seeds": tuple(sorted({*old.seeds, *new.seeds})),
        }
    )


def _machine() -> dict[str, Any]:
    """Processor by its name, where the system tells it, and memory."""
    memory = round(psutil.virtual_memory().total / 2**30, 1)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    name = names[0].strip() if names else platform.processor() or platform.machine()
    return {"processor": name, "memory_gib": memory}
