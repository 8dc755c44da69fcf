"""Follow a verb on another machine through the folder that both see."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_semiseg.errors import STOPPED, ProjectError
from napari_semiseg.execution.executor import length
from napari_semiseg.io.atomic import write_text
from napari_semiseg.project.layout import RunFolder
from napari_semiseg.project.runs import submission
from napari_semiseg.project.runs.process import SESSION
from napari_semiseg.project.settings import HOST, mapped

LOOK_S = 30.0
"""Between two checks whether a verb without an end in its log still runs."""
SOON_S = 2.0
"""The same of one that was ended from here, s."""
MISSES = 3
"""Times in a row that it was not found before it is given up: shares are late."""
LOST = 1
PATIENCE_S = 20


@dataclass(slots=True)
class RemoteHandle:
    """A verb on another machine, which writes its exit code beside its log.

    Attributes
    ----------
    log : Path
        What it prints, in the folder that both see.
    place, job : str
        Where it waits or runs, and its number there.
    lives : callable
        Asks the machine; None where it does not answer.
    end : callable
        Ends the verb now.
    session : str
        Mark of its events.
    cancel : callable
        Takes it out of a queue unless it has begun.
    log_start : int
        Length of the log at the submission, bytes.
    started : float
        Unix time, s.
    """

    log: Path
    place: str
    job: str
    lives: Callable[[], bool | None]
    end: Callable[[], object]
    session: str
    cancel: Callable[[], object] = lambda: None
    log_start: int = 0
    started: float = field(default_factory=time.time)
    pid: None = None
    _code: int | None = None
    _misses: int = 0
    _is_ended: bool = False
    _next: float = field(default_factory=lambda: time.monotonic() + LOOK_S)

    @property
    def ended(self) -> Path:
        """File that will hold the exit code; taken away once it is read."""
        return RunFolder(self.log.parent).exit_code(self.session)

    def poll(self) -> int | None:
        """Return the exit code, or None before the end; 1 where it was lost."""
        if self._code is None:
            try:
                self._code = int(self.ended.read_text(encoding="ascii"))
            except (OSError, ValueError):  # not there yet, or not whole
                self._look()
            if self._code is not None:
                submission.close(RunFolder(self.log.parent), self.session)
        return self._code

    def _look(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + (SOON_S if self._is_ended else LOOK_S)
        self._misses = self._misses + 1 if self.lives() is False else 0
        if self._misses >= MISSES:
            self._code = STOPPED if self._is_ended else LOST

    def terminate(self) -> None:
        """End it now; files on disk stay complete."""
        self.end()
        self._is_ended, self._next = True, time.monotonic() + SOON_S

    def withdraw(self) -> bool:
        """Take it out of the queue where it has not begun; whether it is gone.

        Its exit code is written here then, for those who follow it.

        Raises
        ------
        ProjectError
            The machine does not answer.
        """
        self.cancel()
        if self.lives() is not False:
            return False
        if not self.ended.exists():
            write_text(self.ended, f"{STOPPED}\n")
        return True


@dataclass(frozen=True, slots=True)
class Job:
    """A verb as a shell script for another machine.

    Attributes
    ----------
    script : str
        For any POSIX shell.
    log : str
        Path of its output on that machine.
    session : str
        Mark of its events.
    log_start : int
        Length of its log before it, bytes.
    """

    script: str
    log: str
    session: str
    log_start: int

    @classmethod
    def of(
        cls,
        verb: str,
        arguments: Sequence[str],
        log: Path,
        host: str,
        roots: Mapping[str, str],
    ) -> Job:
        """Write ``semiseg verb arguments`` as a script.

        Parameters
        ----------
        host : str
            Name by which ``[roots]`` of the project know the machine.
        roots : mapping
            Folders there by folders here.
        """
        session = uuid.uuid4().hex
        ended = RunFolder(log.parent).exit_code(session)
        words = [
            "semiseg",
            verb,
            *(mapped(os.fspath(word), roots) for word in arguments),
        ]
        known = {
            SESSION: session,
            HOST: host,
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "100",
        }
        there, code = mapped(log.as_posix(), roots), mapped(ended.as_posix(), roots)
        # A process by ssh is asked for this before; a queue tells nobody.
        missing = (
            f"semiseg: expected semiseg on the PATH of a login shell of {host}, found "
            "none; install it there, and set PATH in ~/.profile"
        )
        script = "\n".join(
            [
                *(f"export {name}={shlex.quote(text)}" for name, text in known.items()),
                "command -v semiseg > /dev/null || "
                f"{{ echo {shlex.quote(missing)} >> {shlex.quote(there)}; "
                f"echo {LOST} > {shlex.quote(code)}; exit {LOST}; }}",
                f"{shlex.join(words)} >> {shlex.quote(there)} 2>&1 < /dev/null &",
                "child=$!",
                # A batch system asks the shell to end: the verb writes a checkpoint.
                "trap 'kill $child' TERM",
                "wait $child; code=$?",
                "while kill -0 $child 2> /dev/null; do wait $child; code=$?; done",
                f"echo $code > {shlex.quote(code)}",
                "exit $code",
            ]
        )
        return cls(script, there, session, length(log))


def ask(words: Sequence[str], text: str = "") -> str:
    """Run a command with a text as its input; returns what it prints.

    Raises
    ------
    ProjectError
        It is not there, does not answer, or fails.
    """
    try:
        done = subprocess.run(
            words,
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip() or f"exit code {error.returncode}").split("\n")[
            -1
        ]
    except subprocess.TimeoutExpired:
        reason = f"no answer within {PATIENCE_S} s"
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        return done.stdout
    raise ProjectError(
        f"expected an answer of '{shlex.join(words[:4])}', found '{reason}'; try it in "
        "a terminal"
    )
