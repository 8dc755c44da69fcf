"""Show a prediction as two maps: distance to the surface, and uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Vectors
from napari.qt import QtViewer
from napari.utils import Colormap
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_semiseg.widgets.canvas.overlays import CanvasNotes, ColourScale
from napari_semiseg.widgets.common.compat import camera_of, canvas_widget
from napari_semiseg.widgets.common.link import assign
from napari_semiseg.widgets.common.scrolling import WheelScrollsSlices
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    plain_label,
    push_button,
    row_of,
    stack,
)
from napari_semiseg.widgets.elements.style import Style, look

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.core.prediction import Prediction

COLUMN, LEGEND = 420, 170
"""Most pixels across: of both maps beside the image, of a legend over it."""
UNITS = ("mm", "mm", "mm")
NOTHING = np.zeros((1, 1, 1), np.float32)
CONTOUR_PIXELS = 2.5
DISTANCE_COLOURS = Colormap(
    [
        [0.02, 0.19, 0.58, 0.75],
        [0.26, 0.58, 0.84, 0.6],
        [0.97, 0.97, 0.97, 0.3],
        [0.96, 0.56, 0.40, 0.35],
        [0.60, 0.04, 0.12, 0.45],
    ],
    name="semiseg distance",
)
UNCERTAINTY_COLOURS = Colormap(
    [
        [0.0, 0.0, 0.0, 0.0],
        [0.42, 0.05, 0.43, 0.45],
        [0.86, 0.22, 0.27, 0.75],
        [0.99, 0.65, 0.04, 0.9],
        [0.99, 1.0, 0.64, 1.0],
    ],
    name="semiseg uncertainty",
)


@dataclass(frozen=True, slots=True)
class MapStyle:
    """How a map is drawn.

    Attributes
    ----------
    title, brief : str
        Name of the map, and in a word.
    colormap : napari.utils.Colormap
        Its colours.
    signed : bool
        Whether values are distances in mm, zero in the middle; else they are 0 to 1.
    """

    title: str
    brief: str
    colormap: Colormap
    signed: bool = False

    def limits(self, values: NDArray[np.float32]) -> tuple[float, float]:
        """Values of the first and the last colour; fitted to the depth inside."""
        if not self.signed:
            return 0.0, 1.0
        depth = float(np.clip(np.ceil(-values.min(initial=0)), 2, 20))
        return -depth, depth

    def texts(self, limits: tuple[float, float]) -> tuple[str, str, str]:
        """Texts under the colour scale."""
        if not self.signed:
            return "0 sure", "0.5", "1 unsure"
        return f"\u2212{limits[1]:.0f} inside", "0", f"+{limits[1]:.0f} mm"


DISTANCE = MapStyle("Signed distance", "Distance", DISTANCE_COLOURS, signed=True)
UNCERTAINTY = MapStyle("Uncertainty", "Unsure", UNCERTAINTY_COLOURS)


class Contour(Vectors):
    """Lines in a viewer that has no list of layers."""

    def _update_thumbnail(self) -> None:
        """Draw none: nobody sees it, and it takes longer than the lines."""


class _Picture(QtViewer):
    """A canvas beside that of the window, which has bound the shortcuts."""

    def _bind_shortcuts(self) -> None:
        """Bind none again: that takes a third of the time to make one."""


class SideCanvas(QWidget):
    """One canvas on a viewer model of its own, above its colour scale."""

    def __init__(self, style: MapStyle) -> None:
        super().__init__()
        self.style_of_map = style
        self.model = ViewerModel(title=style.title)
        self.view = _Picture(self.model)
        self.image = self.model.add_image(
            NOTHING, name="image", colormap="gray", units=UNITS
        )
        self.overlay = self.model.add_image(
            NOTHING,
            name="map",
            colormap=style.colormap,
            contrast_limits=(0, 1),
            blending="translucent",
            units=UNITS,
        )
        self.view.dims.setVisible(False)
        # Keys go on to the main canvas, whichever picture was clicked last.
        canvas_widget(self.view).setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        WheelScrollsSlices(self.model, canvas_widget(self.view))
        self.notes = CanvasNotes(canvas_widget(self.view), self.model, style.title)
        self.scale = ColourScale(style.colormap)
        stack(self, self.view, self.scale, stretched=self.view, margin=0).setSpacing(2)

    def draw(self, image: Any, values: NDArray[np.float32]) -> None:
        """Draw an overlay on the voxels of an image layer, which are not copied."""
        for layer, data in ((self.image, image.data), (self.overlay, values)):
            layer.data = data
            assign(layer, "scale", image.scale)
        self.image.contrast_limits = image.contrast_limits
        limits = self.style_of_map.limits(values)
        self.overlay.contrast_limits = limits
        self.scale.set_texts(*self.style_of_map.texts(limits))

    def clear(self) -> None:
        """Release the voxels."""
        self.image.data = self.overlay.data = NOTHING


class PredictionViews(QWidget):
    """A column of two canvases: distance with its zero contour, and uncertainty.

    It is never wider than `COLUMN`, and keeps no window wide.
    """

    def __init__(self) -> None:
        super().__init__()
        self.distance, self.uncertainty = SideCanvas(DISTANCE), SideCanvas(UNCERTAINTY)
        self.sides = (self.distance, self.uncertainty)
        policy = QSizePolicy.Policy.Ignored
        self.setSizePolicy(policy, policy)
        self.setMaximumWidth(COLUMN)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 0, 0)
        layout.setSpacing(4)
        for side in self.sides:
            layout.addWidget(side, 1)
        self._sdm: NDArray[np.float32] | None = None
        self._scheme: LabelScheme | None = None
        self._index = 0
        self._contour = Contour(
            np.zeros((0, 2, 3)),
            name="zero contour",
            vector_style="line",
            opacity=1,
            units=UNITS,
        )
        self.distance.model.add_layer(self._contour)
        connections, dims = Connections(self), self.distance.model.dims.events
        connections.add(self._draw_contour, dims.point, dims.order)
        connections.add(self._keep_width, camera_of(self.distance.model).events.zoom)

    def show_prediction(
        self, image: Any, prediction: Prediction, scheme: LabelScheme, index: int
    ) -> None:
        """Put a prediction over the image of its case.

        The distance is that to the surface of the structure at ``index`` in the
        scheme. Its contour waits for `show_contour`, once the slice is in view.
        """
        self._sdm = None  # no contour of it meanwhile
        self._scheme, self._index = scheme, index
        self.distance.draw(image, prediction.sdm_mm[index])
        self.uncertainty.draw(image, prediction.uncertainty)

    def show_contour(self, prediction: Prediction) -> None:
        """Draw the zero contour of the distance, in every slice from now on."""
        self._sdm = prediction.sdm_mm[self._index]
        self._draw_contour()

    def show_image(self, image: Any) -> None:
        """Draw another image of the case under both maps."""
        for side in self.sides:
            side.image.data = image.data
            side.image.contrast_limits = image.contrast_limits

    def contrast(self, limits: Sequence[float]) -> None:
        """Draw the images with these contrast limits."""
        for side in self.sides:
            side.image.contrast_limits = limits

    def clear(self) -> None:
        """Forget the prediction."""
        self._sdm = None
        self._contour.data = np.zeros((0, 2, 3))
        for side in self.sides:
            side.clear()

    def _keep_width(self, event: Any = None) -> None:
        """Draw the contour equally thick on the screen at every zoom."""
        zoom = camera_of(self.distance.model).zoom
        unit = min(self._contour.scale[axis] for axis in self._shown_axes())
        width = CONTOUR_PIXELS / max(zoom * unit, 1e-6)
        assign(self._contour, "edge_width", width)

    def _shown_axes(self) -> list[int]:
        return sorted(self.distance.model.dims.order[1:])

    def _draw_contour(self, event: Any = None) -> None:
        if self._sdm is None or self._scheme is None:
            return
        dims, shown = self.distance.model.dims, self._shown_axes()
        axis = dims.order[0]
        spacing = np.asarray(self.distance.overlay.scale)
        plane = round(dims.point[axis] / spacing[axis])
        plane = int(np.clip(plane, 0, self._sdm.shape[axis] - 1))
        segments = zero_contour(np.moveaxis(self._sdm, axis, 0)[plane])
        # One unit in both displayed directions, so that the line is equally thick;
        # slices as far apart as the image's, so that scrolling meets each.
        scale = np.full(3, spacing[shown].min())
        scale[axis] = spacing[axis]
        vectors = np.zeros((len(segments), 2, 3))
        vectors[..., shown] = segments * spacing[shown] / scale[shown]
        vectors[:, 0, axis] = dims.point[axis] / scale[axis]
        self._contour.data = vectors
        assign(self._contour, "scale", scale)
        self._contour.edge_color = self._scheme.classes[self._index].colour
        self._keep_width()


class MapLegend(QFrame):
    """Colours of the map over the image, and a switch to the other map."""

    def __init__(
        self,
        canvas: QWidget,
        viewer: Any,
        style: MapStyle,
        limits: tuple[float, float],
        asked: Callable[[MapStyle], object],
    ) -> None:
        super().__init__(canvas)
        look(self, "viewbar")
        self.setAttribute(Qt.WidgetAttribute.WA_NoMousePropagation)
        self.setCursor(Qt.CursorShape.ArrowCursor)
        self.buttons: dict[str, QPushButton] = {}
        for other in (UNCERTAINTY, DISTANCE):
            button = look(push_button(other.brief, tip=other.title), "segment")
            button.setCheckable(True)
            button.setChecked(other is style)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            # Later, since the legend goes with the map that it is of.
            ask = partial(QTimer.singleShot, 0, partial(asked, other))
            button.clicked.connect(lambda *_, ask=ask: ask())
            self.buttons[other.brief] = button
        scale = ColourScale(style.colormap)
        scale.set_texts(*style.texts(limits))
        edge = look(plain_label("\u2014 edge of the mask"), "small")
        switch = row_of(*self.buttons.values())
        switch.setStretch(1, switch.stretch(0))
        stack(self, switch, scale, edge, margin=8)
        self.setFixedWidth(LEGEND)
        self._style = Style(self, viewer, Connections(self))

    def remove(self) -> None:
        """Go for good."""
        Connections.close_below(self)
        self.hide()
        self.deleteLater()


class MapOverlay:
    """One map over the image in the main canvas, with its legend at the corner.

    It is a layer of the viewer, between image and mask, while it is shown.

    Parameters
    ----------
    viewer : napari.Viewer
        Gets the layer.
    canvas : QWidget
        Of the viewer; gets the legend.
    asked : callable
        Called with the map of the two that shall be shown in place of the other.
    """

    def __init__(
        self, viewer: Any, canvas: QWidget, asked: Callable[[MapStyle], object]
    ) -> None:
        self._viewer = viewer
        self._canvas = canvas
        self._asked = asked
        self.layer: Any = None
        self.legend: MapLegend | None = None

    def show(self, style: MapStyle, image: Any, values: NDArray[np.float32]) -> None:
        """Draw a map on the voxels of an image layer in place of another map."""
        self.hide()
        limits = style.limits(values)
        layers = self._viewer.layers
        active = layers.selection.active
        self.layer = Image(
            values,
            name=style.title,
            colormap=style.colormap,
            contrast_limits=limits,
            blending="translucent",
            scale=image.scale,
            units=UNITS,
            axis_labels=image.axis_labels,
        )
        layers.insert(layers.index(image) + 1, self.layer)
        layers.selection.active = active
        self.legend = MapLegend(self._canvas, self._viewer, style, limits, self._asked)
        self.place()
        self.legend.show()

    def place(self) -> None:
        """Keep the legend in the corner of a canvas that has another size."""
        if self.legend is not None:
            self.legend.move(self._canvas.width() - LEGEND - 10, 56)

    def hide(self) -> None:
        """Remove the map."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
        legend, self.legend = self.legend, None
        if legend is not None:
            legend.remove()


def zero_contour(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Line along which a signed distance is zero.

    Parameters
    ----------
    values : ndarray (H, W), float32
        One slice, negative inside.

    Returns
    -------
    ndarray (N, 2, 2), float64
        Start and direction of N straight pieces, in pixels (row, column).
    """
    from skimage.measure import find_contours

    if (
        values.min(initial=1) >= 0
        or values.max(initial=-1) < 0
        or min(values.shape) < 2
    ):
        return np.zeros((0, 2, 2))
    pieces = [
        np.stack([line[:-1], np.diff(line, axis=0)], axis=1)
        for line in find_contours(values, 0.0)
    ]
    return np.concatenate(pieces) if pieces else np.zeros((0, 2, 2))
