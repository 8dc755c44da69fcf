"""``project.toml``: the name of a project and its labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit
from pydantic import BaseModel, ConfigDict, ValidationError
from tomlkit.exceptions import TOMLKitError

from napari_semiseg.core.config import describe
from napari_semiseg.core.labels import LabelClass, LabelScheme
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import write_text

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1


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
    try:
        values = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    except (FileNotFoundError, NotADirectoryError):
        raise ProjectError(
            f"{path.parent}: expected a project folder, found no {path.name} in it; "
            "create one with semiseg init"
        ) from None
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ProjectError(
            f"{path}: expected the settings of a project, found '{error}'; correct or "
            "restore the file"
        ) from error
    version = values.get("format")
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
    return settings


def write_settings(path: Path, settings: Settings) -> None:
    """Write the settings of a project."""
    document = tomlkit.document()
    document.add("format", tomlkit.item(settings.format))
    document.add("name", tomlkit.item(settings.name))
    labels = tomlkit.aot()
    for item in settings.labels:
        labels.append(tomlkit.item(item.model_dump()))
    document.add("labels", labels)
    write_text(path, tomlkit.dumps(document))
