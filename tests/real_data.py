"""Where the real volumes are sought that some tests read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(
    os.environ.get("SEMISEG_DATA", Path(__file__).parents[2] / "shared" / "data")
)


def data_folder(name: str) -> Path:
    """Folder of a data set: below SEMISEG_DATA, or beside the repository."""
    folder = ROOT / name
    if not folder.is_dir():
        pytest.skip(f"the real volumes are absent: no folder {folder}")
    return folder
