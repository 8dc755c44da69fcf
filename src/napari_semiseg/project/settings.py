"""Read and write ``project.toml``: the name of a project and its labels."""

from __future__ import annotations

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


class Settings(BaseModel):
    """Contents of ``project.toml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    name: str
    labels: tuple[LabelClass, ...]

    @property
    def scheme(self) -> LabelScheme:
        """The classes of the project."""
        return LabelScheme(classes=self.labels)


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


def write_settings(path: Path, settings: Settings) -> None:
    """Write the settings of a project."""
    write_text(path, tomlkit.dumps(settings.model_dump()))
