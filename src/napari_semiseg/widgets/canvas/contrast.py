"""The range of grey values in which the scan is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSizePolicy, QWidget

from napari_semiseg.imaging.windowing import CT, windows_for
from napari_semiseg.widgets.common.actions import short
from napari_semiseg.widgets.common.connections import Connections
from napari_semiseg.widgets.common.preferences import grey_window, remember_grey_window

if TYPE_CHECKING:
    from napari_semiseg.imaging.windowing import Window
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.common.actions import Action

CHOSEN = "grey values"
"""Key of a layer's metadata: the row of its window."""
OWN = "Set by hand"


class ContrastRow(QWidget):
    """A list of windows for the image in view; the choice is kept for the next scan.

    CT has windows in HU, any other scan percentiles of its own values. Each kind
    remembers its own choice.

    Parameters
    ----------
    view : CaseView
        The case that is open.
    next_window : Action
        Whose key the tooltip names.
    beside : QWidget
        Shown at the end of the row.
    """

    def __init__(
        self, view: CaseView, next_window: Action[Any], beside: QWidget
    ) -> None:
        super().__init__()
        self._action = next_window
        self._image: Any = None
        self._windows: tuple[Window, ...] = ()
        self._setting = False
        self.choice = QComboBox()
        self.choice.setAccessibleName("Grey values")
        self.choice.setToolTip("Range of grey values shown, once a case is open")
        self.choice.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.choice.setSizePolicy(
            QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
        )
        self.choice.setMinimumContentsLength(12)
        self.choice.activated.connect(self._chosen)
        label = QLabel("Grey values")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(label)
        row.addWidget(self.choice, 1)
        row.addWidget(beside)
        self._connected = Connections()
        signals = (view.shown, view.layers.images.looked_at)
        self._connected.add(lambda _=None: self.follow(view.image), *signals)

    def follow(self, image: Any) -> None:
        """Steer this image layer from now on; None lets go of the present one.

        A layer that shows another scan meanwhile has forgotten what was chosen.
        """
        if image is self._image and (image is None or CHOSEN in image.metadata):
            return
        if self._image is not None:
            self._image.events.contrast_limits.disconnect(self._changed)
        self._image = image
        if image is None:
            return
        self._windows = windows_for(image.data)
        self.choice.clear()
        for window in self._windows:
            self.choice.addItem(window.name)
            tip = _described(window)
            row = self.choice.count() - 1
            self.choice.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)
        kind = "Hounsfield units" if self._windows is CT else "percentiles of this scan"
        self.choice.setToolTip(
            f"Range of grey values shown, in {kind} ({short(self._action.key)}: next)"
        )
        names = [window.name for window in self._windows]
        wanted = grey_window(ct=self._windows is CT)
        image.events.contrast_limits.connect(self._changed)
        chosen = image.metadata.get(CHOSEN)
        if chosen is None:
            self._apply(names.index(wanted) if wanted in names else 0)
        else:
            self._show(chosen)  # seen before: it keeps what it was given

    def close_row(self) -> None:
        """Let go of the case."""
        self._connected.close()
        self.follow(None)

    def next_window(self) -> None:
        """Take the next window of the list, then the first again."""
        if self._image is not None:
            index = self.choice.currentIndex() + 1
            self._chosen(index % len(self._windows))

    def _chosen(self, index: int) -> None:
        if self._image is None or index >= len(self._windows):
            return
        self._apply(index)
        name = self._windows[index].name
        remember_grey_window(name, ct=self._windows is CT)

    def _apply(self, index: int) -> None:
        limits = self._windows[index].limits(self._image.data)
        self._setting = True
        low, high = self._image.contrast_limits_range
        self._image.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
        self._image.contrast_limits = limits
        self._setting = False
        self._show(index)

    def _changed(self, event: Any = None) -> None:
        """Say that the user has set the limits in napari's own controls."""
        if not self._setting:
            self._show(len(self._windows))

    def _show(self, index: int) -> None:
        own = len(self._windows)
        self._image.metadata[CHOSEN] = index
        if index == own and self.choice.count() == own:
            self.choice.addItem(OWN)
        elif index < own and self.choice.count() > own:
            self.choice.removeItem(own)
        self.choice.setCurrentIndex(index)


def _described(window: Window) -> str:
    if window.percent:
        low, high = (window.level + side * window.width / 2 for side in (-1, 1))
        return f"From percentile {low:g} to {high:g} of this scan"
    return f"Level {window.level:g} HU, width {window.width:g} HU"
