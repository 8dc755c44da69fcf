"""Programs that are killed at some moment."""

from __future__ import annotations

import subprocess
import sys
import time


def kill_after(word: str, wait: float, script: str, *arguments: object) -> None:
    """Run a script, and kill it some seconds after a line that begins with a word."""
    child = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    with child.stdout:
        next((line for line in child.stdout if line.startswith(word)), None)
        time.sleep(wait)
        child.kill()
        child.wait()
