"""Remember settings of the panel between two starts of napari."""

from __future__ import annotations

import os

from qtpy.QtCore import QSettings


def preferences() -> QSettings:
    """Settings file of this user."""
    return QSettings(
        QSettings.Format.IniFormat,
        QSettings.Scope.UserScope,
        "napari-semiseg",
        "panel",
    )


def grey_window(*, ct: bool) -> str:
    """Name of the window that was chosen last, for CT or for other scans."""
    return str(preferences().value(f"window/{'ct' if ct else 'other'}") or "")


def remember_grey_window(name: str, *, ct: bool) -> None:
    """Take this window for the next scan of the kind."""
    preferences().setValue(f"window/{'ct' if ct else 'other'}", name)


def guide_is_hidden() -> bool:
    """Whether the user has put the first steps away."""
    return str(preferences().value("guide") or "") == "hidden"


def hide_guide(hidden: bool) -> None:
    """Put the first steps away for good, or bring them back."""
    preferences().setValue("guide", "hidden" if hidden else "shown")


def layers_are_kept() -> bool:
    """Whether napari's layers stay in view while a case is reviewed."""
    return str(preferences().value("layers") or "") == "kept"


def keep_layers(kept: bool) -> None:
    """Let napari's layers stay in view from now on, or not."""
    preferences().setValue("layers", "kept" if kept else "folded")


def wheel_scrolls() -> bool:
    """Whether the mouse wheel scrolls slices; else it zooms, as napari has it."""
    return str(preferences().value("wheel") or "") != "zoom"


def let_wheel_scroll(scrolls: bool) -> None:
    """Let the mouse wheel scroll slices from now on, or zoom."""
    preferences().setValue("wheel", "slices" if scrolls else "zoom")


def assistant() -> str:
    """Name of the assistant that was chosen last; empty before that."""
    return str(preferences().value("assistant") or "")


def remember_assistant(name: str) -> None:
    """Take this assistant from now on."""
    preferences().setValue("assistant", name)


def environment(name: str) -> str:
    """Value of an environment variable, or what the user has told the panel of it.

    That is put into the environment, for programs that the panel starts as well.
    """
    stored = preferences().value(f"environment/{name}")
    value = os.environ.get(name) or str(stored or "")
    if value:
        os.environ[name] = value
    return value


def remember_environment(name: str, value: str) -> None:
    """Take this value of an environment variable from now on; empty for none."""
    preferences().setValue(f"environment/{name}", value)
    os.environ.pop(name, None)
    environment(name)
