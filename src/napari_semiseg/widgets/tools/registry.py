"""Describe mask tools: what a tool computes, its amount, its key."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.cancellation import NEVER
from napari_semiseg.core.registry import installed
from napari_semiseg.errors import SemisegError
from napari_semiseg.imaging.morphology import replace_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from numpy.typing import NDArray

    from napari_semiseg.core.cancellation import CancellationToken
    from napari_semiseg.imaging.mask_encoding import MaskEncoding
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.runs.run import Run

ENTRY_POINTS = "napari_semiseg.tools"
"""Entry-point group of further tools, each a `Tool`."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """The mask that a tool changes, and the case that it belongs to.

    Attributes
    ----------
    mask : ndarray (Z, Y, X), uint8
        Encoded: classes, whether a person annotated them, and 255 elsewhere.
    encoding : MaskEncoding
        Converts ``mask`` to classes and back.
    value : int
        The selected class.
    locked : frozenset of int
        Classes whose voxels must not change.
    spacing_mm : (z, y, x)
        Voxel size.
    image : ndarray (Z, Y, X)
        Grey values.
    predicted : ndarray (Z, Y, X), uint8, or None
        Classes of the newest prediction, as they are shown; None without one.
    mask_sdm_mm : ndarray (Z, Y, X), float32, or None
        Signed distance to the surface of the selected class in the mask, mm, negative
        inside; None unless `Tool.prepare` adds it.
    human_verified : bool
        Whether what a tool fills in counts as annotated by the user.
    case, run : Case and Run, or None
        The case, and the run whose prediction of it is shown; the latter only for
        tools that run at once, None without one.
    cancellation : CancellationToken
        Whether nobody waits for the result any more.
    """

    mask: NDArray[np.uint8]
    encoding: MaskEncoding
    value: int
    locked: frozenset[int]
    spacing_mm: tuple[float, ...]
    image: NDArray[Any]
    predicted: NDArray[np.uint8] | None = None
    mask_sdm_mm: NDArray[np.float32] | None = None
    human_verified: bool = False
    case: Case | None = None
    run: Run | None = None
    cancellation: CancellationToken = NEVER

    @property
    def classes(self) -> NDArray[np.uint8]:
        """Class of each voxel; 0 where nothing is annotated or proposed."""
        return self.encoding.confirm(self.mask)

    def with_class(self, inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Classes after the selected one is given these voxels; locked ones stay."""
        return replace_class(self.classes, self.value, inside, self.locked)

    def encode(self, classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Encode new classes of all voxels; what was annotated stays annotated."""
        return self.encoding.change(self.mask, classes)

    def at(self, axis: int, index: int) -> Inputs:
        """Cut one slice out of every array."""
        arrays = ("mask", "image", "predicted", "mask_sdm_mm")
        present = {name: getattr(self, name) for name in arrays}
        cut = {
            name: np.take(array, index, axis)
            for name, array in present.items()
            if array is not None
        }
        return replace(self, **cut)


@dataclass(frozen=True, slots=True)
class Amount:
    """The one number of a tool: unit, range, and where its slider stands first."""

    unit: str
    low: float
    high: float
    start: float
    step: float
    slider: bool = False


@dataclass(frozen=True, slots=True)
class Tool:
    """A change of the mask as a whole, previewed before it is applied.

    Attributes
    ----------
    id : str
        Unique among the actions of the panel.
    title, text : str
        Name, and what it does in one or two sentences.
    compute : callable
        New encoded mask from `Inputs` and the amount; runs in a thread. Raises
        `SemisegError` when it cannot be used on these inputs.
    key : str
        As napari writes it; empty for none.
    amount : Amount or None
        Its number, when it has one.
    prepare : callable or None
        Adds to the inputs what is slow and does not depend on the amount.
    slicewise : bool
        Whether ``compute`` also works on a single slice: the preview then computes
        only the slice that is shown.
    fills : bool
        Whether it fills in any class where nothing is annotated, and the user chooses
        if that counts as annotated. Other tools change the selected class, and refuse
        while it is locked.
    reads_layers : bool
        Whether it reads a napari layer and must run in the GUI thread.
    at_once : bool
        Whether it proposes all structures anew as soon as it is chosen: there is
        nothing to set, and a message over the image takes it back.
    command : str
        Title in napari's command palette; empty for no command.
    """

    id: str
    title: str
    text: str
    compute: Callable[[Inputs, float], NDArray[np.uint8]]
    key: str = ""
    amount: Amount | None = None
    prepare: Callable[[Inputs], Inputs] | None = None
    slicewise: bool = False
    fills: bool = False
    reads_layers: bool = False
    at_once: bool = False
    command: str = ""

    def run(self, inputs: Inputs, amount: float) -> NDArray[np.uint8]:
        """Compute the new mask.

        Raises
        ------
        SemisegError
            The tool cannot be used on these inputs, or returned no mask of them.
        """
        result = self.compute(inputs, amount)
        if result.shape != inputs.mask.shape or result.dtype != np.dtype(np.uint8):
            raise SemisegError(
                f"{self.title}: expected a mask of shape {inputs.mask.shape}, uint8, "
                f"found {result.shape}, {result.dtype}; correct the tool's package"
            )
        return result


def with_installed(built_in: Iterable[Tool]) -> tuple[Tool, ...]:
    """Append the tools of other packages; leave out, with a warning, a taken id."""
    tools = {tool.id: tool for tool in built_in}
    for tool in installed(ENTRY_POINTS, Tool):
        if tool.id in tools:
            warnings.warn(
                f"mask tool {tool.title!r} is left out: its id {tool.id!r} belongs to "
                f"{tools[tool.id].title!r}",
                stacklevel=2,
            )
        else:
            tools[tool.id] = tool
    return tuple(tools.values())
