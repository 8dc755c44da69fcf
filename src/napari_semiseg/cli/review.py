"""flag and skip: what a reviewer notes without a window."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_semiseg.cli import render
from napari_semiseg.cli.options import Json, ProjectPath
from napari_semiseg.errors import ConfigError

Cases = Annotated[list[str], typer.Argument(metavar="CASE…", help="Ids of the cases.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (flag, skip):
        app.command(verb.__name__)(verb)


def flag(
    project: ProjectPath,
    cases: Cases,
    comment: Annotated[
        str, typer.Option(metavar="TEXT", help="Why it needs a second look.")
    ] = "",
    clear: Annotated[bool, typer.Option("--clear", help="Take flags away.")] = False,
    json: Json = False,
) -> None:
    """Flag cases for a second look, with a comment."""
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review import flags

    if clear and comment:
        raise ConfigError("expected --comment or --clear, found both; give one")
    opened = Project.open(project)
    ids = [opened.case(name).id for name in cases]
    for name in ids:
        if clear:
            flags.unflag(opened, name)
        else:
            flags.flag(opened, name, comment)
    if json:
        comments = {name: opened.case(name).record.flag for name in ids}
        render.emit({"flags": comments})
        return
    render.say(f"{'Cleared' if clear else 'Flagged'}: {', '.join(ids)}")


def skip(project: ProjectPath, cases: Cases, json: Json = False) -> None:
    """Put cases off: they go to the end of the queue until predicted anew."""
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review import flags

    opened = Project.open(project)
    ids = [opened.case(name).id for name in cases]
    for name in ids:
        flags.skip(opened, name)
    if json:
        render.emit({"skipped": ids})
        return
    render.say(f"Skipped: {', '.join(ids)}")
