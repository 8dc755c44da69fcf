"""Show how a training segments one scan: at first, half-way and now."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSizeF, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPainterPath, QPen
from qtpy.QtWidgets import QFrame, QWidget

from napari_semiseg.core.text import duration
from napari_semiseg.imaging.rendering import slice_name
from napari_semiseg.project.runs.pictures import Pictures
from napari_semiseg.widgets.common.thumbnails import Thumbnails, draw_plane
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    ElidedLabel,
    plain_label,
    row_of,
    stack,
)
from napari_semiseg.widgets.elements.style import colours_of, look

if TYPE_CHECKING:
    from pathlib import Path

    from qtpy.QtGui import QPaintEvent

    from napari_semiseg.core.events import Pictured
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.project.runs.run import Run

HEIGHT = 88
CAPTION, SLICE = "caption", "slice"
"""Texts that a picture carries."""


class _Picture(QWidget):
    """A picture in its own proportions, with round corners."""

    def __init__(self) -> None:
        super().__init__()
        self.image: QImage | None = None
        self.is_newest = False
        self.setFixedHeight(HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Fill the width or the height; the newest has a frame."""
        if self.image is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        keep = Qt.AspectRatioMode.KeepAspectRatio
        area = QRectF(
            QPointF(), QSizeF(self.image.size()).scaled(QSizeF(self.size()), keep)
        )
        area.moveCenter(QRectF(self.rect()).center())
        shape = QPainterPath()
        shape.addRoundedRect(area, 5, 5)
        painter.setClipPath(shape)
        painter.drawImage(area, self.image)
        if self.is_newest:
            painter.setPen(QPen(QColor(colours_of(self)["text"]), 4))
            painter.drawPath(shape)


class PicturesCard(QFrame):
    """Three pictures of a slice of one scan, which the training stores."""

    def __init__(self) -> None:
        super().__init__()
        look(self, "card")
        self.title = look(plain_label(), "title")
        self.case = ElidedLabel("secondary")
        self.case.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.pictures = [_Picture() for _ in range(3)]
        self.captions = [look(plain_label(), "secondary") for _ in range(3)]
        head = row_of(self.title)
        head.addWidget(self.case, 1)
        row, below = row_of(*self.pictures), row_of(*self.captions)
        for place in range(3):
            row.setStretch(place, 1)
            below.setStretch(place, 1)
            self.captions[place].setAlignment(Qt.AlignmentFlag.AlignHCenter)
        stack(self, head, row, below).setSpacing(4)
        self._thumbnails = Thumbnails(self)
        self._thumbnails.ready.connect(self._drawn)
        Connections(self).at_close(self._thumbnails.close)
        self._requested: tuple[Path, Pictured, LabelScheme] | None = None
        self.clear()

    def clear(self) -> None:
        """Show nothing yet."""
        self._requested = None
        self.hide()

    def show_pictures(
        self, run: Run, event: Pictured, scheme: LabelScheme, title: str
    ) -> None:
        """Show what a run has stored by an event; drawn in a thread.

        ``title`` says what kind of scan it is.
        """
        self.title.setText(title)
        self._requested = run.folder.pictures, event, scheme
        self._drawn()

    def _drawn(self, _case: str = "") -> None:
        if self._requested is None:
            return
        path, event, scheme = self._requested
        key = (event.case, path, event.step)
        made = self._thumbnails.get(key, partial(_draw, path, scheme))
        if not isinstance(made, list) or not made:
            return
        for place, (picture, caption) in enumerate(
            zip(self.pictures, self.captions, strict=True)
        ):
            # Of one or two pictures the newest stays at the right.
            at = place - 3 + len(made)
            picture.image = made[at] if at >= 0 else None
            picture.is_newest = place == 2
            caption.setText(made[at].text(CAPTION) if at >= 0 else "")
            picture.update()
        self.case.setText(f"{event.case}, {made[-1].text(SLICE)}")
        self.show()


def _draw(path: Path, scheme: LabelScheme) -> list[QImage]:
    """Draw the first picture, one from half-way and the newest, with captions."""
    stored = Pictures.read(path)
    if stored is None:
        return []
    pixels = np.repeat(stored.image[..., None], 3, axis=2)
    chosen, made = stored.three(), []
    for at in chosen:
        square = draw_plane(pixels, stored.masks[at], stored.spacing_mm, scheme)
        image = _without_margin(square, stored)
        newest = "latest, " if at == chosen[-1] else ""
        image.setText(CAPTION, f"{newest}{duration(stored.seconds[at])}")
        image.setText(SLICE, slice_name(0, stored.index))
        made.append(image)
    return made


def _without_margin(square: QImage, stored: Pictures) -> QImage:
    """Leave out the black beside a picture that is not square."""
    height, width = np.multiply(stored.image.shape, stored.spacing_mm)
    size = QSizeF(float(width), float(height)).scaled(
        QSizeF(square.size()), Qt.AspectRatioMode.KeepAspectRatio
    )
    area = QRectF(QPointF(), size)
    area.moveCenter(QRectF(square.rect()).center())
    return square.copy(area.toRect())
