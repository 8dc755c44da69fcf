"""Show two canvases beside the main one, on the same slice."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.qt import QtViewer
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow, QWidget

from napari_semiseg.errors import SemisegError
from napari_semiseg.widgets.canvas.overlays import CanvasNotes
from napari_semiseg.widgets.canvas.prediction_views import PredictionViews
from napari_semiseg.widgets.common.compat import canvas_widget
from napari_semiseg.widgets.common.connections import Connections
from napari_semiseg.widgets.common.link import ViewLink

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.widgets.canvas.image_layers import ImageLayers

TITLE = "Semiseg views"
MAIN_TITLE = "Image and mask"
SETTLE_MS = 40
TRIES = 25
STEADY = 4
NEAR_PIXELS = 8
SLIDER_WIDTH = 40


class LinkedCanvases(QObject):
    """Image + distance map and image + uncertainty, in step with the main viewer."""

    def __init__(self, viewer: Any, images: ImageLayers, parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.views: PredictionViews | None = None
        self.main_notes: CanvasNotes | None = None
        self.sliders: QWidget | None = None
        self._window: QMainWindow | None = None
        self._centre: QWidget | None = None
        self._dock: Any = None
        self._link: ViewLink | None = None
        self._image: Any = None
        self._images = images
        Connections(self).add(self._look_at, images.image_changed)
        self._contrast = Connections(self)
        self._linked = Connections(self)
        self._beside: list[tuple[QDockWidget, int]] = []
        self._tries = self._steady = 0
        self._widths: list[int] = []
        self._room = 0
        self._fitted: Any = None
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._balance)

    @property
    def shown(self) -> bool:
        """Whether the side canvases can be seen."""
        return self._dock is not None and bool(self._dock.isVisible())

    @property
    def window(self) -> QMainWindow | None:
        """The window of the main viewer, once a case was opened in it."""
        return self._window

    def annotate(self) -> PredictionViews:
        """Write the patient directions onto the main canvas, and make the other two.

        They take half a second, in which nobody paints yet: later a prediction may
        come in the middle of a stroke.
        """
        if self.main_notes is None or self.views is None:
            self._window, self._centre, view = _window_of(self.viewer)
            self._window.installEventFilter(self)
            self._centre.installEventFilter(self)
            self.sliders = view.dims
            self.main_notes = CanvasNotes(canvas_widget(view), self.viewer, MAIN_TITLE)
            self.views = PredictionViews()
            self._connect(self.views)
        self._name_image()
        return self.views

    def focus(self) -> None:
        """Let keys go to the main canvas."""
        if self.main_notes is not None:
            self.main_notes.canvas.setFocus()

    def show(self, image: Any, prediction: Prediction, scheme: LabelScheme) -> None:
        """Put a prediction beside its image.

        Parameters
        ----------
        image : napari.layers.Image
            The image layer of the main viewer; its contrast is followed.
        prediction : Prediction
            On the grid of that image.
        scheme : LabelScheme
            Names and colours of the classes.
        """
        views = self.annotate()
        _narrow(self.sliders)
        self._put_beside(views)
        self._follow(image)
        with self.unlinked():
            views.show_prediction(image, prediction, scheme)
        if self._link is not None:
            self._link.copy_from(self.viewer)

    def _look_at(self, image: Any) -> None:
        """Draw under the maps whichever image of the case is in view, and name it."""
        self._name_image()
        if self.views is not None and self._image is not None:
            self._follow(image)
            self.views.show_image(image)

    def _name_image(self) -> None:
        channel = self._images.channel
        if self.main_notes is not None:
            title = f"{channel} and mask" if channel else MAIN_TITLE
            self.main_notes.set_title(title)

    def set_footnotes(self, mask: str, model: str | None = None) -> None:
        """Write below the canvases where the mask comes from, and who made the maps."""
        if self.main_notes is not None:
            self.main_notes.set_footnote(mask)
        if self.views is not None and model is not None:
            for side in self.views.sides:
                side.notes.set_footnote(model)

    def unlinked(self) -> AbstractContextManager[None]:
        """Let the side canvases not follow meanwhile; `show` brings them along."""
        return nullcontext() if self._link is None else self._link.paused()

    def clear(self) -> None:
        """Forget the case and hide the side canvases."""
        self._follow(None)
        if self.views is not None:
            with self.unlinked():
                self.views.clear()
        self._hide()

    def toggle(self) -> None:
        """Hide the side canvases, or show them when a prediction is open."""
        if self.shown:
            self._hide()
        elif self.views is not None and self._image is not None:
            self._put_beside(self.views)

    def equal_widths(self) -> None:
        """Give the three canvases the same width, once the window is laid out."""
        self._tries, self._steady, self._widths = TRIES, 0, []
        self._fitted = None
        self._settle.start()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Share the room anew when there is more or less of it; end with the window."""
        whole = watched is self._window
        if event.type() == QEvent.Type.Resize and self.shown:
            if whole and not self._settle.isActive():
                self._note_widths()
            if whole:
                self.equal_widths()
            elif not self._settle.isActive():
                self._settle.start()
        elif whole and event.type() == QEvent.Type.Hide and not event.spontaneous():
            self.close()
        return False

    def close(self) -> None:
        """Remove the canvases and the dock, in an order that is safe for OpenGL."""
        self._settle.stop()
        self._follow(None)
        self._linked.close()
        self._link = None
        if self.main_notes is not None:
            self.main_notes.hide()
            self.main_notes.deleteLater()
            self.main_notes = self.sliders = None
        if self.views is not None:
            Connections.close_below(self.views)
            self.views.clear()
            # The GL contexts go before the widget that holds them.
            for side in self.views.sides:
                side.view.close()
            self.views.close()
            self.views.deleteLater()
            self.views = None
        if self._dock is not None:
            dock, self._dock = self._dock, None
            dock.destroyed.disconnect(self._dock_gone)
            self.viewer.window.remove_dock_widget(dock)
        if self._window is not None and self._centre is not None:
            self._window.removeEventFilter(self)
            self._centre.removeEventFilter(self)
            self._window = self._centre = None

    # -- the dock ------------------------------------------------------------------

    def _put_beside(self, views: PredictionViews) -> None:
        if not self.shown:
            self._note_widths()
        if self._dock is None:
            self._dock = self.viewer.window.add_dock_widget(
                views, name=TITLE, area="right", add_vertical_stretch=False
            )
            self._dock.destroyed.connect(self._dock_gone)
            self._place_left_of_others()
            self.equal_widths()
        views.show()
        if not self._dock.isVisible():
            self._dock.show()
            self.equal_widths()

    def _note_widths(self) -> None:
        """Remember how wide the docks beside are, which they stay."""
        self._beside = [(dock, dock.width()) for dock in self._docks_beside()[:1]]

    def _place_left_of_others(self) -> None:
        for dock, _ in self._beside:
            if self._window is not None:
                self._window.splitDockWidget(
                    self._dock, dock, Qt.Orientation.Horizontal
                )

    def _docks_beside(self) -> list[QDockWidget]:
        """Other docks in the right area that can be seen."""
        window, right = self._window, Qt.DockWidgetArea.RightDockWidgetArea
        if window is None:
            return []
        return [
            dock
            for dock in window.findChildren(QDockWidget)
            if dock is not self._dock
            and dock.isVisible()
            and not dock.isFloating()
            and window.dockWidgetArea(dock) == right
        ]

    def _hide(self) -> None:
        """Leave the room to the main canvas, not to the dock beside."""
        if self._dock is None or self._window is None or not self._dock.isVisible():
            return
        others = self._docks_beside()
        widths = [dock.width() for dock in others]
        self._dock.hide()
        self._window.resizeDocks(others, widths, Qt.Orientation.Horizontal)
        self._settle.start()

    def _balance(self) -> None:
        """Request widths until the window, which lays out later, has them."""
        if self._window is None or self._centre is None:
            return
        if not self.shown:
            self._fitted = None
            self._fit()  # the main canvas has all the room now
            return
        if self._dock.isFloating():
            return
        _narrow(self.sliders)
        there = self._docks_beside()
        beside = {dock: width for dock, width in self._beside if dock in there}
        docks, kept = [self._dock, *beside], sum(beside.values())
        found = [dock.width() for dock in docks]
        room = self._centre.width() + sum(found) - kept
        if self._tries <= 0:
            # Else the user has moved what lies between the canvases.
            if abs(room - self._room) > NEAR_PIXELS:
                self._note_widths()
                self.equal_widths()
            return
        self._room = room
        third = max(round(room / 3), self._centre.minimumSizeHint().width())
        wanted = [room - third, *beside.values()]
        near = max(abs(np.subtract(found, wanted))) <= NEAR_PIXELS
        if not near:
            self._window.resizeDocks(docks, wanted, Qt.Orientation.Horizontal)
        # A window that is too narrow stays at what it can give.
        self._steady = self._steady + 1 if near or found == self._widths else 0
        self._widths = found
        if self._steady:
            self._fit()
        self._tries -= 1
        if self._steady < STEADY and self._tries > 0:
            self._settle.start()
        else:
            self._tries = 0

    def _fit(self) -> None:
        """Let the picture fill its canvas, once for each size that this has."""
        if self.main_notes is not None:
            size = self.main_notes.canvas.size()
            if size != self._fitted:
                self._fitted = size
                self.viewer.reset_view()

    def _dock_gone(self, _: object = None) -> None:
        self._dock = None

    # -- one slice, one cursor -----------------------------------------------------

    def _connect(self, views: PredictionViews) -> None:
        models = [self.viewer, *(side.model for side in views.sides)]
        notes = [self.main_notes, *(side.notes for side in views.sides)]
        self._link = ViewLink(models, self._linked)
        for model, own in zip(models, notes, strict=True):
            others = [item for item in notes if item is not None and item is not own]
            copier = _cursor_copier(model, own, others)
            self._linked.add(copier, model.cursor.events.position)

    def _follow(self, image: Any) -> None:
        """Take the contrast of the side canvases from this image layer, or of none."""
        self._contrast.close()
        self._image = image
        if image is not None:
            self._contrast.add(self._copy_contrast, image.events.contrast_limits)

    def _copy_contrast(self, event: Any = None) -> None:
        if self.views is not None and self._image is not None:
            self.views.contrast(self._image.contrast_limits)


def _narrow(sliders: Any) -> None:
    """Let napari's sliders be narrow: they would keep the main canvas wide."""
    for one in () if sliders is None else sliders.slider_widgets:
        one.slider.setMinimumWidth(SLIDER_WIDTH)


def _cursor_copier(
    model: Any, own: CanvasNotes | None, others: list[CanvasNotes]
) -> Any:
    def copy(event: Any = None) -> None:
        if own is not None:
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
