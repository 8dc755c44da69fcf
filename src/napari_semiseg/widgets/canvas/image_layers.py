"""Show the images of one case, a layer for each channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox

from napari_semiseg.imaging.windowing import AUTOMATIC
from napari_semiseg.widgets.common.link import assign
from napari_semiseg.widgets.elements.buttons import show_action
from napari_semiseg.widgets.elements.connections import Connections, Signal
from napari_semiseg.widgets.elements.forms import plain
from napari_semiseg.widgets.elements.style import look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.widgets.elements.actions import Action

CHANNEL = 80
"""Pixels across of the list of channels."""


class ImageLayers:
    """Image layers of a case: one is in view, the others are a key away.

    Which channel is looked at stays from case to case.

    Attributes
    ----------
    all : list of Image
        In the order of the channels.
    names : tuple of str
        Names of the channels; none where there is one image.

    Signals
    -------
    image_changed(Image)
        Another channel is in view.
    """

    image_changed = Signal(object)

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self.all: list[Image] = []
        self.names: tuple[str, ...] = ()
        self._chosen: str | None = None
        self._shown: Image | None = None

    @property
    def shown(self) -> Image | None:
        """What is in view: the topmost visible channel, else the first."""
        visible = [layer for layer in self.all if layer.visible]
        return next(iter([*visible[::-1], *self.all]), None)

    @property
    def channel(self) -> str:
        """Name of the channel in view; empty where there is one image."""
        if not self.names or self.shown is None:
            return ""
        return self.names[self.all.index(self.shown)]

    def show(
        self, case: Case, voxels: Sequence[NDArray[Any]], options: dict[str, Any]
    ) -> list[Image]:
        """Show the images of a case.

        Layers of the case before are filled anew: it takes napari a fifth of a second
        to add one.

        Parameters
        ----------
        case : Case
            Gives the names.
        voxels : sequence of ndarray (Z, Y, X)
            A channel each; shown without a copy.
        options : dict
            Of all layers.

        Returns
        -------
        list of Image
            Surplus layers of the case before, to be removed.
        """
        before = self._release()
        names = case.channel_names
        self.names = names if len(names) > 1 else ()
        chosen = self._chosen if self._chosen in self.names else None
        first = chosen or next(iter(self.names), "")
        for name, values in zip(self.names or ("",), voxels, strict=True):
            limits = AUTOMATIC.limits(values)
            # The limits come first: what follows them writes into the metadata.
            own = {
                "contrast_limits": limits,
                "name": plain(f"{case.id}: {name}" if name else case.id),
                "visible": name == first,
            }
            facts = own | options
            if before:
                layer = before.pop(0)
                layer.data, layer.contrast_limits_range = values, limits
                for fact in (*own, "scale", "metadata"):
                    assign(layer, fact, facts[fact])
            else:
                layer = self._viewer.add_layer(Image(values, colormap="gray", **facts))
            self.all.append(layer)
            layer.events.visible.connect(self._look_again)
        self._shown = self.shown
        return before

    def choose(self, name: str) -> None:
        """Bring one channel into view, and hide the others."""
        if name not in self.names or name == self.channel:
            return
        chosen = self.all[self.names.index(name)]
        chosen.visible = True
        for layer in self.all:
            layer.visible = layer is chosen
        self._chosen = name

    def next(self) -> None:
        """Bring the next channel into view, and round again."""
        if self.names:
            place = self.names.index(self.channel)
            self.choose(self.names[(place + 1) % len(self.names)])

    def drop(self) -> list[Image]:
        """Forget the layers, which are to be removed."""
        self.names = ()
        return self._release()

    def _release(self) -> list[Image]:
        before, self.all, self._shown = self.all, [], None
        for layer in before:
            layer.events.visible.disconnect(self._look_again)
        return before

    def _look_again(self, event: Any = None) -> None:
        shown = self.shown
        if shown is not None and shown is not self._shown:
            self._shown = shown
            self.image_changed.emit(shown)


class ChannelChoice(QComboBox):
    """Which image of the case is looked at; hidden where there is just one."""

    def __init__(self, images: ImageLayers, action: Action[Any]) -> None:
        super().__init__()
        self._images = images
        look(self, "flat").setAccessibleName("Image of the case")
        show_action(self, action)
        self.setFixedWidth(CHANNEL)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.textActivated.connect(images.choose)
        Connections(self).add(self.refresh, images.image_changed)
        self.hide()

    def refresh(self, _: object = None) -> None:
        """Offer the channels of the case that is open."""
        names = self._images.names
        if tuple(map(self.itemText, range(self.count()))) != names:
            self.clear()
            self.addItems(names)
        self.setCurrentText(self._images.channel)
        self.setVisible(bool(names))
