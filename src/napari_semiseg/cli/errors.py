"""Turn errors that a user can correct into one line on stderr and exit code 1."""

from __future__ import annotations

import io
import os
import sys
import time
from typing import TYPE_CHECKING

from napari_semiseg.core.text import printable
from napari_semiseg.errors import ENDED, LAUNCHED, STOPPED, RankLost, SemisegError

if TYPE_CHECKING:
    import typer

REFUSED = 1
CAUSE_S = 2.0
"""How long a process that has lost another one leaves it the first word, s."""
INSTALL_ENGINE = (
    "expected PyTorch for this verb, found none; install it with: pip install "
    "'napari-semiseg[engine]'"
)


def exit_code(app: typer.Typer) -> int:
    """Run an app and return its exit code; only bugs show a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a code page may lack a name's letters
            stream.reconfigure(errors="backslashreplace")
    try:
        app(standalone_mode=True)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0
    except SemisegError as error:
        return _refused(error)
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads the output any more
        return REFUSED
    except (MemoryError, OSError, ImportError) as error:
        return _refuse(_shortage(error))
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        return _refuse(_shortage(MemoryError()))
    return 0


def _refused(error: SemisegError) -> int:
    """Say it, but for what a launcher says of all its processes."""
    if isinstance(error, RankLost) and os.environ.get(LAUNCHED):
        if error.code == ENDED:
            time.sleep(CAUSE_S)
        return error.code
    return _refuse(str(error))


def _refuse(message: str) -> int:
    line = printable(" ".join(message.split()))
    sys.stderr.write(f"semiseg: {line}\n")
    return REFUSED


def _shortage(error: MemoryError | OSError | ImportError) -> str:
    """Say what the system has not given."""
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return INSTALL_ENGINE
    if isinstance(error, ImportError):
        return (
            f"expected all libraries to load, found '{error}'; close other programs, "
            f"or install it again (semiseg doctor lists what is needed)"
        )
    if isinstance(error, MemoryError):
        return (
            "expected enough free memory, found too little; what was finished is kept: "
            "close other programs, or take fewer cases at once"
        )
    where = f"{error.filename}: " if error.filename else ""
    return (
        f"{where}expected to read and write files, found "
        f"'{error.strerror or error}'; check the path, its permissions and the "
        "space left"
    )
