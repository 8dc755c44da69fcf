"""Draw slices with contours, maps and curves as inline SVG, for one HTML page."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_semiseg.core.geometry import Geometry

PLANES = ("axial", "coronal", "sagittal")
"""Names of the slices across z, y and x."""
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
_SMOOTH_VOXELS = 0.6
_HEAT = np.array(
    [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]], float
)


def page(title: str, body: str) -> str:
    """Put a body with drawings into an HTML page that needs no other file."""
    css = resources.files("napari_semiseg.imaging").joinpath("page.css").read_text()
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>"
        f"<style>{css}</style><body>{body}</body></html>\n"
    )


def slice_name(axis: int, index: int) -> str:
    """Name a slice by its plane and number from 1: index 40 is "axial 41"."""
    return f"{PLANES[axis]} {index + 1}"


@dataclass(frozen=True, slots=True)
class Slice:
    """A plane through a canonical volume (z, y, x) in radiological orientation."""

    axis: int
    index: int
    spacing_mm: tuple[float, float]  # of rows and columns

    def of(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Take the plane: superior or anterior up, patient right at the left."""
        plane: NDArray[Any] = np.take(volume, self.index, axis=self.axis)
        return plane if self.axis == 0 else plane[::-1]


def slices_through(mask: NDArray[np.bool_], geometry: Geometry) -> list[Slice]:
    """Pick in each plane the slice that cuts most of a mask; the middle if empty."""
    z, y, x = geometry.spacing_mm
    found = []
    for axis, spacing in enumerate(((y, x), (z, x), (z, y))):
        others = tuple(other for other in range(3) if other != axis)
        area = mask.sum(axis=others)
        index = int(area.argmax()) if area.any() else mask.shape[axis] // 2
        found.append(Slice(axis, index, spacing))
    return found


def grey(plane: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Window intensities to (rows, columns, 3)."""
    level = (np.asarray(plane, dtype=np.float32) - low) / max(high - low, 1e-6)
    pixels: NDArray[np.uint8] = np.rint(np.clip(level, 0, 1) * 255).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=2)


def heat(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """Map values in [0, 1] to colours from black to pale yellow."""
    level = np.clip(np.asarray(plane, dtype=np.float32), 0, 1) * (len(_HEAT) - 1)
    stops = np.arange(len(_HEAT))
    channels = [np.interp(level, stops, _HEAT[:, channel]) for channel in range(3)]
    pixels: NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return pixels


def picture(
    pixels: NDArray[np.uint8],
    view: Slice,
    outlines: Sequence[tuple[NDArray[np.bool_], str]] = (),
    *,
    title: str,
) -> str:
    """Draw a plane in true proportions, with the outlines of masks on top.

    Parameters
    ----------
    pixels : ndarray (rows, columns, 3), uint8
        Already turned by `Slice.of`.
    view : Slice
        For the proportions.
    outlines : sequence of (ndarray (Z, Y, X), CSS class)
        Masks of the whole volume.
    title : str
        Text for screen readers.
    """
    rows, columns = pixels.shape[:2]
    down, across = view.spacing_mm
    paths = "".join(
        f'<path class="{name}" d="{_outline(view.of(mask), view.spacing_mm)}"/>'
        for mask, name in outlines
    )
    width, height = columns * across, rows * down
    return (
        f'<svg class="slice" role="img" viewBox="0 0 {width:g} {height:g}">'
        f"<title>{html.escape(title)}</title>"
        f'<image width="{width:g}" height="{height:g}" preserveAspectRatio="none" '
        f'href="{_png(pixels)}"/>{paths}</svg>'
    )


def _outline(plane: NDArray[Any], spacing: tuple[float, float]) -> str:
    from scipy import ndimage
    from skimage.measure import find_contours

    soft = ndimage.gaussian_filter(np.pad(plane, 1).astype(np.float32), _SMOOTH_VOXELS)
    parts = []
    for line in find_contours(soft, 0.5):
        points = (line - 0.5) * spacing  # the pad is one voxel, a centre half of one
        text = "L".join(f"{column:.1f} {row:.1f}" for row, column in points)
        parts.append(f"M{text}Z")
    return "".join(parts)


def _png(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def curves(lines: dict[str, list[tuple[float, float]]], *, across: str) -> str:
    """Draw named curves (x, y) over a common x, y on a logarithmic scale.

    Values at or below 0 are left out; four powers of ten below the largest value are
    shown at most.
    """
    width, height, left, bottom, top = 720, 240, 48, 34, 10
    shown = {
        name: [(x, y) for x, y in points if y > 0] for name, points in lines.items()
    }
    values = [y for points in shown.values() for _, y in points]
    if not values:
        return "<p>No curve was recorded.</p>"
    high = math.ceil(math.log10(max(values)) + 1e-9)
    low = max(math.floor(math.log10(min(values))), high - 4)
    end = max(x for points in shown.values() for x, _ in points) or 1.0

    def at(x: float, y: float) -> str:
        level = (max(math.log10(y), low) - low) / max(high - low, 1)
        column = left + x / end * (width - left - 10)
        return f"{column:.1f} {top + (1 - level) * (height - top - bottom):.1f}"

    parts = [f'<svg class="curves" role="img" viewBox="0 0 {width} {height}">']
    for power in range(low, high + 1):
        _, row = at(0, 10.0**power).split()
        parts.append(
            f'<path class="grid" d="M{left} {row}H{width - 10}"/>'
            f'<text x="{left - 8}" y="{row}" dy="4" text-anchor="end">'
            f"{10.0**power:g}</text>"
        )
    for colour, points in zip(COLOURS * 3, shown.values(), strict=False):
        line = "L".join(at(x, y) for x, y in points)
        parts.append(f'<path class="curve" stroke="{colour}" d="M{line}"/>')
    parts.append(
        f'<text x="{left}" y="{height - 8}">0</text>'
        f'<text x="{width - 10}" y="{height - 8}" text-anchor="end">'
        f"{end:.3g} {html.escape(across)}</text></svg>"
    )
    keys = "".join(
        f'<span><i style="background:{colour}"></i>{html.escape(name)}</span>'
        for colour, name in zip(COLOURS * 3, shown, strict=False)
    )
    return f'{"".join(parts)}<p class="key">{keys}</p>'
