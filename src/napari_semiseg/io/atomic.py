"""Writes that are either whole or absent, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from napari_semiseg.errors import ProjectError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPORARY = ".tmp-"
"""How the names of unfinished files begin; such a file may be deleted."""


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path to write to, which then takes the place of ``target``.

    The temporary file lies in the same folder, which is made where it is absent, and
    ends in the same suffixes. When the block ends it is flushed to the disk and
    renamed; when the block fails it is removed and ``target`` is as it was.

    Raises
    ------
    ProjectError
        The folder or the file cannot be written.
    """
    suffixes = target.suffixes[-2:] if target.suffix == ".gz" else [target.suffix]
    temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}{''.join(suffixes)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
        _flush_folder(target.parent)
    except OSError as error:
        raise ProjectError(
            f"{target}: expected to write this file, found "
            f"'{error.strerror or error}'; check that its folder is writable and has "
            f"space left"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _flush(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some network shares cannot flush a folder; the file itself is whole.
        return
    finally:
        os.close(descriptor)


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 text file atomically, with the line ends that it is given."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(target: Path, value: Any) -> None:
    """Write plain values as indented JSON, atomically."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    ProjectError
        The file cannot be read, or is torn or otherwise no JSON; names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProjectError(
            f"{path}: expected a JSON file, found '{error.strerror or error}'; restore "
            f"the file or check its permissions"
        ) from error
    except ValueError as error:
        raise ProjectError(
            f"{path}: expected JSON, found '{error}'; restore the file from a backup "
            f"or delete it"
        ) from error
