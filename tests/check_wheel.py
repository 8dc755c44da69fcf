"""Assert that a wheel holds what napari and type checkers look for, and no more.

python tests/check_wheel.py dist/napari_semiseg-0.1.0-py3-none-any.whl
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

NEEDED = (
    "napari.yaml",
    "icon.svg",
    "py.typed",
    "__init__.py",
    "__main__.py",
    "errors.py",
)


def problems(wheel: Path) -> list[str]:
    """What is wrong with a wheel, in words; empty when it is complete."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = next(name for name in names if name.endswith("entry_points.txt"))
        entry_points = archive.read(entry).decode()
    found = [
        f"{name} is missing" for name in NEEDED if f"napari_semiseg/{name}" not in names
    ]
    if not any(name.endswith("licenses/LICENSE") for name in names):
        found.append("the licence is missing")
    for line in (
        "semiseg = napari_semiseg.cli:main",
        "napari-semiseg = napari_semiseg:napari.yaml",
    ):
        if line not in entry_points:
            found.append(f"entry point {line!r} is missing")
    tops = {name.split("/", 1)[0] for name in names}
    strange = sorted(
        top
        for top in tops
        if top != "napari_semiseg" and not top.endswith(".dist-info")
    )
    return found + [f"{top} should not be installed" for top in strange]


if __name__ == "__main__":
    sys.exit("\n".join(problems(Path(os.environ["TOX_PACKAGE"]))) or 0)
