"""Audit labels: predict each case by a model that was trained without its label."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.text import listed
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.execution import local
from napari_semiseg.experiments.experiment import TrialStarted
from napari_semiseg.experiments.simulation.annotator import copy_project
from napari_semiseg.experiments.training import ScoredTraining
from napari_semiseg.project.cases.references import FileFacts
from napari_semiseg.project.review.label_audit import (
    AuditedLabel,
    LabelAudit,
    audit_folder,
    doubtful_slices,
)
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.events import Event
    from napari_semiseg.execution.executor import Executor
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project

AUTHOR = "semiseg audit"
FOLDS, NAMED = 4, 3


def audit(
    project: Project,
    config: TrainingConfig,
    *,
    folds: int = FOLDS,
    out: str | Path | None = None,
    executor: Executor | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[TrialStarted | Event]:
    """Rank the slices whose human label is probably wrong, by cross-fitted models.

    The labelled cases are dealt into folds. For each a model is trained, in a copy of
    the project, with the labels of the other folds, and predicts the cases of this one.
    No model learns from a test label; those are predicted too. ``LabelAudit.read``
    has the answer, and `suggest` ranks by it (strategy "audit").

    Parameters
    ----------
    project : Project
        Gets ``audit.json``, and stays as it is otherwise.
    config : TrainingConfig
        Of each training.
    folds : int
        How many, at least 2; as many as labels to learn from where those are fewer.
    out : Path, optional
        Holds the copies; by default `audit_folder`. The same call continues what was
        interrupted, unless a label has changed.
    executor : Executor, optional
        Starts the trainings; by default child processes of this one.
    stop : callable
        Asked often; the generator then ends once a checkpoint is written.

    Yields
    ------
    TrialStarted, Event
        The beginning of each fold, and the events of its training.

    Raises
    ------
    SemisegError
        There are too few labelled cases, or a training fails.
    """
    cases = _labelled(project)
    learned = [case for case in cases if case.split is not Split.TEST]
    if folds < 2:
        raise ConfigError(f"expected at least 2 folds, found {folds}; choose more")
    if len(learned) < 2:
        raise ProjectError(
            f"expected labels of at least 2 cases that are not for testing, found "
            f"{len(learned)}; label more"
        )
    folds = min(folds, len(learned))
    root = audit_folder(project) if out is None else Path(out)
    runner, found = executor or local.LocalExecutor(low_priority=False), {}
    for fold in range(folds):
        held_out = [*learned, *(case for case in cases if case.split is Split.TEST)]
        held_out = held_out[fold::folds]
        names = listed([case.id for case in held_out], most=NAMED)
        yield TrialStarted(f"without the labels of {names}", fold + 1, folds)
        training = _prepare(project, config, learned, held_out, root, fold)
        outcome = yield from training.perform(runner, stop)
        if outcome is None:
            return
        if outcome.error is not None:
            raise ProjectError(f"fold {fold + 1} of {folds}: {outcome.error}")
        for case in held_out:
            copy = training.project.case(case.id)
            prediction = training.run.read_prediction(copy, copy.geometry)
            label = _label(case)
            found[case.id] = AuditedLabel(
                file=FileFacts.of(case.folder.label),
                slices=doubtful_slices(label, prediction),
            )
    LabelAudit(cases=found).write(project)


def _labelled(project: Project) -> list[Case]:
    cases = project.cases(state=(CaseState.LABELLED, CaseState.PARTIAL))
    return [case for case in cases if case.human_verified]


def _label(case: Case) -> NDArray[np.uint8]:
    label = case.read_label()
    assert label is not None
    return label


def _prepare(
    project: Project,
    config: TrainingConfig,
    learned: list[Case],
    held_out: list[Case],
    root: Path,
    fold: int,
) -> ScoredTraining:
    """Copy the project with the labels of the other folds, or complete the copy."""
    hidden = {case.id for case in held_out}
    shown = [case for case in learned if case.id not in hidden]
    facts = [f"{case.id} {FileFacts.of(case.folder.label)}" for case in shown]
    text = "\n".join([*facts, *sorted(hidden), config.model_dump_json()])
    key = hashlib.sha256(text.encode()).hexdigest()[:8]
    copy = copy_project(
        project,
        root / f"fold_{fold + 1}_{key}",
        [case.id for case in shown],
        sorted(hidden),
    )
    for case in shown:
        if not copy.case(case.id).has_label:
            copy.set_label(case.id, _label(case), by=AUTHOR)
    return ScoredTraining(
        copy,
        Run(copy.layout.run("audit")),
        config,
        tests={name: copy.case(name) for name in sorted(hidden)},
        reference=lambda name, _: _label(project.case(name)),
    )
