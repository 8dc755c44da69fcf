"""Bridge names that moved between napari 0.6 and 0.9."""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from napari.components import Camera
from npe2 import PluginManager
from qtpy.compat import isalive

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from qtpy.QtCore import QObject
    from qtpy.QtWidgets import QWidget


def viewer_itself(viewer: Any) -> Any:
    """Return the viewer behind the proxy that napari gives a plugin's widget.

    A proxy hands out proxies of layers and events, which are never ``is`` the things
    that napari's own parts hold.
    """
    return getattr(viewer, "__wrapped__", viewer)


def camera_of(viewer: Any) -> Any:
    """Return the camera of a viewer: ``viewer.scene.camera`` since napari 0.9."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def view_and_up_of(viewer: Any) -> NDArray[np.float64]:
    """Return where a camera looks and its up (2, 3), along the displayed axes.

    Both in 3D. Before napari 0.9 they ignored that axes of the scene may be turned.
    """
    camera = camera_of(viewer)
    found = np.array([camera.view_direction, camera.up_direction], float)
    if not _turns_with_orientation():
        pairs = zip(camera.orientation, Camera().orientation, strict=True)
        found *= [1.0 if own == plain else -1.0 for own, plain in pairs]
    return found


@lru_cache
def _turns_with_orientation() -> bool:
    """Whether the vectors of a camera turn with its orientation, as since 0.9."""
    plain = Camera()
    turned = Camera(orientation=(*plain.orientation[:1], "up", plain.orientation[2]))
    return bool(plain.up_direction != turned.up_direction)


def scale_bar_of(viewer: Any) -> Any:
    """Return the scale bar of a viewer, since napari 0.9 an overlay of its canvas."""
    canvas = getattr(viewer, "canvas", None)
    return viewer.scale_bar if canvas is None else canvas.overlays.scale_bar


def at_once(layers: Any) -> AbstractContextManager[None]:
    """Batch the removal of layers: napari collects garbage after each removal."""
    batched = getattr(layers, "batched_update", nullcontext)
    return cast("AbstractContextManager[None]", batched())


def offer_writers(plugin: str, *, first: bool) -> None:
    """Offer the file types of a plugin first, or last, where a layer is saved.

    napari lists the writers of npe2, which of several for one kind of layer has no
    order but that in which it came across them.
    """
    index = getattr(PluginManager.instance(), "_contrib", None)
    prefix = f"{plugin}."
    writers = getattr(index, "_writers", [])
    writers.sort(key=lambda entry: entry[-1].command.startswith(prefix) is not first)


def is_alive(widget: QObject) -> bool:
    """Whether Qt has not destroyed the widget behind a Python object."""
    return bool(isalive(widget))  # type: ignore[no-untyped-call]


def canvas_widget(qt_viewer: Any) -> QWidget:
    """Return the widget that a viewer draws its picture into."""
    return cast("QWidget", qt_viewer.canvas.native)
