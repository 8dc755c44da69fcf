"""Show the maps of a prediction beside the main canvas, or over its image."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.qt import QtViewer
from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from napari_semiseg.errors import SemisegError
from napari_semiseg.widgets.canvas.left_column import LeftColumn
from napari_semiseg.widgets.canvas.overlays import CanvasNotes
from napari_semiseg.widgets.canvas.prediction_views import (
    DISTANCE,
    UNCERTAINTY,
    MapOverlay,
    PredictionViews,
)
from napari_semiseg.widgets.common.compat import (
    camera_of,
    canvas_widget,
    scale_bar_of,
)
from napari_semiseg.widgets.common.link import ViewLink
from napari_semiseg.widgets.common.scrolling import WheelScrollsSlices
from napari_semiseg.widgets.elements.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.widgets.canvas.case_layers import CaseLayers
    from napari_semiseg.widgets.canvas.prediction_views import MapStyle

SETTLE_MS = 40
WIDE = 1600
"""Pixels of a window that has room for the maps beside the image."""
BELOW_BAR = 40
"""Pixels at the top of the main canvas that belong to the bar over it."""
CANVAS_WIDTH, CANVAS_HEIGHT = 480, 240
"""Least size of the main canvas: it gives way last."""
LINE = (2, 1.0)
"""Contour and opacity of a mask over which a map lies."""


class MapPlacement(StrEnum):
    """Where the maps of a prediction are shown."""

    BESIDE = "beside"
    UNCERTAINTY = "uncertainty"
    DISTANCE = "distance"
    OFF = "off"

    @property
    def words(self) -> str:
        """Name of the way on a button."""
        words = ("Maps beside", "Uncertainty", "Distance", "Maps off")
        return words[list(MapPlacement).index(self)]


class LinkedCanvases(QObject):
    """The main canvas, with the maps in a column beside it or over its image.

    A window narrower than `WIDE` has no column; `toggle` shows the maps over the image
    there, one after the other. While a map covers the image, the mask is a line.

    All OpenGL canvases that this makes go in `close` and nowhere else: first what
    points to them, then each canvas, then the widgets.

    Signals
    -------
    arranged()
        The maps are shown in another way, or others, or none.
    """

    arranged = Signal()

    def __init__(self, viewer: Any, layers: CaseLayers, parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.views: PredictionViews | None = None
        self.main_notes: CanvasNotes | None = None
        self.sliders: QWidget | None = None
        self.maps = MapPlacement.BESIDE
        self.column = LeftColumn()
        self._overlay: MapOverlay | None = None
        self._wheel: QObject | None = None
        self._window: QMainWindow | None = None
        self._centre: QWidget | None = None
        self._link: ViewLink | None = None
        self._layers = layers
        self._shown: tuple[Any, Prediction, LabelScheme] | None = None
        self._index = 0
        self._drawn: tuple[int, float] | None = None
        Connections(self).add(self._look_at, layers.images.image_changed)
        self._model = ""
        self._was_wide = False
        self._had_scale_bar = False
        self._contrast = Connections(self)
        self._chosen = Connections(self)
        self._linked = Connections(self)
        self._fitted: Any = None
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._fit)

    @property
    def shown(self) -> bool:
        """Whether the maps can be seen beside the image."""
        return self.views is not None and not self.views.isHidden()

    @property
    def over(self) -> bool:
        """Whether a map is drawn over the image."""
        return self._overlay is not None and self._overlay.layer is not None

    @property
    def has_maps(self) -> bool:
        """Whether the case has maps to show."""
        return self._shown is not None

    @property
    def maps_now(self) -> MapPlacement:
        """Way in which the maps are shown in a window of this width."""
        if self._shown is None or (self.maps is MapPlacement.BESIDE and not self.wide):
            return MapPlacement.OFF
        return self.maps

    @property
    def ways(self) -> tuple[MapPlacement, ...]:
        """Ways in which this window has room for maps."""
        return tuple(
            way for way in MapPlacement if self.wide or way is not MapPlacement.BESIDE
        )

    @property
    def window(self) -> QMainWindow | None:
        """The window of the main viewer, once a case was opened in it."""
        return self._window

    @property
    def wide(self) -> bool:
        """Whether the window has room for the maps beside the image."""
        return self._window is not None and self._window.width() >= WIDE

    def annotate(self) -> None:
        """Write the patient directions onto the main canvas, and make the column.

        In a wide window, that is. It takes half a second, in which nobody paints yet:
        later a prediction may come in the middle of a stroke.
        """
        if self.main_notes is None:
            self._window, self._centre, view = _window_of(self.viewer)
            self._window.installEventFilter(self)
            canvas = canvas_widget(view)
            canvas.installEventFilter(self)
            canvas.setMinimumSize(CANVAS_WIDTH, CANVAS_HEIGHT)
            self.sliders = view.dims
            self.main_notes = CanvasNotes(canvas, self.viewer, top=BELOW_BAR)
            self._overlay = MapOverlay(self.viewer, canvas, self._switch)
            self._wheel = WheelScrollsSlices(self.viewer, canvas)
            self._had_scale_bar = scale_bar_of(self.viewer).visible
            scale_bar_of(self.viewer).visible = True
        self._was_wide = self.wide
        if self.wide:
            self._make_column()
        self._hide_overlay()
        self.column.fold(self._window)

    def follow_mask(self) -> None:
        """Show the distance to the structure that is chosen in the mask of now."""
        self._chosen.close()
        if self._layers.mask is not None:
            self._chosen.add(self._choose, self._layers.mask.events.selected_label)

    def focus(self) -> None:
        """Let keys go to the main canvas."""
        if self.main_notes is not None:
            self.main_notes.canvas.setFocus()

    def show(self, image: Any, prediction: Prediction, scheme: LabelScheme) -> None:
        """Show the maps of a prediction with its image.

        Parameters
        ----------
        image : napari.layers.Image
            The image layer of the main viewer; its contrast is followed.
        prediction : Prediction
            On the grid of that image.
        scheme : LabelScheme
            Names and colours of the classes.
        """
        self.annotate()
        self._shown = (image, prediction, scheme)
        self._index = self._structure()
        self._follow(image)
        self._arrange()

    def set_footnotes(self, mask: str, model: str | None = None) -> None:
        """Write below the canvases where the mask comes from, and who made the maps."""
        if self.main_notes is not None:
            self.main_notes.set_footnote(mask)
        self._model = self._model if model is None else model
        for side in () if self.views is None else self.views.sides:
            side.notes.set_footnote(self._model)

    def unlinked(self) -> AbstractContextManager[None]:
        """Let the column not follow meanwhile; `show` brings it along."""
        return nullcontext() if self._link is None else self._link.paused()

    def hide_maps(self) -> None:
        """Show no maps: the case has no prediction."""
        self._shown = None
        self._follow(None)
        self._hide_overlay()
        if self.views is not None:
            with self.unlinked():
                self.views.clear()
            self.views.hide()
        self.arranged.emit()

    def clear(self) -> None:
        """Forget the case; give the window back its left column."""
        self._chosen.close()
        self.hide_maps()
        self.column.unfold()

    def toggle(self) -> Callable[[], object] | None:
        """Show the maps in the next way: beside the image, over it, not at all.

        Returns
        -------
        callable or None
            Goes back to the way before, for a key that was only held down.
        """
        if self._shown is None or self.viewer.dims.ndisplay == 3:
            return None
        before, ways = self.maps, self.ways
        self.set_maps(ways[(ways.index(self.maps_now) + 1) % len(ways)])
        return partial(self.set_maps, before)

    def set_maps(self, maps: MapPlacement) -> None:
        """Show the maps in this way."""
        self.maps = maps
        self._arrange()

    def _switch(self, style: MapStyle) -> None:
        """Show the other map over the image."""
        if self.over:
            self.set_maps(
                MapPlacement.DISTANCE if style is DISTANCE else MapPlacement.UNCERTAINTY
            )

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Use the room that a window has; end with the window."""
        kind, whole = event.type(), watched is self._window
        if kind == QEvent.Type.Resize:
            if whole and self.wide is not self._was_wide:
                self._was_wide = self.wide
                self._arrange()
            if self._overlay is not None:
                self._overlay.place()
            self._settle.start()
        elif whole and kind == QEvent.Type.Close:
            self.column.unfold()  # before napari notes what its window looks like
        elif whole and kind == QEvent.Type.Hide and not event.spontaneous():
            self.close()
        return False

    def close(self) -> None:
        """Remove the canvases, in an order that is safe for OpenGL."""
        self._settle.stop()
        self.clear()
        self._linked.close()
        self._link = self._overlay = None
        if self.main_notes is not None:
            self.main_notes.canvas.removeEventFilter(self)
            if self._wheel is not None:
                self.main_notes.canvas.removeEventFilter(self._wheel)
            scale_bar_of(self.viewer).visible = self._had_scale_bar
            self.main_notes.canvas.setMinimumSize(0, 0)
            self.main_notes.hide()
            self.main_notes.deleteLater()
            self.main_notes = self.sliders = None
        if self.views is not None:
            Connections.close_below(self.views)
            # The GL contexts go before the widgets that hold them, which stay where
            # they are until then: a canvas in another window gets another context.
            for side in self.views.sides:
                side.view.close()
            self.views.deleteLater()
            self.views = None
        if self._window is not None:
            self.column.leave()
            self._window.removeEventFilter(self)
            self._window = self._centre = None

    # -- where the maps are --------------------------------------------------------

    def _make_column(self) -> None:
        if self.views is not None or self._centre is None:
            return
        self.views = PredictionViews()
        self.views.hide()
        layout: Any = self._centre.layout()
        layout.setStretch(0, 2)
        layout.addWidget(self.views, 1)
        self._connect(self.views)
        for side in self.views.sides:
            side.notes.set_footnote(self._model)

    def _arrange(self) -> None:
        """Show the maps the way that is chosen and that there is room for."""
        maps = self.maps_now
        if self.views is not None and maps is not MapPlacement.BESIDE:
            self.views.hide()
        if self._shown is None:
            return
        if maps is MapPlacement.BESIDE:
            self._hide_overlay()
            self._make_column()
            self._fill_column()
        elif maps is MapPlacement.OFF:
            self._hide_overlay()
        else:
            self._cover(maps)
        self.arranged.emit()

    def _fill_column(self) -> None:
        if self.views is None or self._shown is None:
            return
        with self.unlinked():
            self.views.show_prediction(*self._shown, self._index)
        self.views.show()
        self._come_along()
        self.views.show_contour(self._shown[1])

    def _come_along(self) -> None:
        """Bring the column to the slice and place that the main canvas shows."""
        if self._link is not None:
            self._link.copy_from(self.viewer)

    def _cover(self, maps: MapPlacement) -> None:
        """Draw a map over the image, and the mask as a line."""
        if self._overlay is None or self._shown is None or self._layers.mask is None:
            return
        image, prediction, _ = self._shown
        if maps is MapPlacement.DISTANCE:
            self._overlay.show(DISTANCE, image, prediction.sdm_mm[self._index])
        else:
            self._overlay.show(UNCERTAINTY, image, prediction.uncertainty)
        mask = self._layers.mask
        if self._drawn is None:
            self._drawn = (mask.contour, mask.opacity)
        mask.contour, mask.opacity = LINE

    def _hide_overlay(self) -> None:
        if self._overlay is not None:
            self._overlay.hide()
        drawn, self._drawn = self._drawn, None
        if drawn is not None and self._layers.mask is not None:
            self._layers.mask.contour, self._layers.mask.opacity = drawn

    def _structure(self) -> int:
        """Index of the structure that is painted, else of the one shown so far."""
        if self._shown is None or self._layers.mask is None:
            return 0
        values = list(self._shown[2].values)
        selected = self._layers.mask.selected_label
        known = values.index(selected) if selected in values else self._index
        return min(known, len(values) - 1)

    def _choose(self, event: Any = None) -> None:
        """Show the distance to the structure that is chosen."""
        index = self._structure()
        if index != self._index and self.viewer.dims.ndisplay == 2:
            self._index = index
            self._arrange()

    def _fit(self) -> None:
        """Let the picture fill its canvas, once for each size that this has."""
        if self.main_notes is not None:
            size = self.main_notes.canvas.size()
            if size != self._fitted:
                self._fitted = size
                camera = camera_of(self.viewer)
                angles = camera.angles  # a body that was turned stays so
                self.viewer.reset_view()
                camera.angles = angles
            if self.shown:
                self._come_along()

    # -- one image, one slice, one cursor ------------------------------------------

    def _look_at(self, image: Any) -> None:
        """Draw under the maps whichever image of the case is in view."""
        if self._shown is not None and image is not None:
            self._shown = (image, *self._shown[1:])
            self._follow(image)
            if self.views is not None:
                self.views.show_image(image)

    def _connect(self, views: PredictionViews) -> None:
        models = [self.viewer, *(side.model for side in views.sides)]
        own = () if self.main_notes is None else (self.main_notes,)
        notes = [*own, *(side.notes for side in views.sides)]
        canvases = [note.canvas for note in notes]
        self._link = ViewLink(models, canvases, self._linked)
        for model, one in zip(models, notes, strict=True):
            copier = _cursor_copier(model, one, [it for it in notes if it is not one])
            self._linked.add(copier, model.cursor.events.position)
        self._linked.add(self._copy_theme, self.viewer.events.theme)

    def _copy_theme(self, event: Any = None) -> None:
        """Give the column the canvas colour of the theme that is chosen."""
        for side in () if self.views is None else self.views.sides:
            side.model.theme = self.viewer.theme

    def _follow(self, image: Any) -> None:
        """Take the contrast of the column from this image layer, or of none."""
        self._contrast.close()
        if image is not None:
            self._contrast.add(self._copy_contrast, image.events.contrast_limits)

    def _copy_contrast(self, event: Any = None) -> None:
        if self.views is not None and self._shown is not None:
            self.views.contrast(self._shown[0].contrast_limits)


def _cursor_copier(model: Any, own: CanvasNotes, others: list[CanvasNotes]) -> Any:
    def copy(event: Any = None) -> None:
        own.set_cursor(None)
        position = model.cursor.position
        for notes in others:
            # A cursor that no mouse moves goes somewhere with each new slice.
            known = len(position) == 3 and model.mouse_over_canvas
            notes.set_cursor(position if known else None)

    return copy


def _window_of(viewer: Any) -> tuple[QMainWindow, QWidget, Any]:
    for window in QApplication.topLevelWidgets():
        centre = window.centralWidget() if isinstance(window, QMainWindow) else None
        if isinstance(window, QMainWindow) and centre is not None:
            for view in centre.findChildren(QtViewer):
                if view.viewer is viewer:
                    return window, centre, view
    raise SemisegError(
        "expected a napari window to show the case in, found none; open the panel in a "
        "viewer that has one"
    )
