"""A package outside of this one, which brings something of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def install(
    folder: Path, group: str, code: str, name: str = "outside"
) -> dict[str, str]:
    """Make an installed package of one module that an entry point names.

    Parameters
    ----------
    folder : Path
        Folder of installed packages, to be put on the path.
    group : str
        Of the entry point, such as "napari_semiseg.formats".
    code : str
        The module's text.
    name : str
        Of package, module and entry point.

    Returns
    -------
    dict
        Environment of a process in which the package is installed.
    """
    facts = folder / f"{name}-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    )
    (facts / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}\n")
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}


def semiseg(env: dict[str, str], *words: object) -> str:
    """Run a command with the package installed; what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "napari_semiseg", *map(str, words)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
