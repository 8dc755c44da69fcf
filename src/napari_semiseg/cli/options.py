"""Arguments and options that several verbs share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_semiseg.errors import ConfigError, ProjectError

if TYPE_CHECKING:
    from collections.abc import Iterable

ProjectPath = Annotated[
    Path, typer.Argument(metavar="PROJECT", help="Folder of the project.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else.")
]
CaseList = Annotated[
    Path | None,
    typer.Option("--cases", metavar="LIST", help="Text file with a case id a line."),
]
CaseIds = Annotated[
    list[str] | None, typer.Option("--case", metavar="ID", help="A case; repeat.")
]
RunId = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="Id of a run; the newest by default."),
]
Steps = Annotated[
    int | None, typer.Option("--steps", min=1, help="Budget in training steps.")
]
Minutes = Annotated[
    float | None, typer.Option("--minutes", help="Budget in minutes of training.")
]


def read_list(path: Path | None) -> list[str] | None:
    """Read ids from a text file, one a line; empty lines and # comments are left out.

    Raises
    ------
    ProjectError
        There is no such file, or no id in it.
    """
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ProjectError(
            f"{path}: expected a text file with a case id a line, found '{reason}'; "
            "check the path"
        ) from error
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    ids = list(dict.fromkeys(line for line in lines if line))
    if not ids:
        raise ProjectError(f"{path}: expected a case id a line, found none; add some")
    return ids


def chosen_ids(listed: Path | None, named: list[str] | None) -> list[str]:
    """Ids of a list and of options, each once; empty where neither is given."""
    return list(dict.fromkeys([*(read_list(listed) or ()), *(named or ())]))


def check_budget(minutes: float | None, steps: int | None = None) -> None:
    """Refuse a budget that is no time at all, or two of them.

    Raises
    ------
    ConfigError
        Both are given, or the minutes are not above zero and finite.
    """
    if minutes is not None and steps is not None:
        raise ConfigError("expected --minutes or --steps, found both; give one")
    if minutes is not None and not 0 < minutes < math.inf:
        raise ConfigError(f"expected --minutes above 0 and finite, found {minutes:g}")


def read_settings(texts: list[str] | None) -> dict[str, str]:
    """Read ``key=value`` texts.

    Raises
    ------
    ConfigError
        A text is not of that form.
    """
    settings = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"expected --set key=value, found {text!r}")
        settings[key.strip()] = value.strip()
    return settings


def read_structures(texts: Iterable[str]) -> dict[str, int]:
    """Read ``NAME=VALUE`` texts; a name may hold an equals sign itself.

    Raises
    ------
    ConfigError
        A text is not of that form.
    """
    found = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        if not name or not value.strip().isdigit():
            raise ConfigError(f"expected --structure NAME=VALUE, found {text!r}")
        found[name] = int(value)
    return found
