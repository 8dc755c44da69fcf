"""Keep the results of an experiment in one file, which is also its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_semiseg.core.config import describe
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.io.atomic import read_json, write_json

Merge = Callable[[Any, Any], Any]
"""Gives the merged value of an old and a new one."""


class Stored(BaseModel):
    """Base of what is kept in a file of results."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ExperimentSpec(Stored):
    """Base of what is asked for; a file of results holds it with all extensions.

    Attributes
    ----------
    EXTENDABLE : mapping
        Fields that a later command may extend, and how old and new values are merged.
    """

    EXTENDABLE: ClassVar[Mapping[str, Merge]] = {}

    def extended(self, asked: Self, path: Path) -> Self:
        """Merge these settings of a file with those of a later command."""
        for key in type(self).model_fields:
            if key not in self.EXTENDABLE and getattr(self, key) != getattr(asked, key):
                raise ConfigError(
                    f"{path}: expected the same {key} as before, found another; "
                    "repeat the first command, or choose another --out"
                )
        merged = {
            key: merge(getattr(self, key), getattr(asked, key))
            for key, merge in self.EXTENDABLE.items()
        }
        return asked.model_copy(update=merged)


def in_order_asked(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """Merge names; the old ones come first."""
    return tuple(dict.fromkeys((*old, *new)))


def in_order_of_size(old: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...]:
    """Merge numbers, each once."""
    return tuple(sorted({*old, *new}))


SpecT = TypeVar("SpecT", bound=ExperimentSpec)


class ExperimentResults(Stored, Generic[SpecT]):
    """Base of the results of an experiment; ``FILE`` is their file's name."""

    FILE: ClassVar[str]

    format: Literal[1] = 1
    config: SpecT

    @classmethod
    def open(cls, out: Path, asked: SpecT) -> Self:
        """Read the results so far, or begin with none; nothing is written.

        Raises
        ------
        SemisegError
            The folder holds something else, or an experiment with other settings.
        """
        path = out / cls.FILE
        if not path.exists():
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise ProjectError(
                    f"{out}: expected a new folder or one with {cls.FILE}, found "
                    "something else; choose another --out"
                )
            return cls(config=asked)
        try:
            found = cls.model_validate(read_json(path))
        except ValidationError as error:
            raise ProjectError(describe(error, str(path))) from error
        config = found.config.extended(asked, path)
        return found.model_copy(update={"config": config})

    def write(self, out: Path) -> None:
        """Write the file, whole or not at all; a `ProjectError` says why not."""
        write_json(out / self.FILE, self.model_dump(mode="json"))
