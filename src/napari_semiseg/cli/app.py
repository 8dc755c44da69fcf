"""Collect all verbs in one app."""

from __future__ import annotations

import sys
from copy import copy
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from collections.abc import Sequence


class App(typer.Typer):
    """Builds the verb that is asked for alone.

    The options of some list what is installed, which loads half of the package.
    """

    def __call__(self, args: Sequence[str] | None = None, **named: Any) -> Any:
        """Run the verb that the arguments name, by default those of the process."""
        words = sys.argv[1:] if args is None else list(args)
        narrow = copy(self)
        asked = [one for one in self.registered_commands if [one.name] == words[:1]]
        narrow.registered_commands = asked or self.registered_commands
        return typer.Typer.__call__(narrow, args, **named)


app = App(
    name="semiseg",
    help="Semi-supervised segmentation of 3D medical images: label a few, learn "
    "from all.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.callback()(lambda: None)  # so that one verb alone is called by its name too
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
