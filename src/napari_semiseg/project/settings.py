"""Read and write ``project.toml``: the name of a project and its labels."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel, ConfigDict, ValidationError
from tomlkit.exceptions import TOMLKitError

from napari_semiseg.core.config import describe
from napari_semiseg.core.labels import LabelClass, LabelScheme
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import write_text

FORMAT = 2
"""Version of the project folder that this version of the package reads."""

HOST = "SEMISEG_HOST"
"""Variable with the name by which ``[roots]`` know this computer; else its own."""


class Settings(BaseModel):
    """Contents of ``project.toml``.

    Attributes
    ----------
    slurm : tuple of str
        Options of ``sbatch`` for verbs that run on SLURM.
    roots : dict
        Where images lie on other computers: by the name of each, folders there by
        folders as the records of cases have them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    name: str
    slurm: tuple[str, ...] = ()
    labels: tuple[LabelClass, ...]
    roots: dict[str, dict[str, str]] = {}

    @property
    def scheme(self) -> LabelScheme:
        """The classes of the project."""
        return LabelScheme(classes=self.labels)

    @property
    def own_roots(self) -> Mapping[str, str]:
        """Folders on this computer by folders as the records of cases have them."""
        return self.roots.get(os.environ.get(HOST) or platform.node(), {})


def mapped(path: str, roots: Mapping[str, str]) -> str:
    """Replace the folder that a path begins with, by the longest that is known."""
    for known in sorted(roots, key=len, reverse=True):
        folder = known.rstrip("/")
        if path == folder or path.startswith(f"{folder}/"):
            return roots[known].rstrip("/") + path[len(folder) :]
    return path


def read_settings(path: Path) -> Settings:
    """Read the settings of a project.

    Raises
    ------
    ProjectError
        There are none, or they are torn, wrong, or of a newer version.
    """
    values = _read(path)
    version = values.get("format", 1)
    if isinstance(version, int) and version > FORMAT:
        raise ProjectError(
            f"{path}: expected format {FORMAT} or older, found {version}; update "
            "napari-semiseg"
        )
    try:
        settings = Settings.model_validate(values)
        LabelScheme(classes=settings.labels)
    except ValidationError as error:
        raise ProjectError(f"{describe(error, str(path))}; correct the file") from error
    if version != FORMAT:
        raise ProjectError(
            f"{path}: expected a project of format {FORMAT}, found format {version}; "
            f"bring it up to date with semiseg doctor {path.parent} --mend"
        )
    return settings


def read_format(path: Path) -> int:
    """Format of a project; 1 where its settings have none, as in format 1.

    Raises
    ------
    ProjectError
        There are no settings, or they are torn.
    """
    version = _read(path).get("format", 1)
    return version if isinstance(version, int) else FORMAT


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8-sig")).unwrap()
    except (FileNotFoundError, NotADirectoryError):
        raise ProjectError(
            f"{path.parent}: expected a project folder, found no {path.name} in it; "
            "create one with semiseg init"
        ) from None
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ProjectError(
            f"{path}: expected the settings of a project, found "
            f"'{getattr(error, 'strerror', None) or error}'; correct or restore it"
        ) from error


def recolour(path: Path, palette: str) -> None:
    """Change the colours in the settings of a project, and nothing else in them."""
    colours = {
        one.value: one.colour for one in read_settings(path).scheme.recoloured(palette)
    }
    document = tomlkit.parse(path.read_text(encoding="utf-8-sig"))
    for table in document["labels"]:
        table["colour"] = colours[table["value"]]
    write_text(path, tomlkit.dumps(document))


def write_settings(path: Path, settings: Settings) -> None:
    """Write the settings of a project."""
    values = settings.model_dump()
    unused = [name for name in ("slurm", "roots") if not values[name]]
    write_text(path, tomlkit.dumps({k: values[k] for k in values if k not in unused}))
