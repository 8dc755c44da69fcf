"""Children of tests: with little space, without a superuser's rights, with limits."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_DROP_CAPABILITY = 24  # prctl(2), PR_CAPBSET_DROP
_OVERRIDE = (1, 2)  # capabilities(7), CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


def outcome(child: int, reader: int, seconds: float) -> tuple[bytes, int, bool]:
    """Read what a forked child writes into a pipe, and wait for its end.

    Gives the text, the status of `os.waitpid`, and whether the child was silent for so
    many seconds and was killed.
    """
    text, hangs = b"", False
    while True:
        if not hangs and not select.select([reader], [], [], seconds)[0]:
            os.kill(child, signal.SIGKILL)
            hangs = True
        if not (read := os.read(reader, 65536)):
            break
        text += read
    os.close(reader)
    _, status = os.waitpid(child, 0)
    return text, status, hangs


def no_file_above(size: int) -> Callable[[], None]:
    """Let every write end with an error once a file has ``size`` bytes.

    The kernel then answers as a full disk does: after some bytes of a file, in the
    middle of a write.
    """

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def as_anybody() -> None:
    """Take from a superuser the right to write where nobody may."""
    if os.geteuid() == 0:
        for capability in _OVERRIDE:
            ctypes.CDLL(None).prctl(_DROP_CAPABILITY, capability, 0, 0, 0)


def semiseg(
    *words: object, before: Callable[[], None] | None = None, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a verb in a child; ``before`` is called in it first."""
    return subprocess.run(
        [sys.executable, "-m", "napari_semiseg", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=seconds,
        preexec_fn=before,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a verb that refused."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    return done.stderr
