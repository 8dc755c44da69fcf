"""Choose the range of grey values in which the scan is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox

from napari_semiseg.imaging.windowing import CT, windows_for
from napari_semiseg.widgets.common.preferences import grey_window, remember_grey_window
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.style import look

if TYPE_CHECKING:
    from napari_semiseg.imaging.windowing import Window
    from napari_semiseg.widgets.canvas.case_model import CaseModel
    from napari_semiseg.widgets.canvas.image_layers import ImageLayers

CHOSEN = "grey values"
"""Key of a layer's metadata: the row of its window."""
OWN = "Set by hand"
ARROW, NAMED = 20, 120
"""Pixels across of the list, without and with the name of the window."""


class GreyValues(QComboBox):
    """A list of windows for the image in view; the choice is kept for the next scan.

    CT has windows in HU, any other scan percentiles of its own values. Each kind
    remembers its own choice.
    """

    def __init__(self, model: CaseModel, images: ImageLayers) -> None:
        super().__init__()
        self._images = images
        self._image: Any = None
        self._windows: tuple[Window, ...] = ()
        look(self, "flat").setAccessibleName("Range of grey values")
        self.setToolTip("Range of grey values shown, once a case is open")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.activated.connect(self._chosen)
        Connections(self).add(self._follow, model.shown, images.image_changed)
        self._layer = Connections(self)

    def set_compact(self, compact: bool) -> None:
        """Show the arrow of the list alone, or the name of the window beside it."""
        self.setFixedWidth(ARROW if compact else NAMED)

    def next_window(self) -> None:
        """Take the next window of the list, then the first again."""
        if self._image is not None:
            index = self.currentIndex() + 1
            self._chosen(index % len(self._windows))

    def _follow(self, _: object = None) -> None:
        """Steer the image in view; one that shows another scan forgot the choice."""
        image = self._images.shown
        if image is self._image and (image is None or CHOSEN in image.metadata):
            return
        self._layer.close()
        self._image = image
        if image is None:
            return
        self._windows = windows_for(image.data)
        self.clear()
        for row, window in enumerate(self._windows):
            self.addItem(window.name)
            tip = _described(window)
            self.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)
        kind = "Hounsfield units" if self._windows is CT else "percentiles of this scan"
        self.setToolTip(f"Range of grey values shown, in {kind}")
        names = [window.name for window in self._windows]
        remembered = grey_window(ct=self._windows is CT)
        self._layer.add(self._set_by_hand, image.events.contrast_limits)
        chosen = image.metadata.get(CHOSEN)
        if chosen is None:
            self._apply(names.index(remembered) if remembered in names else 0)
        else:
            self._show(chosen)  # seen before: it keeps what it was given

    def _chosen(self, index: int) -> None:
        if self._image is None or index >= len(self._windows):
            return
        self._apply(index)
        name = self._windows[index].name
        remember_grey_window(name, ct=self._windows is CT)

    def _apply(self, index: int) -> None:
        limits = self._windows[index].limits(self._image.data)
        low, high = self._image.contrast_limits_range
        with self._image.events.contrast_limits.blocker(self._set_by_hand):
            wide = (min(low, limits[0]), max(high, limits[1]))
            self._image.contrast_limits_range = wide
            self._image.contrast_limits = limits
        self._show(index)

    def _set_by_hand(self, event: Any = None) -> None:
        """Say that the user has set the limits in napari's own controls."""
        self._show(len(self._windows))

    def _show(self, index: int) -> None:
        own = len(self._windows)
        self._image.metadata[CHOSEN] = index
        if index == own and self.count() == own:
            self.addItem(OWN)
        elif index < own and self.count() > own:
            self.removeItem(own)
        self.setCurrentIndex(index)


def _described(window: Window) -> str:
    if window.percent:
        low, high = (window.level + side * window.width / 2 for side in (-1, 1))
        return f"From percentile {low:g} to {high:g} of this scan"
    return f"Level {window.level:g} HU, width {window.width:g} HU"
