"""Writes that are either whole or absent, whatever happens meanwhile."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from napari_semiseg.errors import ProjectError

TEMPORARY = ".tmp-"
"""How the names of unfinished files begin."""

PASSING = (errno.EBUSY, errno.ESTALE, errno.EAGAIN)
"""What network shares answer to a rename that works a moment later."""

WAITS_S = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses between the tries of a rename, s."""

LOCK = ".lock"
"""Name of the file by which programs keep each other out of a folder."""

PATIENCE_S: ContextVar[float] = ContextVar("patience_s", default=20.0)
"""Longest wait for another program that changes the same folder, s. A window sets less
for its own thread, which must not stand still."""

_DAY_S = 86400.0


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
    temporary = target.with_name(f"{temporary_name()}{''.join(suffixes)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        rename(temporary, target)
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


def rename(source: Path, target: Path) -> None:
    """Let a file take the place of another, with patience where a share is busy.

    Raises
    ------
    OSError
        It still does not work after the last of `WAITS_S`.
    """
    size = source.stat().st_size
    for wait in (*WAITS_S, None):
        try:
            os.replace(source, target)
        except FileNotFoundError:
            # The answer to an earlier try was lost, the try itself was not.
            if wait == WAITS_S[0] or not _has_size(target, size):
                raise
            return
        except OSError as error:
            busy = isinstance(error, PermissionError) and os.name == "nt"
            if wait is None or not (busy or error.errno in PASSING):
                raise
            time.sleep(wait)
        else:
            return


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    if os.name != "posix":
        return
    with suppress(OSError):  # some shares cannot; the file itself is whole
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# -- unfinished files ----------------------------------------------------------------


@cache
def machine() -> str:
    """Short mark of this computer, which does not tell its name."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def temporary_name() -> str:
    """Give the beginning of a name that says whose unfinished file it is."""
    return f"{TEMPORARY}{machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


def is_abandoned(path: Path) -> bool:
    """Whether nobody works on an unfinished file any more.

    Its process is gone; of another computer's file, nobody has touched it for a day.
    """
    import psutil

    host, _, rest = path.name.removeprefix(TEMPORARY).partition("-")
    number = rest.partition("-")[0]
    if host == machine() and number.isdecimal():
        return not psutil.pid_exists(int(number))
    try:
        return time.time() - path.lstat().st_mtime > _DAY_S
    except OSError:
        return False


def remove_stale_temporaries(*folders: Path) -> None:
    """Remove what writes that were killed have left in folders."""
    for folder in folders:
        for unfinished in filter(is_abandoned, folder.glob(f"{TEMPORARY}*")):
            with suppress(OSError):
                if unfinished.is_dir() and not unfinished.is_symlink():
                    shutil.rmtree(unfinished)
                else:
                    unfinished.unlink()


@contextmanager
def folder_lock(folder: Path, busy: ProjectError | None = None) -> Iterator[None]:
    """Keep other programs from changing a folder in the same way meanwhile.

    The lock ends with its process; a block inside of the block may take it again.
    Where the file system knows no locks, and in a folder that does not exist or cannot
    be written, the block runs without.

    Parameters
    ----------
    folder : Path
        The folder.
    busy : ProjectError, optional
        Is raised at once where another program holds the lock, instead of waiting.

    Raises
    ------
    ProjectError
        Another program does not release it within `PATIENCE_S`.
    """
    from filelock import FileLock, Timeout

    patience = PATIENCE_S.get()
    shared = busy is None  # one that must be alone is so in its own process too
    lock = FileLock(folder / LOCK, is_singleton=shared, thread_local=shared)
    try:
        if folder.is_dir():
            lock.acquire(timeout=0 if busy else patience, poll_interval=0.02)
    except Timeout:
        raise busy or ProjectError(
            f"{folder}: expected to change it alone, found another program that "
            f"has been at it for {patience:g} s; wait for it, or end it"
        ) from None
    except (OSError, NotImplementedError):
        pass
    try:
        yield
    finally:
        lock.release()


# -- text ----------------------------------------------------------------------------


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 text file atomically, with the line ends that it is given."""
    check_encodable(text)
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def check_encodable(text: str) -> None:
    """Refuse text with the name of a file that is not in the system's encoding.

    Raises
    ------
    ProjectError
        It holds bytes that are no letter.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        around = text[max(0, error.start - 20) : error.end + 10].splitlines()
        raise ProjectError(
            f"expected file names in UTF-8, found bytes that are none in "
            f"{' '.join(around)!r}; rename the file or folder"
        ) from error


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
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ProjectError(
            f"{path}: expected a JSON file, found '{error.strerror or error}'; restore "
            f"the file or check its permissions"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ProjectError(
            f"{path}: expected JSON, found '{error}'; restore the file from a backup"
        ) from error
