"""Show a prediction on two canvases: distance to the surface, and uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.utils import Colormap
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_semiseg.widgets.canvas.overlays import CanvasNotes, ColourScale
from napari_semiseg.widgets.common.compat import camera_of, canvas_widget
from napari_semiseg.widgets.common.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.core.prediction import Prediction

OVERLAY = "map"
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


class SideCanvas(QWidget):
    """One canvas on a viewer model of its own, with a row for its colour scale."""

    def __init__(self, title: str, scale: ColourScale) -> None:
        super().__init__()
        self.model = ViewerModel(title=title)
        self.view = QtViewer(self.model)
        self.image = self.model.add_image(
            NOTHING, name="image", colormap="gray", units=UNITS
        )
        self.overlay = self.model.add_image(
            NOTHING,
            name=OVERLAY,
            colormap=scale.colormap,
            contrast_limits=(0, 1),
            blending="translucent",
            units=UNITS,
        )
        self.view.dims.setVisible(False)
        self.view.setMinimumWidth(150)
        # Keys go on to the main canvas, whichever picture was clicked last.
        canvas_widget(self.view).setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.notes = CanvasNotes(canvas_widget(self.view), self.model, title)
        self.scale = scale
        self.row = QHBoxLayout()
        self.row.setContentsMargins(6, 0, 6, 2)
        self.row.addWidget(scale, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.view, 1)
        layout.addLayout(self.row)

    def draw(self, image: Any, values: NDArray[np.float32]) -> None:
        """Draw an overlay on the voxels of an image layer, which are not copied."""
        for layer, data in ((self.image, image.data), (self.overlay, values)):
            layer.data = data
            layer.scale = image.scale
        self.image.contrast_limits = image.contrast_limits

    def clear(self) -> None:
        """Let go of the voxels."""
        self.image.data = self.overlay.data = NOTHING


class PredictionViews(QWidget):
    """The two side canvases: distance with its zero contour, and uncertainty."""

    def __init__(self) -> None:
        super().__init__()
        self.distance = SideCanvas(
            "Signed distance", ColourScale(DISTANCE_COLOURS, "", "0 mm", "")
        )
        self.uncertainty = SideCanvas(
            "Uncertainty", ColourScale(UNCERTAINTY_COLOURS, "0 sure", "0.5", "1 unsure")
        )
        self.sides = (self.distance, self.uncertainty)
        self.classes = QComboBox()
        self.classes.setToolTip("Structure whose signed distance is shown")
        self.classes.setMaximumWidth(150)
        self.classes.setAccessibleName("Structure of the distance map")
        self.distance.row.insertWidget(0, self.classes)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.distance, 1)
        layout.addWidget(self.uncertainty, 1)
        self._sdm: NDArray[np.float32] | None = None
        self._colours: list[str] = []
        self._contour = self.distance.model.add_vectors(
            np.zeros((0, 2, 3)),
            name="zero contour",
            vector_style="line",
            opacity=1,
            units=UNITS,
        )
        connections, dims = Connections(self), self.distance.model.dims.events
        connections.add(self._draw_contour, dims.point, dims.order)
        connections.add(self._keep_width, camera_of(self.distance.model).events.zoom)
        self.classes.currentIndexChanged.connect(self._choose_class)

    def show_prediction(
        self, image: Any, prediction: Prediction, scheme: LabelScheme
    ) -> None:
        """Put a prediction over the image of its case."""
        self._sdm = None  # no contour of it meanwhile
        self._colours = [item.colour for item in scheme]
        self.distance.draw(image, prediction.sdm_mm[0])
        self.uncertainty.draw(image, prediction.uncertainty)
        self._sdm = prediction.sdm_mm
        with signals_blocked(self.classes):
            self.classes.clear()
            self.classes.addItems([item.name for item in scheme])
        self.classes.setVisible(len(scheme) > 1)
        self._fit_colours()

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

    def _choose_class(self, index: int) -> None:
        if self._sdm is not None and index >= 0:
            self.distance.overlay.data = self._sdm[index]
            self._fit_colours()

    def _fit_colours(self) -> None:
        """Fit the colours to the depth of the structure, and draw its contour."""
        values = self.distance.overlay.data
        limit = float(np.clip(np.ceil(-values.min(initial=0)), 2, 20))
        self.distance.overlay.contrast_limits = (-limit, limit)
        self.distance.scale.set_texts(
            f"\u2212{limit:.0f} inside", "0", f"+{limit:.0f} mm"
        )
        self._draw_contour()

    def _keep_width(self, event: Any = None) -> None:
        """Draw the contour equally thick on the screen at every zoom."""
        zoom = camera_of(self.distance.model).zoom
        unit = min(self._contour.scale[axis] for axis in self._shown_axes())
        self._contour.edge_width = CONTOUR_PIXELS / max(zoom * unit, 1e-6)

    def _shown_axes(self) -> list[int]:
        return sorted(self.distance.model.dims.order[1:])

    def _draw_contour(self, event: Any = None) -> None:
        if self._sdm is None:
            return
        index = max(self.classes.currentIndex(), 0)
        dims, shown = self.distance.model.dims, self._shown_axes()
        axis = dims.order[0]
        spacing = np.asarray(self.distance.overlay.scale)
        plane = round(dims.point[axis] / spacing[axis])
        plane = int(np.clip(plane, 0, self._sdm.shape[1 + axis] - 1))
        segments = zero_contour(np.moveaxis(self._sdm[index], axis, 0)[plane])
        # One unit in both displayed directions, so that the line is equally thick;
        # slices as far apart as the image's, so that scrolling meets each.
        scale = np.full(3, spacing[shown].min())
        scale[axis] = spacing[axis]
        vectors = np.zeros((len(segments), 2, 3))
        vectors[..., shown] = segments * spacing[shown] / scale[shown]
        vectors[:, 0, axis] = dims.point[axis] / scale[axis]
        self._contour.data = vectors
        if not np.array_equal(self._contour.scale, scale):
            self._contour.scale = scale
        self._contour.edge_color = self._colours[index]
        self._keep_width()


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
