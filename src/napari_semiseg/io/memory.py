"""Measure the memory that is free, and refuse images that do not fit it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from napari_semiseg.errors import ImageError

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")
VOXEL_BYTES = 2
"""What reading takes of a voxel at the least: most images are of 16 bits."""
GB = 1e9


def free_memory() -> float:
    """Measure the free memory of this computer in bytes, within a container's limit."""
    import psutil

    return min([float(psutil.virtual_memory().available), *_left_in_groups()])


@contextmanager
def within_memory(path: Path, shape: Sequence[int]) -> Iterator[None]:
    """Refuse an image that does not fit the free memory, before any is taken.

    Parameters
    ----------
    path : Path
        For the message.
    shape : sequence of int
        What the block reads, in voxels.

    Raises
    ------
    ImageError
        There is less memory, or the system gives less.
    """
    available, needed = free_memory(), VOXEL_BYTES * math.prod(shape)
    error = MemoryError()
    if needed <= available:
        try:
            yield
        except MemoryError as lacking:
            error = lacking
        else:
            return
    raise ImageError(
        f"{path}: expected an image that fits into {available / GB:.1f} GB of free "
        f"memory, found {' x '.join(map(str, shape))} voxels, which need "
        f"{needed / GB:.1f} GB or more; close other programs, or crop the image"
    ) from error


def _left_in_groups() -> Iterator[float]:
    """Give the bytes that the control groups of this process leave (Linux)."""
    try:
        lines = OWN_GROUP.read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, limit, used = (
            (GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
            if controllers
            else (GROUPS, "memory.max", "memory.current")
        )
        inner = PurePosixPath(name.lstrip("/"))
        for group in (inner, *inner.parents):
            try:
                most = int((root / group / limit).read_text(encoding="ascii"))
                held = int((root / group / used).read_text(encoding="ascii"))
                stat = (root / group / "memory.stat").read_text(encoding="ascii")
            except (OSError, ValueError):  # no limit ("max"), or not to be seen
                continue
            # The page cache counts as used, but is freed on demand.
            facts = dict(entry.split(" ", 1) for entry in stat.splitlines())
            yield float(max(0, most - held + int(facts.get("inactive_file", 0))))
