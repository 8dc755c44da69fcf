"""Open project folders through napari's reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_semiseg.commands import open_project_in_viewer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LayerData = tuple[Any, ...]
PROJECT_FILE = "project.toml"


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """Read a project folder or its ``project.toml``, and nothing else."""
    if not isinstance(path, str):
        return None
    found = Path(path)
    manifest = found if found.name == PROJECT_FILE else found / PROJECT_FILE
    if not _is_project(manifest):
        return None

    def read(_path: Any) -> list[LayerData]:
        open_project_in_viewer(manifest.parent)
        return [(None,)]

    return read


def _is_project(manifest: Path) -> bool:
    import tomllib

    try:
        content = tomllib.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return {"format", "labels"} <= content.keys()
