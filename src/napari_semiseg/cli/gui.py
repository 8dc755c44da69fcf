"""Open napari from the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from napari_semiseg.errors import SemisegError


def has_display() -> bool:
    """Whether a window can be shown."""
    if sys.platform.startswith(("win", "darwin")):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show(project: Path) -> None:
    """Open a project in napari until its window is closed."""
    if not has_display() and os.environ.get("QT_QPA_PLATFORM") != "offscreen":
        raise SemisegError(
            "expected a display for napari, found none; run this on a desktop, or use "
            "the other verbs of semiseg"
        )
    try:
        import napari
        import qtpy  # noqa: F401
    except ImportError as error:
        raise SemisegError(
            f"expected napari with a Qt binding, found '{error}'; install one with: "
            "pip install 'napari[all]'"
        ) from error
    from napari_semiseg.commands import open_project_in_viewer

    viewer = napari.Viewer(title=f"Semiseg - {project.name}")
    open_project_in_viewer(project, viewer)
    napari.run()
