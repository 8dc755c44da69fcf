"""Two ways of doing the same work, timed in turns in one process."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def machine(*packages: str) -> dict[str, str | int | None]:
    """Cores and versions, for the end of a row."""
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count()
    )
    versions = {name: version(name) for name in packages or ("torch",)}
    return {"cores": cores, "python": platform.python_version(), **versions}


def compare(
    what: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    peer: str,
    repeats: int = 7,
    **facts: float | str,
) -> None:
    """Print medians, and the median and range of the ratio of paired calls."""
    ours()
    theirs()
    pairs = np.array([(timed(ours), timed(theirs)) for _ in range(repeats)])
    ratios = pairs[:, 1] / pairs[:, 0]
    mine, other = np.median(pairs, axis=0)
    print(
        json.dumps(
            {
                "what": what,
                "peer": peer,
                "ours_s": round(float(mine), 4),
                "peer_s": round(float(other), 4),
                "times_as_fast": round(float(np.median(ratios)), 2),
                "range": [round(float(r), 2) for r in (ratios.min(), ratios.max())],
                **facts,
                **machine(),
            }
        )
    )
