"""Semi-supervised 3D medical image segmentation: label a few scans, learn from all.

>>> import napari_semiseg as ss
>>> project = ss.Project.create("atrium", labels={"left atrium": 1})  # doctest: +SKIP
>>> for event in ss.train(project, ss.TrainingConfig(minutes=20)):  # doctest: +SKIP
...     ...

Importing the package loads neither PyTorch nor Qt; a name loads what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_semiseg.active_learning.suggest import suggest
    from napari_semiseg.assistants.assist import assist
    from napari_semiseg.assistants.prompts import Prompt
    from napari_semiseg.core import events
    from napari_semiseg.core.case import CaseState, Split
    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.deployment.bundle import bundle
    from napari_semiseg.deployment.export import export_model
    from napari_semiseg.deployment.runner import run_model
    from napari_semiseg.deployment.tracking import log_runs
    from napari_semiseg.engine import resume, train
    from napari_semiseg.errors import (
        ConfigError,
        EngineMissing,
        ImageError,
        ProjectError,
        SemisegError,
    )
    from napari_semiseg.experiments.audit import audit
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.doctor import check_project
    from napari_semiseg.project.exporting.export import export
    from napari_semiseg.project.exporting.push import push
    from napari_semiseg.project.importing.propose import propose
    from napari_semiseg.project.importing.pull import pull
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.accept import accept, reopen
    from napari_semiseg.project.review.evaluate import evaluate
    from napari_semiseg.project.review.model_changes import compare_models
    from napari_semiseg.project.review.readers import (
        add_reader,
        combine_readers,
        compare_readers,
    )
    from napari_semiseg.project.review.refine import refine
    from napari_semiseg.project.runs.run import Run

    __version__: str

__all__ = [
    "Case",
    "CaseState",
    "ConfigError",
    "EngineMissing",
    "Geometry",
    "ImageError",
    "LabelScheme",
    "Prediction",
    "Project",
    "ProjectError",
    "Prompt",
    "Run",
    "SemisegError",
    "Split",
    "TrainingConfig",
    "__version__",
    "accept",
    "add_reader",
    "assist",
    "audit",
    "bundle",
    "check_project",
    "combine_readers",
    "compare_models",
    "compare_readers",
    "evaluate",
    "events",
    "export",
    "export_model",
    "log_runs",
    "predict",
    "propose",
    "pull",
    "push",
    "refine",
    "reopen",
    "resume",
    "run_model",
    "suggest",
    "train",
]

_HOMES = {
    "Case": "project.cases.case",
    "CaseState": "core.case",
    "ConfigError": "errors",
    "EngineMissing": "errors",
    "Geometry": "core.geometry",
    "ImageError": "errors",
    "LabelScheme": "core.labels",
    "Prediction": "core.prediction",
    "Project": "project.project",
    "ProjectError": "errors",
    "Prompt": "assistants.prompts",
    "Run": "project.runs.run",
    "SemisegError": "errors",
    "Split": "core.case",
    "TrainingConfig": "core.config",
    "accept": "project.review.accept",
    "add_reader": "project.review.readers",
    "assist": "assistants.assist",
    "audit": "experiments.audit",
    "bundle": "deployment.bundle",
    "check_project": "project.doctor",
    "combine_readers": "project.review.readers",
    "compare_models": "project.review.model_changes",
    "compare_readers": "project.review.readers",
    "evaluate": "project.review.evaluate",
    "export": "project.exporting.export",
    "export_model": "deployment.export",
    "log_runs": "deployment.tracking",
    "propose": "project.importing.propose",
    "pull": "project.importing.pull",
    "push": "project.exporting.push",
    "refine": "project.review.refine",
    "reopen": "project.review.accept",
    "resume": "engine",
    "run_model": "deployment.runner",
    "suggest": "active_learning.suggest",
    "train": "engine",
}


def predict(run: Run, case: Case) -> Prediction:
    """Predict one case with a run's model; nothing is stored.

    Parameters
    ----------
    run : Run
        A run with a checkpoint.
    case : Case
        A case of the run's project.

    Returns
    -------
    Prediction
        On the case's own grid; ``run.write_prediction`` stores it.

    Raises
    ------
    EngineMissing
        PyTorch is not installed.
    ProjectError
        The run has no model yet.
    """
    from napari_semiseg.project.project import Project

    engine = import_module("napari_semiseg.engine")  # a door that opens only on use
    prediction: Prediction = engine.predict(
        Project.open(run.folder.path.parents[1]), run, case
    )
    return prediction


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("napari-semiseg")
    if name == "events":
        return import_module("napari_semiseg.core.events")
    if name in _HOMES:
        return getattr(import_module(f"napari_semiseg.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
