"""The tools that change a mask as a whole: what each does to its voxels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.labels import UNANNOTATED, annotated_planes
from napari_semiseg.errors import ImageError, ProjectError
from napari_semiseg.imaging import distance, morphology
from napari_semiseg.imaging.slice_interpolation import interpolate_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from numpy.typing import NDArray

    from napari_semiseg.imaging.mask_encoding import MaskEncoding

REACH_MM = 8.0
"""How far from the surface its own distance is measured, mm."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """A mask, and what the tools need to know of its case.

    Attributes
    ----------
    marked : ndarray (Z, Y, X), uint8
        The mask, with values as ``marking`` has them.
    marking : MaskEncoding
        What the values mean.
    value : int
        The class to change.
    locked : frozenset of int
        Classes that stay as they are.
    spacing_mm : (z, y, x)
        Voxel size.
    image : ndarray (Z, Y, X)
        Grey values.
    sdm_mm : mapping or None
        Predicted signed distance by class, mm; None without a prediction.
    own_sdm_mm : ndarray or None
        Signed distance to the surface of the class as it is in the mask.
    vouch : bool
        Whether the user vouches for what a tool fills in.
    """

    marked: NDArray[np.uint8]
    marking: MaskEncoding
    value: int
    locked: frozenset[int]
    spacing_mm: tuple[float, ...]
    image: NDArray[Any]
    sdm_mm: Mapping[int, NDArray[np.float32]] | None = None
    own_sdm_mm: NDArray[np.float32] | None = None
    vouch: bool = False

    @property
    def classes(self) -> NDArray[np.uint8]:
        """Classes; background where nothing is known."""
        return self.marking.confirm(self.marked)

    def at(self, axis: int, index: int) -> Inputs:
        """The same of one slice."""
        sdm, own = self.sdm_mm, self.own_sdm_mm
        return replace(
            self,
            marked=np.take(self.marked, index, axis),
            image=np.take(self.image, index, axis),
            sdm_mm=None
            if sdm is None
            else {value: np.take(one, index, axis) for value, one in sdm.items()},
            own_sdm_mm=None if own is None else np.take(own, index, axis),
        )


@dataclass(frozen=True, slots=True)
class Amount:
    """The one number of a tool: its unit and its range."""

    unit: str
    low: float
    high: float
    start: float
    step: float
    slides: bool = False


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool.

    Attributes
    ----------
    name, tip : str
        For the user.
    run : callable
        Gives the new mask of some inputs and an amount. Raises `SemisegError` when
        it cannot be used on these.
    amount : Amount or None
        Its number, when it has one.
    prepare : callable or None
        Adds to the inputs what does not depend on the amount and takes a moment.
    pointwise : bool
        Whether a slice can be computed without the others.
    one_class : bool
        Whether it changes the chosen class only.
    fills : bool
        Whether the user can vouch for what it fills in.
    quick : bool
        Whether it reads a layer, and so is not computed in the background.
    """

    name: str
    tip: str
    run: Callable[[Inputs, float], NDArray[np.uint8]]
    amount: Amount | None = None
    prepare: Callable[[Inputs], Inputs] | None = None
    pointwise: bool = False
    one_class: bool = True
    fills: bool = False
    quick: bool = False


def _interpolate(
    inputs: Inputs,
    sdm_mm: Mapping[int, NDArray[np.float32]] | None = None,
    image: NDArray[Any] | None = None,
) -> NDArray[np.uint8]:
    marking, marked = inputs.marking, inputs.marked
    human = marking.human(marked)
    planes = annotated_planes(human)
    if all(len(found) < 2 for found in planes.values()):
        raise ProjectError(
            "Mark two or more slices of one plane as done first (key D): the mask is "
            "filled in between them."
        )
    between = interpolate_slices(
        human, planes, inputs.spacing_mm, sdm_mm=sdm_mm, image=image
    )
    new = between if inputs.vouch else marking.propose(between)
    keep = (human != UNANNOTATED) | (between == UNANNOTATED)
    keep |= np.isin(marking.classes(marked), list(inputs.locked))
    return np.where(keep, marked, new)


def _between_slices(inputs: Inputs, amount: float) -> NDArray[np.uint8]:
    return _interpolate(inputs)


def _along_image(inputs: Inputs, amount: float) -> NDArray[np.uint8]:
    return _interpolate(inputs, image=inputs.image)


def _along_prediction(inputs: Inputs, amount: float) -> NDArray[np.uint8]:
    if inputs.sdm_mm is None:
        raise ProjectError(
            "No prediction of this case to follow yet: train and predict first, or "
            "interpolate without it."
        )
    return _interpolate(inputs, inputs.sdm_mm)


def _boundary(inputs: Inputs, mm: float) -> NDArray[np.uint8]:
    marking, classes = inputs.marking, inputs.classes
    if inputs.own_sdm_mm is not None:
        own = inputs.own_sdm_mm
        moved = morphology.move_boundary(classes, inputs.value, own, mm, inputs.locked)
        return marking.change(inputs.marked, moved)
    if inputs.sdm_mm is None:
        raise LookupError("expected a signed distance, found none")
    sdm = inputs.sdm_mm[inputs.value]
    moved = morphology.move_boundary(classes, inputs.value, sdm, mm, inputs.locked)
    return marking.fill(inputs.marked, moved)


def _cleaning(
    clean: Callable[[Inputs, float], NDArray[np.uint8]],
) -> Callable[[Inputs, float], NDArray[np.uint8]]:
    """Make a tool of what changes the classes of a mask."""
    return lambda inputs, amount: inputs.marking.change(
        inputs.marked, clean(inputs, amount)
    )


def _own_distance(inputs: Inputs) -> Inputs:
    """Add the distance to the mask's own surface where no prediction can be moved."""
    proposed = not inputs.marking.seen(inputs.marked).all()
    if inputs.sdm_mm is not None and proposed:
        return inputs
    own = distance.truncated_distance(
        inputs.classes == inputs.value, inputs.spacing_mm, REACH_MM
    )
    return replace(inputs, own_sdm_mm=own)


BETWEEN = Tool(
    "Fill between done slices",
    "Fills in the mask between slices that are marked as done, from their outlines. "
    "What you have annotated stays.",
    _between_slices,
    one_class=False,
    fills=True,
)
FOLLOW = Tool(
    "Fill between, following the image",
    "Fills in between done slices, and moves each outline along with the anatomy that "
    "the scan shows from slice to slice.",
    _along_image,
    one_class=False,
    fills=True,
)
ALONG = Tool(
    "Fill between, following the prediction",
    "Fills in between done slices; away from them the shape follows the newest "
    "prediction.",
    _along_prediction,
    one_class=False,
    fills=True,
)
BOUNDARY = Tool(
    "Move the boundary",
    "Grows or shrinks the chosen structure evenly by millimetres. With a prediction, "
    "its surface is moved, and what you have annotated stays.",
    _boundary,
    Amount("mm", -5, 5, 0, 0.25, slides=True),
    prepare=_own_distance,
    pointwise=True,
)
LARGEST = Tool(
    "Keep the largest piece",
    "Removes every separate piece of the chosen structure but the largest.",
    _cleaning(
        lambda it, _: morphology.largest_component(it.classes, it.value, it.locked)
    ),
)
SPECKS = Tool(
    "Remove specks",
    "Removes separate pieces of the chosen structure that are smaller than this.",
    _cleaning(
        lambda it, mm3: morphology.remove_specks(
            it.classes, it.value, mm3, it.spacing_mm, it.locked
        )
    ),
    Amount("mm³", 1, 100_000, 100, 50),
)
HOLES = Tool(
    "Fill holes",
    "Fills what the chosen structure encloses on all sides; other structures in it "
    "stay.",
    _cleaning(lambda it, _: morphology.fill_holes(it.classes, it.value, it.locked)),
)
SMOOTH = Tool(
    "Smooth the surface",
    "Removes bumps and dents of the chosen structure that are finer than this.",
    _cleaning(
        lambda it, mm: morphology.smooth(
            it.classes, it.value, mm, it.spacing_mm, it.locked
        )
    ),
    Amount("mm", 0.25, 10, 1.5, 0.25, slides=True),
)
TOOLS = (BETWEEN, FOLLOW, ALONG, BOUNDARY, LARGEST, SPECKS, HOLES, SMOOTH)


def adopt(layer: Any, mask: Any, inputs: Inputs) -> NDArray[np.uint8]:
    """Take the voxels of another Labels layer where nobody has annotated.

    A layer that holds only classes of the project keeps them; all of any other,
    such as numbered objects, becomes the chosen class.

    Parameters
    ----------
    layer : napari.layers.Labels
        On the grid of the mask.
    mask : MaskLayer
        The mask of the open case.
    inputs : Inputs
        That mask, and the chosen class.

    Raises
    ------
    ImageError
        The layer has another shape, or lies elsewhere.
    """
    values = np.asarray(layer.data)
    if values.shape != inputs.marked.shape:
        raise ImageError(
            f"layer '{layer.name}': expected {inputs.marked.shape} voxels (z, y, x) as "
            f"the image has, found {values.shape}; make it on the image of this case"
        )
    corners = np.array([[0, 0, 0], values.shape], float)
    here = np.array([mask.data_to_world(corner) for corner in corners])
    there = np.array([layer.data_to_world(corner) for corner in corners])
    off = np.abs(here - there).max(axis=0) / np.asarray(inputs.spacing_mm)
    if off.max() > 0.5:
        raise ImageError(
            f"layer '{layer.name}': expected it to lie on the image, found its corner "
            f"{np.abs(here - there).max():.1f} mm off; give it the image's voxel size "
            f"{tuple(round(s, 3) for s in inputs.spacing_mm)} mm"
        )
    known = {0, *inputs.marking.values}
    if "semiseg" in layer.metadata and values.dtype == np.uint8:
        classes = inputs.marking.confirm(values)  # a copy of a mask of ours
    elif set(np.unique(values).tolist()) <= known:
        classes = values.astype(np.uint8)
    else:
        classes = np.where(values != 0, np.uint8(inputs.value), np.uint8(0))
    adopted = inputs.marking.fill(inputs.marked, classes)
    keep = np.isin(inputs.classes, list(inputs.locked))
    return np.where(keep, inputs.marked, adopted)
