"""Results that are also the state of what goes on: read again, asked for more."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_semiseg.core.config import describe
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.io.atomic import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Stored(BaseModel):
    """What is kept in a file of results."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Kept = TypeVar("Kept", bound=Stored)


def earlier(path: Path, kind: type[Kept], what: str) -> Kept | None:
    """Results that lie in a folder; None in a new one, and nothing is written.

    Parameters
    ----------
    path : Path
        Their file.
    kind : type
        What it holds.
    what : str
        What was done there, in a word.

    Raises
    ------
    ProjectError
        The folder holds something else.
    """
    folder = path.parent
    if path.exists():
        try:
            return kind.model_validate(read_json(path))
        except ValidationError as error:
            raise ProjectError(describe(error, str(path))) from error
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(
            f"{folder}: expected a new folder or one of an earlier {what}, found "
            "something else; choose another --out"
        )
    return None


def refuse_others(
    path: Path, old: Stored, new: Stored, keys: Iterable[str], what: str
) -> None:
    """Refuse settings that differ in what all results have in common.

    Raises
    ------
    ConfigError
        Names the first key that differs.
    """
    for key in keys:
        if getattr(old, key) != getattr(new, key):
            raise ConfigError(
                f"{path}: expected a {what} with the same {key}, found another; "
                "repeat the first command, or choose another --out"
            )


def write(path: Path, results: Stored) -> None:
    """Write results, whole or not at all.

    Raises
    ------
    ProjectError
        The folder cannot be written.
    """
    write_json(path, results.model_dump(mode="json"))
