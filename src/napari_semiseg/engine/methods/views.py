"""Invertible changes of geometry, by which predictions of two views are compared."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_semiseg.engine.lazy_torch import functional, torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_semiseg.engine.methods.base import Task


@dataclass(frozen=True, slots=True)
class View:
    """Turn, mirror and enlarge maps (B, C, Z, Y, X) about the centre of the crop.

    Attributes
    ----------
    order : (int, int, int)
        Axis of the crop (0 is z) that becomes each axis of the view.
    flips : frozenset of int
        Axes of the view that are then mirrored.
    zoom : float
        Size of a thing in the view over its size in the crop.
    """

    order: tuple[int, ...] = (0, 1, 2)
    flips: frozenset[int] = frozenset()
    zoom: float = 1.0

    @property
    def is_mirror_image(self) -> bool:
        """Whether left and right are exchanged, which no turn can do."""
        swaps = sum(a > b for a, b in itertools.combinations(self.order, 2))
        return (swaps + len(self.flips)) % 2 == 1

    def __call__(self, maps: Tensor) -> Tensor:
        """Show the maps in this view; what lies outside of the crop is 0."""
        turned = maps.permute(0, 1, *(axis + 2 for axis in self.order))
        return _enlarged(turned.flip(self._flipped), self.zoom)

    def undo(self, maps: Tensor) -> Tensor:
        """Bring maps of this view back; exact for turns and mirrors."""
        back = [self.order.index(axis) + 2 for axis in range(3)]
        smaller = _enlarged(maps, 1.0 / self.zoom)
        return smaller.flip(self._flipped).permute(0, 1, *back)

    def shown(self, where: Tensor) -> Tensor:
        """Voxels of the view all of whose sources are ``where`` (B, 1, Z, Y, X)."""
        return self(where.float()) > 0.99

    @property
    def _flipped(self) -> list[int]:
        return [axis + 2 for axis in self.flips]


def _enlarged(maps: Tensor, zoom: float) -> Tensor:
    if zoom == 1.0:
        return maps
    theta = torch.eye(3, 4, device=maps.device)[None] / zoom
    one = [1, 1, *maps.shape[2:]]
    grid = functional.affine_grid(theta, one, align_corners=False)
    grid = grid.expand(len(maps), -1, -1, -1, -1)
    return functional.grid_sample(maps.float(), grid, align_corners=False)


def draw_view(task: Task, shape: Sequence[int], largest_zoom: float = 1.0) -> View:
    """Draw a view of crops of a size (z, y, x), with PyTorch's generator.

    Axes are exchanged where the edges of the crop and of its voxels are the same.
    Where classes tell the sides apart, it is never a mirror image.
    """
    orders = [
        order
        for order in itertools.permutations(range(3))
        if all(
            shape[axis] == shape[source]
            and math.isclose(task.spacing_mm[axis], task.spacing_mm[source])
            for axis, source in enumerate(order)
        )
    ]
    flips = frozenset(axis for axis, flip in enumerate(torch.rand(3) < 0.5) if flip)
    view = View(
        orders[int(torch.randint(len(orders), ()))],
        flips,
        float(largest_zoom ** (2.0 * torch.rand(()) - 1.0)),
    )
    if view.is_mirror_image and not task.mirrored:
        view = replace(view, flips=flips ^ {2})
    return view
