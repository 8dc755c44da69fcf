"""Lay a bar over the canvas that chooses what is looked at, and how."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QMenu, QPushButton, QSlider
from superqt.utils import signals_blocked

from napari_semiseg.widgets.canvas.contrast import GreyValues
from napari_semiseg.widgets.canvas.image_layers import ChannelChoice
from napari_semiseg.widgets.canvas.linked_canvases import MapPlacement
from napari_semiseg.widgets.common import planes
from napari_semiseg.widgets.common.compat import is_alive
from napari_semiseg.widgets.common.preferences import setting, watch
from napari_semiseg.widgets.elements.buttons import (
    KeyButton,
    action_button,
    icon_button,
)
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.style import Style, look, set_icon

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtWidgets import QWidget

    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.elements.actions import Action

ACTIONS = (
    "toggle_layers",
    "next_plane",
    "toggle_mask",
    "toggle_unannotated",
    "toggle_maps",
    "toggle_surfaces",
    "next_window",
)
"""Actions that have a button in the bar."""
PICTURES = ("toggle_layers", "next_window")
"""Of these, with an icon alone."""
EDGE, HEIGHT, BUTTON = 10, 34, 28
ROOMY = 1060
"""Pixels of a canvas from which on buttons show words, not icon and key alone."""


class ViewBar(QFrame):
    """Layers, plane, grey values, mask, veil, maps and 3D, at the canvas's corner.

    It is a child of the canvas while a case is open; the mouse does not go through it.

    Parameters
    ----------
    view : CaseView
        The case that is open.
    actions : mapping of str to Action
        Of the review; at least `ACTIONS`, ``next_image`` and ``next_window``.
    panel : object
        What they are run with.
    """

    def __init__(
        self, view: CaseView, actions: Mapping[str, Action[Any]], panel: Any
    ) -> None:
        super().__init__()
        look(self, "viewbar").setFixedHeight(HEIGHT)
        self.setAttribute(Qt.WidgetAttribute.WA_NoMousePropagation)
        self.setCursor(Qt.CursorShape.ArrowCursor)
        self.setAccessibleName("View")
        self._view = view
        self._canvas: QWidget | None = None
        images = view.layers.images
        self.channels = ChannelChoice(images, actions["next_image"])
        self.contrast = GreyValues(view.model, images)
        self.buttons: dict[str, QPushButton] = {
            name: icon_button(actions[name], panel)
            if name in PICTURES
            else action_button(actions[name], panel, "flat")
            for name in ACTIONS
        }
        for name, button in self.buttons.items():
            button.setFixedHeight(BUTTON)
            button.setCheckable(name.startswith("toggle"))
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setFixedWidth(60)
        self.opacity.setAccessibleName("Opacity of the mask")
        self.opacity.setToolTip("Opacity of the mask")
        self.opacity.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.opacity.valueChanged.connect(self._set_opacity)
        self.ways = look(QPushButton(), "flat")
        set_icon(self.ways, "chevron_down", 16)
        if self.ways.icon().isNull():
            self.ways.setText("\u25be")
        self.ways.setFixedSize(20, BUTTON)
        self.ways.setAccessibleName("Where the maps are shown")
        self.ways.setToolTip("Maps beside the image, one over it, or none")
        self.ways.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        menu = QMenu(self)
        menu.aboutToShow.connect(partial(self._offer_ways, menu))
        self.ways.setMenu(menu)
        self._build()
        connections, dims = Connections(self), view.viewer.dims.events
        self._mask = Connections(self)
        connections.add(self.refresh, dims.order, dims.ndisplay)
        watch("panel", self.refresh, connections)
        view.canvases.arranged.connect(self.refresh)
        self._style = Style(self, view.viewer, connections)
        self.hide()

    def remove(self) -> None:
        """Leave the canvas for good, unless it has taken the bar along."""
        if not is_alive(self):
            return
        Connections.close_below(self)
        if self._canvas is not None and is_alive(self._canvas):
            self._canvas.removeEventFilter(self)
        self.hide()
        self.deleteLater()

    def show_case(self) -> None:
        """Steer the case that is open; go where none is."""
        if not is_alive(self):
            return
        mask, notes = self._view.mask, self._view.canvases.main_notes
        self._mask.close()
        self.channels.refresh()
        if mask is None or notes is None:
            self.hide()
            return
        if self._canvas is not notes.canvas:
            self._canvas = notes.canvas
            self.setParent(self._canvas)
            self._canvas.installEventFilter(self)
        events = mask.events
        changed = (events.visible, events.opacity, events.colormap)
        self._mask.add(self.refresh, *changed)
        self.refresh()
        self.show()
        self.raise_()

    def refresh(self, _: object = None) -> None:
        """Show what the canvas shows now."""
        view, canvases, mask = self._view, self._view.canvases, self._view.mask
        dims = view.viewer.dims
        if mask is None or dims.ndim != 3:
            return
        flat = dims.ndisplay == 2
        states = {
            "toggle_layers": setting("keep_layers"),
            "toggle_mask": bool(mask.visible),
            "toggle_unannotated": view.layers.show_unannotated,
            "toggle_maps": canvases.maps_now is not MapPlacement.OFF,
            "toggle_surfaces": not flat,
        }
        for name, button in self.buttons.items():
            button.setChecked(states.get(name, False))
            button.setEnabled(flat or name in ("toggle_layers", "toggle_surfaces"))
        self.buttons["next_plane"].setText(planes.NAMES[dims.order[0]])
        self.buttons["toggle_maps"].setText(canvases.maps_now.words)
        for part in (self.buttons["toggle_maps"], self.ways):
            part.setEnabled(flat and canvases.has_maps)
        with signals_blocked(self.opacity):
            self.opacity.setValue(round(100 * float(mask.opacity)))
        self.opacity.setEnabled(flat and not canvases.over)
        self._place()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Use the room that the canvas has."""
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _build(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(3, 0, 3, 0)
        row.setSpacing(2)
        layers, plane, mask, veil, maps, surface, grey = self.buttons.values()
        for group in (
            (layers,),
            (plane, self.channels, grey, self.contrast),
            (mask, self.opacity, veil, maps, self.ways),
            (surface,),
        ):
            if row.count():
                row.addSpacing(4)
                row.addWidget(_rule())
                row.addSpacing(4)
            for part in group:
                row.addWidget(part)

    def _place(self) -> None:
        """Say as much as there is room for; no state makes it wider or narrower."""
        if self._canvas is None:
            return
        width = self._canvas.width()
        states: dict[str, Sequence[str]] = {
            "next_plane": planes.NAMES,
            "toggle_maps": [way.words for way in MapPlacement],
        }
        for name, button in self.buttons.items():
            if isinstance(button, KeyButton):
                texts = states.get(name, [button.text()])
                shown = width >= (ROOMY / 2 if name in states else ROOMY)
                button.setFixedWidth(button.width_for(texts if shown else ()))
        self.contrast.set_compact(width < ROOMY)
        if (layout := self.layout()) is not None:
            layout.invalidate()  # it does not see what is not shown yet
            self.setFixedWidth(layout.sizeHint().width())
        self.move(EDGE, EDGE)

    def _set_opacity(self, percent: int) -> None:
        if self._view.mask is not None:
            self._view.mask.opacity = percent / 100

    def _offer_ways(self, menu: QMenu) -> None:
        canvases = self._view.canvases
        menu.clear()
        for way in canvases.ways:
            entry = menu.addAction(way.words)
            entry.setCheckable(True)
            entry.setChecked(way is canvases.maps_now)
            entry.triggered.connect(partial(self._choose_way, way))

    def _choose_way(self, way: MapPlacement, _checked: bool = False) -> None:
        self._view.canvases.set_maps(way)


def _rule() -> QFrame:
    line = look(QFrame(), "rule")
    line.setFixedSize(1, BUTTON - 8)
    return line
