"""Collect all verbs in one app."""

from __future__ import annotations

import typer

from napari_semiseg.cli import (
    archive,
    data,
    demo,
    deployment,
    doctor,
    experiments,
    project,
    review,
    training,
)
from napari_semiseg.experiments.worker import TRIAL_VERB

app = typer.Typer(
    name="semiseg",
    help="Semi-supervised segmentation of 3D medical images: label a few, learn "
    "from all.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (
    project.init,
    data.add,
    data.label,
    data.propose,
    project.status,
    project.open_,
    training.train,
    training.resume,
    training.stop,
    training.predict,
    review.evaluate,
    review.compare,
    review.readers,
    review.suggest,
    data.export,
    deployment.export_model,
    deployment.run_model,
    deployment.bundle,
    deployment.log,
    archive.pull,
    archive.push,
    review.flag,
    review.skip,
    review.accept,
    review.reopen,
    review.undo,
    review.restore,
    review.refine,
    review.assist,
    training.methods,
    doctor.doctor,
    demo.demo,
    experiments.bench,
    experiments.simulate,
    experiments.audit,
    project.colours,
):
    app.command(verb.__name__.rstrip("_").replace("_", "-"))(verb)
app.command(TRIAL_VERB, hidden=True)(experiments.bench_trial)
