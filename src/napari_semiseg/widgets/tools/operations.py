"""The mask tools of this package, and adopting another layer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.labels import UNANNOTATED, annotated_planes
from napari_semiseg.errors import ImageError, ProjectError
from napari_semiseg.imaging import distance, morphology
from napari_semiseg.imaging.slice_interpolation import BLEND_MM, interpolate_slices
from napari_semiseg.project.review.refine import refine_mask
from napari_semiseg.widgets.tools.registry import Amount, Inputs, Tool, with_installed

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

REACH_MM = 8.0
"""How far from the surface its own distance is measured, mm."""


def _interpolate(
    inputs: Inputs, _amount: float, *, image: bool = False, prediction: bool = False
) -> NDArray[np.uint8]:
    encoding, mask = inputs.encoding, inputs.mask
    predicted = inputs.predicted if prediction else None
    if prediction and predicted is None:
        raise ProjectError(
            "No prediction of this case to follow yet: train and predict first, or "
            "interpolate without it."
        )
    human = encoding.human(mask)
    planes = annotated_planes(human)
    if all(len(found) < 2 for found in planes.values()):
        raise ProjectError(
            "Mark two or more slices of one plane as done first: the mask is filled in "
            "between them."
        )
    between = interpolate_slices(
        human,
        planes,
        inputs.spacing_mm,
        sdm_mm=None if predicted is None else _distances(inputs, predicted),
        image=inputs.image if image else None,
    )
    new = between if inputs.human_verified else encoding.propose(between)
    keep = (human != UNANNOTATED) | (between == UNANNOTATED)
    keep |= np.isin(encoding.classes(mask), list(inputs.locked))
    return np.where(keep, mask, new)


def _refine(inputs: Inputs, _amount: float) -> NDArray[np.uint8]:
    if inputs.case is None or inputs.run is None:
        raise ProjectError("No prediction of this case to refine: train and predict.")
    return refine_mask(inputs.run, inputs.case, inputs.mask, inputs.locked).mask


def _distances(
    inputs: Inputs, predicted: NDArray[np.uint8]
) -> dict[int, NDArray[np.float32]]:
    """Distances to the surfaces of the predicted mask, which is what is shown."""
    return {
        value: distance.truncated_distance(
            np.equal(predicted, value), inputs.spacing_mm, 2 * BLEND_MM
        )
        for value in inputs.encoding.values
    }


def _with_distance(inputs: Inputs) -> Inputs:
    """Measure the distance to the mask's own surface; infinite where nothing moves.

    That is where a person has annotated, while other parts are only proposed.
    """
    encoding, inside = inputs.encoding, inputs.classes == inputs.value
    own = distance.truncated_distance(inside, inputs.spacing_mm, REACH_MM)
    if np.isin(inputs.mask, list(encoding.proposed.values())).any():
        own[encoding.annotated(inputs.mask)] = np.inf
        own[encoding.annotated(inputs.mask) & inside] = -np.inf
    return replace(inputs, mask_sdm_mm=own)


def _move_boundary(inputs: Inputs, mm: float) -> NDArray[np.uint8]:
    if inputs.mask_sdm_mm is None:
        raise LookupError("expected a signed distance, found none")
    return inputs.encode(inputs.with_class(inputs.mask_sdm_mm < mm))


def _fill_holes(inputs: Inputs, _amount: float) -> NDArray[np.uint8]:
    filled = morphology.fill_holes(inputs.classes, inputs.value)
    return inputs.encode(inputs.with_class(filled))


def _reshape(
    operation: Callable[
        [NDArray[np.bool_], float, tuple[float, ...]], NDArray[np.bool_]
    ],
) -> Callable[[Inputs, float], NDArray[np.uint8]]:
    """Make a tool of an operation on where the selected class is."""

    def compute(inputs: Inputs, amount: float) -> NDArray[np.uint8]:
        inside = inputs.classes == inputs.value
        new = operation(inside, amount, inputs.spacing_mm)
        return inputs.encode(inputs.with_class(new))

    return compute


REFINE = Tool(
    "refine",
    "Refine",
    "Predicts the rest anew from what you have corrected: done slices and strokes. "
    "What you have annotated and locked structures stay; all else is a proposal.",
    _refine,
    key="Shift-U",
    at_once=True,
    command="Refine the prediction from what is corrected",
)
INTERPOLATE = Tool(
    "fill_between_slices",
    "Fill between done slices",
    "Fills in the mask between slices that are marked as done: each outline moves "
    "along with the anatomy that the scan shows. What you have annotated stays.",
    partial(_interpolate, image=True),
    key="I",
    fills=True,
    command="Fill the mask between done slices",
)
INTERPOLATE_OUTLINES = Tool(
    "fill_between_outlines",
    "Fill between, by the outlines alone",
    "Fills in between done slices without a look at the scan: at once, and for scans "
    "that show no edge there.",
    _interpolate,
    key="Shift-J",
    fills=True,
)
INTERPOLATE_WITH_PREDICTION = Tool(
    "fill_between_with_prediction",
    "Fill between, following the prediction",
    "Fills in between done slices; away from them the shape also follows the newest "
    "prediction.",
    partial(_interpolate, image=True, prediction=True),
    key="Shift-I",
    fills=True,
)
MOVE_BOUNDARY = Tool(
    "move_boundary",
    "Move the boundary",
    "Grows (+) or shrinks (-) the chosen structure evenly by millimetres: 0 is the "
    "mask that is shown. While some of it is only proposed, what you have annotated "
    "stays.",
    _move_boundary,
    key="J",
    amount=Amount("mm", -5, 5, 0, 0.25, slider=True),
    prepare=_with_distance,
    slicewise=True,
    command="Move the boundary of a structure",
)
LARGEST_COMPONENT = Tool(
    "keep_largest_piece",
    "Keep the largest piece",
    "Removes every separate piece of the chosen structure but the largest.",
    _reshape(lambda inside, _, __: morphology.largest_component(inside)),
)
REMOVE_SPECKS = Tool(
    "remove_specks",
    "Remove specks",
    "Removes separate pieces of the chosen structure that are smaller than this.",
    _reshape(morphology.remove_specks),
    amount=Amount("mm\u00b3", 1, 100_000, 100, 50),
)
FILL_HOLES = Tool(
    "fill_holes",
    "Fill holes",
    "Fills what the chosen structure encloses on all sides; other structures in it "
    "stay.",
    _fill_holes,
)
SMOOTH = Tool(
    "smooth_surface",
    "Smooth the surface",
    "Removes bumps and dents of the chosen structure that are finer than this.",
    _reshape(morphology.smooth),
    amount=Amount("mm", 0.25, 10, 1.5, 0.25, slider=True),
)
BUILT_IN = (
    REFINE,
    INTERPOLATE,
    INTERPOLATE_OUTLINES,
    INTERPOLATE_WITH_PREDICTION,
    MOVE_BOUNDARY,
    LARGEST_COMPONENT,
    REMOVE_SPECKS,
    FILL_HOLES,
    SMOOTH,
)


def tools() -> tuple[Tool, ...]:
    """List the mask tools of this package and of other installed ones."""
    return with_installed(BUILT_IN)


def adopt(layer: Any, mask: Any, inputs: Inputs) -> NDArray[np.uint8]:
    """Take the voxels of another Labels layer where nothing is annotated.

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
    if values.shape != inputs.mask.shape:
        raise ImageError(
            f"layer '{layer.name}': expected {inputs.mask.shape} voxels (z, y, x) as "
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
    known = {0, *inputs.encoding.values}
    if "semiseg" in layer.metadata and values.dtype == np.uint8:
        classes = inputs.encoding.confirm(values)  # a copy of a mask of the panel
    elif set(np.unique(values).tolist()) <= known:
        classes = values.astype(np.uint8)
    else:
        classes = np.where(values != 0, np.uint8(inputs.value), np.uint8(0))
    adopted = inputs.encoding.fill(inputs.mask, classes)
    keep = np.isin(inputs.classes, list(inputs.locked))
    return np.where(keep, inputs.mask, adopted)
