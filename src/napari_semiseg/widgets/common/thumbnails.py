"""Draw small pictures of slices with outlines of a mask, in a thread."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QPointF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPolygonF

from napari_semiseg.core.labels import is_class
from napari_semiseg.errors import SemisegError
from napari_semiseg.imaging.outlines import outlines
from napari_semiseg.imaging.rendering import Slice, grey, slices_through
from napari_semiseg.imaging.windowing import AUTOMATIC
from napari_semiseg.io.masks import read_labels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.project.cases.case import Case

SIZE = 148
"""Width and height of a picture, pixels."""
KEPT = 300
"""Cases whose pictures are kept, about 80 MB."""
LINE_WIDTH = 1.6

PictureKey = tuple[object, ...]
"""The id of a case, and what else its pictures depend on."""


def draw_planes(
    voxels: NDArray[Any],
    labels: NDArray[np.uint8],
    geometry: Geometry,
    scheme: LabelScheme,
) -> list[QImage]:
    """Draw the axial, coronal and sagittal slice that cut most of a mask.

    Parameters
    ----------
    voxels, labels : ndarray (Z, Y, X)
        Image and mask.
    geometry : Geometry
        For true proportions.
    scheme : LabelScheme
        Colours of the classes.
    """
    views = slices_through(is_class(labels), geometry)
    return _draw(views, voxels, labels, scheme)


def draw_slice(
    case: Case, mask: Path | None, place: tuple[int, int], scheme: LabelScheme
) -> list[QImage]:
    """Read a case and draw one slice of it.

    Parameters
    ----------
    case : Case
        Whose image is read.
    mask : Path or None
        Label or prediction to outline.
    place : (int, int)
        Axis and index of the slice.
    scheme : LabelScheme
        Colours of the classes.
    """
    axis, index = place
    z, y, x = case.geometry.spacing_mm
    view = Slice(axis, index, ((y, x), (z, x), (z, y))[axis])
    voxels = case.read_image().data
    labels = np.zeros(voxels.shape, np.uint8)
    if mask is not None:
        labels = read_labels(mask, case.geometry)
    return _draw([view], voxels, labels, scheme)


def draw_case(case: Case, mask: Path, scheme: LabelScheme) -> list[QImage]:
    """Read a case and draw the slices of `draw_planes`."""
    voxels = case.read_image().data
    return draw_planes(voxels, read_labels(mask, case.geometry), case.geometry, scheme)


def _draw(
    views: list[Slice],
    voxels: NDArray[Any],
    labels: NDArray[np.uint8],
    scheme: LabelScheme,
) -> list[QImage]:
    low, high = AUTOMATIC.limits(voxels)
    pictures = []
    for view in views:
        pixels = np.ascontiguousarray(grey(view.of(voxels), low, high))
        pictures.append(draw_plane(pixels, view.of(labels), view.spacing_mm, scheme))
    return pictures


def draw_plane(
    pixels: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    spacing: tuple[float, float],
    scheme: LabelScheme,
) -> QImage:
    """Draw grey pixels (rows, columns, 3) in true proportions, and a mask's outlines.

    Parameters
    ----------
    pixels : ndarray (rows, columns, 3), uint8
        Contiguous.
    mask : ndarray (rows, columns), uint8
        Values of the scheme.
    spacing : (float, float)
        Of rows and columns.
    scheme : LabelScheme
        Colours of the classes.
    """
    rows, columns = mask.shape
    height, width = rows * spacing[0], columns * spacing[1]
    scale = SIZE / max(height, width)
    drawn = QSize(max(1, round(width * scale)), max(1, round(height * scale)))
    source = QImage(
        pixels.data, columns, rows, 3 * columns, QImage.Format.Format_RGB888
    )
    slice_ = source.scaled(
        drawn,
        Qt.AspectRatioMode.IgnoreAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    canvas = QImage(SIZE, SIZE, QImage.Format.Format_RGB32)
    canvas.fill(QColor("black"))
    painter = QPainter(canvas)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.translate((SIZE - drawn.width()) / 2, (SIZE - drawn.height()) / 2)
    painter.drawImage(0, 0, slice_)
    down, across = drawn.height() / rows, drawn.width() / columns
    for item in scheme:
        painter.setPen(QPen(QColor(item.colour), LINE_WIDTH))
        for line in outlines(mask == item.value):
            points = [
                QPointF((column + 0.5) * across, (row + 0.5) * down)
                for row, column in line
            ]
            painter.drawPolyline(QPolygonF(points))
    painter.end()
    return canvas


class Thumbnails(QObject):
    """Draws pictures of cases in a thread, the last requested first.

    Signals
    -------
    ready(str)
        The pictures of this case can be had now, or the reason why not.
    """

    ready = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._made: OrderedDict[PictureKey, list[QImage] | str] = OrderedDict()
        self._asked: OrderedDict[PictureKey, Callable[[], list[QImage]]] = OrderedDict()
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="thumbnails")
        self._closed = False

    def get(
        self, key: PictureKey, draw: Callable[[], list[QImage]]
    ) -> list[QImage] | str | None:
        """Return pictures, or why there are none; None while they are being drawn.

        Parameters
        ----------
        key : tuple
            Begins with the id of the case; of another key they are drawn anew.
        draw : callable
            Draws them, in the thread.
        """
        with self._lock:
            made = self._made.get(key)
            if made is not None:
                self._made.move_to_end(key)
                return made
            new = key not in self._asked
            self._asked[key] = draw
            self._asked.move_to_end(key)
        if new and not self._closed:
            self._thread.submit(self._next)
        return None

    def keep_only(self, cases: set[str]) -> None:
        """Drop requests of cases that are not among these."""
        with self._lock:
            for key in [key for key in self._asked if key[0] not in cases]:
                del self._asked[key]

    def close(self) -> None:
        """End after the case that is being drawn."""
        self._closed = True
        with self._lock:
            self._asked.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> None:
        with self._lock:
            if not self._asked:
                return
            key, draw = self._asked.popitem()
        made: list[QImage] | str
        try:
            made = draw()
        except (SemisegError, OSError) as error:
            made = str(error)
        with self._lock:
            self._made[key] = made
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        if not self._closed:
            self.ready.emit(str(key[0]))
