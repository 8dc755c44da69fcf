"""Fit the documents, which are read in the repository too, to the site.

Hooks of MkDocs, see mkdocs.yml.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mkdocs.structure.files import File
from typer.main import get_command

from napari_semiseg.cli.app import app

if TYPE_CHECKING:
    import click
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

OUTSIDE = re.compile(r"(\[[^]]+\])\(\.\./([^)#]+)\)")
"""A link to what is in the repository, but not among the documents."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of all commands, and the icon of the package."""
    files.append(File.generated(config, "reference/commands.md", content=commands()))
    icon = "resources/icon.svg"
    files.append(File.generated(config, "pictures/icon.svg", abs_src_path=icon))
    return files


def on_page_markdown(
    markdown: str, *, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Lead links out of the documents to the repository, or nowhere without one."""
    to = rf"\1({config.repo_url}/blob/main/\2)" if config.repo_url else r"\1"
    return OUTSIDE.sub(to, markdown)


def commands() -> str:
    """Return what ``--help`` of each verb says, as a page."""
    top = get_command(app)
    said = [f"# All commands\n\n{top.help}\n"]
    for name, verb in sorted(top.commands.items()):  # type: ignore[attr-defined]
        said.append(f"## {name}\n\n```text\n{help_of(verb, f'semiseg {name}')}\n```\n")
    return "\n".join(said)


def help_of(verb: click.Command, path: str) -> str:
    """Return what ``--help`` of a verb prints."""
    with verb.make_context(path, [], resilient_parsing=True) as context:
        return verb.get_help(context).strip()
