"""Define arguments and options that several verbs share, and read their values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_semiseg.errors import ConfigError, ProjectError

if TYPE_CHECKING:
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

_COMMENT = re.compile(r"^\s*#.*$|\s#(\s.*)?$")

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
Lock = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A structure that stays as it is; repeat."),
]
MethodName = Annotated[
    str | None, typer.Option(metavar="NAME", help="See semiseg methods.")
]
Steps = Annotated[
    int | None, typer.Option("--steps", min=1, help="Budget in training steps.")
]
Minutes = Annotated[
    float | None, typer.Option("--minutes", help="Budget in minutes of training.")
]
TrainingDevice = Annotated[
    str, typer.Option(metavar="auto|cpu|cuda|cuda:1|mps", help="Where to train.")
]
Devices = Annotated[
    str | None,
    typer.Option(metavar="N|all", help="GPUs of this machine that train together."),
]
SettingPairs = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any other setting of trainings; repeat."
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Dask: tcp://HOST:PORT, tls://…, local:N or slurm:N."
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE", help="ssh:HOST, slurm, slurm:HOST or tcp://…, tls://…"
    ),
]
Plane = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="axial, coronal or sagittal; else any."),
]
Masks = Annotated[
    Path, typer.Option(metavar="DIR", help="Reference masks, named like the cases.")
]


def open_project(folder: Path) -> Project:
    """Open a project."""
    from napari_semiseg.project.project import Project

    return Project.open(folder)


def find_run(project: Project, run: str | None) -> Run | None:
    """Look up the run that was named, if one was."""
    return None if run is None else project.run(run)


def read_list(path: Path | None) -> list[str] | None:
    """Read ids from a text file, one a line, without empty lines and comments.

    A comment begins with a # at the start of a line or between spaces: ids may hold
    one.
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
    lines = (_COMMENT.sub("", line).strip() for line in text.splitlines())
    ids = list(dict.fromkeys(line for line in lines if line))
    if not ids:
        raise ProjectError(f"{path}: expected a case id a line, found none; add some")
    return ids


def chosen_ids(listed: Path | None, named: list[str] | None) -> list[str]:
    """Ids of a list and of options, each once; empty where neither is given."""
    return list(dict.fromkeys([*(read_list(listed) or ()), *(named or ())]))


def named_ids(listed: Path | None, named: list[str] | None) -> list[str]:
    """As `chosen_ids`; refuses to go without a case."""
    ids = chosen_ids(listed, named)
    if not ids:
        raise ConfigError("expected cases (--case, --cases), found none; name some")
    return ids


def check_budget(minutes: float | None, steps: int | None = None) -> None:
    """Refuse two budgets, or minutes that are not above zero and finite."""
    if minutes is not None and steps is not None:
        raise ConfigError("expected --minutes or --steps, found both; give one")
    if minutes is not None and not 0 < minutes < math.inf:
        raise ConfigError(f"expected --minutes above 0 and finite, found {minutes:g}")


def read_settings(texts: Iterable[str] | None, option: str = "--set") -> dict[str, str]:
    """Read ``key=value`` texts; others are refused."""
    settings = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"expected {option} key=value, found {text!r}")
        settings[key.strip()] = value.strip()
    return settings


def read_structures(texts: Iterable[str] | None) -> dict[str, int]:
    """Read ``NAME=VALUE`` texts, where names may hold an equals sign too."""
    found = {}
    for text in texts or ():
        name, _, value = text.rpartition("=")
        if not name or not value.strip().isdecimal():
            raise ConfigError(f"expected --structure NAME=VALUE, found {text!r}")
        found[name] = int(value)
    return found


def split_commas(texts: Sequence[str] | None) -> list[str]:
    """Split what was repeated or separated by commas; each once, in order."""
    words = [word.strip() for text in texts or () for word in text.split(",")]
    return list(dict.fromkeys(word for word in words if word))


def whole_number(text: str, option: str, least: int) -> int:
    """Read a whole number of at least ``least``."""
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ConfigError(
            f"expected {option} with whole numbers from {least}, as 1,2, found {text!r}"
        )
    return int(text)
