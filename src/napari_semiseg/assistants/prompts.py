"""Hold what a user has marked, and cut the image around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import ndimage

from napari_semiseg.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.boxes import Box

Kind = Literal["point", "scribble", "box"]
MARGIN = 1.0
"""How far a structure may reach beyond its prompts, over their largest extent."""
LEAST_MARGIN_MM = 15.0
"""The same at the least, mm."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """One thing that a user has marked.

    Attributes
    ----------
    kind : {"point", "scribble", "box"}
        A place, a stroke, or a box around the whole structure.
    voxels : ndarray (N, 3), int
        Its voxels (z, y, x): one of a point, any number of a scribble, the first and
        the last corner of a box.
    foreground : bool
        Whether it marks the structure; else what is not part of it.
    """

    kind: Kind
    voxels: NDArray[np.intp]
    foreground: bool = True


def check_prompts(prompts: Sequence[Prompt], shape: Sequence[int]) -> None:
    """Refuse prompts that mark nothing of the structure, or lie outside of the volume.

    Raises
    ------
    ConfigError
        With what was expected, what was found, and what to do.
    """
    for prompt in prompts:
        voxels = np.asarray(prompt.voxels)
        if voxels.ndim != 2 or voxels.shape[1] != 3 or voxels.dtype.kind not in "iu":
            raise ConfigError(
                f"expected a {prompt.kind} as whole numbers (N, 3), found "
                f"{voxels.dtype} {voxels.shape}; give voxels (z, y, x)"
            )
        count = {"point": 1, "box": 2}.get(prompt.kind, max(1, len(voxels)))
        if len(voxels) != count:
            raise ConfigError(
                f"expected {count} voxels of a {prompt.kind}, found {len(voxels)}"
            )
        outside = ((voxels < 0) | (voxels >= np.asarray(shape))).any(axis=1)
        if outside.any():
            z, y, x = (int(value) for value in voxels[outside][0])
            raise ConfigError(
                f"expected a {prompt.kind} within the volume of {tuple(shape)} voxels "
                f"(z, y, x), found ({z}, {y}, {x}); mark inside of the image"
            )
        if prompt.kind == "box" and not prompt.foreground:
            raise ConfigError(
                "expected a box around the structure, found one around background; "
                "mark background with a scribble"
            )
    if not any(prompt.foreground for prompt in prompts):
        raise ConfigError(
            "expected a mark on the structure, found none; mark some of its inside"
        )


def whole_box(
    prompts: Sequence[Prompt], spacing_mm: Sequence[float], shape: Sequence[int]
) -> list[Prompt]:
    """Join rectangles of some slices to one box around the structure.

    Where all lie in one slice, the box is as deep as it is wide, mm, with the slice in
    its middle. Other prompts stay as they are, before the box.
    """
    corners = [one.voxels for one in prompts if one.kind == "box"]
    if not corners:
        return list(prompts)
    places = np.concatenate(corners)
    low, high = places.min(axis=0), places.max(axis=0)
    size = (high - low + 1) * np.asarray(spacing_mm)
    flat = (low == high) & (np.asarray(shape) > 1)
    if flat.sum() == 1:
        depth = np.ceil(size[~flat].mean() / 2 / np.asarray(spacing_mm)).astype(int)
        low, high = low - flat * depth, high + flat * depth
    ends = np.clip([low, high], 0, np.asarray(shape) - 1)
    return [*(one for one in prompts if one.kind != "box"), Prompt("box", ends)]


def marked(prompts: Sequence[Prompt], *, foreground: bool) -> NDArray[np.intp]:
    """Voxels (N, 3) of all points and scribbles on the structure, or off it."""
    found = [
        np.asarray(prompt.voxels, np.intp)
        for prompt in prompts
        if prompt.foreground is foreground and prompt.kind != "box"
    ]
    return np.concatenate(found) if found else np.zeros((0, 3), np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """The image around the prompts, in larger voxels where it would be too large.

    Attributes
    ----------
    image : ndarray (Z, Y, X), float32
        Means over ``steps`` voxels.
    spacing_mm : (z, y, x)
        Size of its voxels.
    foreground, background : ndarray (Z, Y, X), bool
        Where it was marked; no voxel is both.
    shape, box, steps
        Size of the volume, where in it the crop lies, and voxels per voxel.
    """

    image: NDArray[np.float32]
    spacing_mm: tuple[float, ...]
    foreground: NDArray[np.bool_]
    background: NDArray[np.bool_]
    shape: tuple[int, ...]
    box: Box
    steps: tuple[int, ...]

    def places(self, voxels: NDArray[np.intp]) -> NDArray[np.intp]:
        """Voxels (N, 3) of the volume, all in the crop, as voxels of the crop."""
        found: NDArray[np.intp]
        found = (voxels - [edge.start for edge in self.box]) // np.array(self.steps)
        return found

    def enlarged(self, score: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Mask of the whole volume: true in the crop where a score is above 0."""
        own = score
        if max(self.steps) > 1:
            own = ndimage.zoom(
                score, self.steps, order=1, mode="nearest", grid_mode=True
            )
        result = np.zeros(self.shape, bool)
        size = tuple(slice(edge.stop - edge.start) for edge in self.box)
        result[self.box] = own[size] > 0
        return result


def crop_around(
    image: NDArray[Any],
    spacing_mm: Sequence[float],
    prompts: Sequence[Prompt],
    most_voxels: int,
    around_mm: float | None = None,
) -> Crop:
    """Cut out what the prompts can mean: within a box, or a margin around them.

    Parameters
    ----------
    image : ndarray (Z, Y, X)
        Grey values.
    spacing_mm : (z, y, x)
        Voxel size.
    prompts : sequence of Prompt
        As `check_prompts` takes them.
    most_voxels : int
        Of the crop. Larger ones are averaged over blocks, along the axis of the
        smallest voxel size first.
    around_mm : float, optional
        The margin, around boxes too, mm; by default it grows with the extent of the
        prompts, and ends with a box.

    Raises
    ------
    ImageError
        Every marked voxel was marked as the structure and as background.
    """
    shape = np.array(image.shape)
    places = np.concatenate([np.asarray(one.voxels, np.intp) for one in prompts])
    boxes = [np.asarray(one.voxels) for one in prompts if one.kind == "box"]
    if around_mm is not None:
        margin = np.ceil(around_mm / np.asarray(spacing_mm))
    elif boxes:
        places, margin = np.concatenate(boxes), np.zeros(3)
    else:
        extent = (np.ptp(places, axis=0) + 1) * np.asarray(spacing_mm)
        margin_mm = max(LEAST_MARGIN_MM, MARGIN * float(extent.max()))
        margin = np.ceil(margin_mm / np.asarray(spacing_mm))
    low = np.maximum(places.min(axis=0) - margin, 0).astype(int)
    high = np.minimum(places.max(axis=0) + 1 + margin, shape).astype(int)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    steps = np.ones(3, int)
    while np.prod(np.ceil((high - low) / steps)) > most_voxels:
        steps[np.argmin(steps * np.asarray(spacing_mm))] += 1
    sides = []
    size = np.ceil((high - low) / steps).astype(int)
    for foreground in (True, False):
        side = np.zeros(size, bool)
        voxels = marked(prompts, foreground=foreground)
        voxels = voxels[((voxels >= low) & (voxels < high)).all(axis=1)]
        side[tuple(((voxels - low) // steps).T)] = True
        sides.append(side)
    both = sides[0] & sides[1]
    if both.any() and both.sum() == sides[0].sum():
        raise ImageError(
            "expected marks on the structure apart from those on background, found "
            "both in the same voxels; erase one of them"
        )
    return Crop(
        _block_means(image[box], steps),
        tuple(float(value) for value in steps * np.asarray(spacing_mm)),
        sides[0] & ~both,
        sides[1] & ~both,
        image.shape,
        box,
        tuple(int(step) for step in steps),
    )


def _block_means(image: NDArray[Any], steps: Collection[int]) -> NDArray[np.float32]:
    """Means over blocks; the last ones repeat the edge."""
    for axis, step in enumerate(steps):
        if step > 1:
            padding = [(0, 0)] * image.ndim
            padding[axis] = (0, -image.shape[axis] % step)
            wide = np.pad(image, padding, mode="edge")
            shape = (*wide.shape[:axis], -1, step, *wide.shape[axis + 1 :])
            image = wide.reshape(shape).mean(axis=axis + 1, dtype=np.float32)
    return np.asarray(image, np.float32)
