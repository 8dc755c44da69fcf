"""Run another program on one image, for as long as it may take."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from napari_semiseg.core.text import duration, printable
from napari_semiseg.errors import ConfigError, ImageError, ProjectError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_semiseg.core.cancellation import CancellationToken

LOOK_SECONDS = 0.1
"""Time between two looks whether it has ended, or shall."""
VERSION_SECONDS = 20.0
"""How long a program may take to tell its version."""
LONGEST = 200
"""Letters of its output that a message holds."""
IMAGE, MASK = "{image}", "{mask}"


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments, in which `IMAGE` and `MASK` stand for paths.

    Attributes
    ----------
    words : tuple of str
        As the system is given them: no shell reads them, so that a path may hold
        any letter.
    """

    words: tuple[str, ...]

    @classmethod
    def parse(cls, command: str | Sequence[str]) -> Self:
        """Split a command line as a shell does.

        Raises
        ------
        ConfigError
            It cannot be split, or lacks a placeholder.
        ProjectError
            There is no such program.
        """
        words = list(command)
        if isinstance(command, str):
            posix = os.name == "posix"  # a backslash is part of a path elsewhere
            try:
                words = shlex.split(command, posix=posix)
            except ValueError as error:
                raise ConfigError(
                    f"expected a command line, found {command!r} ({error}); close what "
                    "is quoted"
                ) from error
            words = words if posix else [word.strip("\"'") for word in words]
        missing = [it for it in (IMAGE, MASK) if not any(it in word for word in words)]
        if missing:
            raise ConfigError(
                f"expected a command with {IMAGE} and {MASK} in the place of the two "
                f"paths, found none of {', '.join(missing)} in '{shlex.join(words)}'"
            )
        if shutil.which(words[0]) is None:
            raise ProjectError(
                f"expected a program, found that '{words[0]}' is none; install it, or "
                "give its path"
            )
        return cls(tuple(words))

    @property
    def text(self) -> str:
        """The command line."""
        return shlex.join(self.words)

    @property
    def tool(self) -> str:
        """Name of the program."""
        return Path(self.words[0]).stem

    def version(self) -> str | None:
        """First line that the program answers to ``--version``; None if it fails."""
        try:
            done = subprocess.run(
                [self.words[0], "--version"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=VERSION_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        lines = (done.stdout or done.stderr).decode(errors="replace").splitlines()
        return printable(lines[0].strip())[:LONGEST] or None if lines else None

    def run(
        self,
        paths: Mapping[str, Path],
        log: Path,
        seconds: float,
        cancellation: CancellationToken,
    ) -> None:
        """Run it, and end it with all that it has started where it takes too long.

        Parameters
        ----------
        paths : mapping of str to Path
            What stands for each placeholder.
        log : Path
            To which all of its output is appended.
        seconds : float
            How long it may take.
        cancellation : CancellationToken
            Looked at all the while.

        Raises
        ------
        ImageError
            It fails, or takes too long; with the last line of its output.
        Cancelled
            The program was ended, as it was asked for.
        """
        known = re.compile("|".join(map(re.escape, paths)))
        words = [known.sub(lambda it: str(paths[it[0]]), word) for word in self.words]
        before = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
            except OSError as error:
                raise ImageError(
                    f"expected to start '{words[0]}', found "
                    f"'{error.strerror or error}'; check that it is a program"
                ) from error
        ends = time.monotonic() + seconds
        try:
            while process.poll() is None:
                cancellation.check()
                if time.monotonic() > ends:
                    raise ImageError(
                        f"expected an answer of '{self.tool}' within "
                        f"{duration(seconds)}, found that it still works; it was "
                        f"ended: allow more (--timeout), or look at {log}"
                    )
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_SECONDS)
        finally:
            if process.poll() is None:
                _end(process)
        if process.returncode:
            raise ImageError(
                f"expected '{self.tool}' to end well, found exit code "
                f"{process.returncode}{_last_line(log, before)}; see {log}"
            )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started."""
    import psutil

    with suppress(psutil.Error):
        parent = psutil.Process(process.pid)
        for one in (*parent.children(recursive=True), parent):
            with suppress(psutil.Error):
                one.kill()
    process.wait()


def _last_line(log: Path, start: int) -> str:
    """Last line that a program printed, in brackets; empty where there is none."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - 10_000))
        lines = file.read().decode(errors="replace").split("\n")
    printed = [printable(line.strip()) for line in lines if line.strip()]
    return f" ({printed[-1][-LONGEST:]})" if printed else ""
