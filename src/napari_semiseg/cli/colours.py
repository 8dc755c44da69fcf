"""colours: how the structures of a project are drawn."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_semiseg.cli import render
from napari_semiseg.cli.options import Json, ProjectPath


def register(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(colours)


def colours(
    project: ProjectPath,
    palette: Annotated[
        str | None,
        typer.Option(help="okabe-ito, bright or vibrant; safe for the colour-blind."),
    ] = None,
    json: Json = False,
) -> None:
    """Show the colours of a project's structures, or take others."""
    from napari_semiseg.project.project import Project

    opened = Project.open(project)
    if palette is not None:
        opened.recolour(palette)
    if json:
        render.emit({"colours": {item.name: item.colour for item in opened.labels}})
        return
    for item in opened.labels:
        render.say(f"{item.colour}  {item.value}={item.name}")
