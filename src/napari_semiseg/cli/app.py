"""All verbs in one app."""

from __future__ import annotations

import typer

from napari_semiseg.cli import (
    accepting,
    analysis,
    bench,
    colours,
    loop,
    machine,
    project,
    review,
    simulate,
    training,
)

app = typer.Typer(
    name="semiseg",
    help="Semi-supervised segmentation of 3D medical images: label a few, learn "
    "from all.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    project,
    training,
    analysis,
    review,
    accepting,
    machine,
    loop,
    bench,
    simulate,
    colours,
):
    module.register(app)
