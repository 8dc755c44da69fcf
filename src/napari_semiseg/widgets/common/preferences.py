"""Remember settings of the panel between two starts of napari.

What a user sets is in napari's preferences, where napari has room for plugins there
(``configurations`` in the manifest); everything else is in a file of our own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from qtpy.QtCore import QSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_semiseg.widgets.elements.connections import Connections

T = TypeVar("T", bool, str)

PLUGIN = "napari-semiseg"
SETTINGS = {
    "wheel_scrolls": True,
    "keep_layers": False,
    "first_steps": True,
    "ask_untouched": True,
    "low_priority": True,
}
"""What a user can switch on and off, and how it is at first; as in the manifest."""


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


def setting(name: str) -> bool:
    """Whether something in `SETTINGS` is chosen."""
    return _read("panel", name, SETTINGS[name])


def choose(name: str, on: bool) -> None:
    """Choose something in `SETTINGS`, or not."""
    _write("panel", name, on)


def chosen_key(action: str, key: str) -> str:
    """Key that the user has chosen for an action; else the one given."""
    return _read("keys", action, key)


def choose_key(action: str, key: str) -> None:
    """Take this key for an action from now on; an empty one is none."""
    _write("keys", action, key)


def watch(
    group: str, callback: Callable[..., object], connections: Connections
) -> None:
    """Call ``callback`` when something of ``panel`` or ``keys`` is chosen in napari."""
    shown = getattr(_of_napari(), group, None)
    if shown is not None:
        connections.add(callback, shown.events)


def assistant() -> str:
    """Name of the assistant that was chosen last; empty before that."""
    return str(preferences().value("assistant") or "")


def remember_assistant(name: str) -> None:
    """Take this assistant from now on."""
    preferences().setValue("assistant", name)


def environment(name: str) -> str:
    """Value of an environment variable, or what the user has set in the panel.

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


def _of_napari() -> Any:
    """Settings of the plugin in napari's preferences; None where it has none."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # before napari 0.9
        return None
    try:
        return get_plugin_settings(PLUGIN)
    except (KeyError, ValueError, AssertionError):  # not installed; no settings file
        return None


def _read(group: str, name: str, default: T) -> T:
    value = getattr(getattr(_of_napari(), group, None), name, None)
    if value is None:
        value = preferences().value(f"{group}/{name}", default, type(default))
    return value if isinstance(value, type(default)) else default


def _write(group: str, name: str, value: bool | str) -> None:
    shown = getattr(_of_napari(), group, None)
    if hasattr(shown, name):
        setattr(shown, name, value)
    else:
        preferences().setValue(f"{group}/{name}", value)
