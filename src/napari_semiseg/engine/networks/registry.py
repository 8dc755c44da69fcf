"""Find network architectures.

Nothing here needs PyTorch: architectures are listed by the names of their modules.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from napari_semiseg.engine.networks.spec import CUBE
from napari_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_semiseg.engine.networks.blocks import SegmentationNetwork
    from napari_semiseg.engine.networks.spec import Feature, NetworkSpec, Stride

ENTRY_POINTS = "napari_semiseg.architectures"
PARTS = {"registry", "spec", "blocks", "embedding"}
"""Modules of this room that are no architecture."""
MOST_LEVELS = 4
"""Times that a default network halves a crop."""
THICK = 2.0
"""Spacing of an axis, over the finest one of a level, from which on it is not halved
yet and convolutions do not look along it."""


def halve(patch: Sequence[int], spacing_mm: Sequence[float]) -> tuple[Stride, ...]:
    """Halve each axis of a crop to no less than four places, at most four times.

    An axis of thick slices waits until the others are about as coarse (nnU-Net, Isensee
    et al., Nat. Methods 2021), as long as there are levels left for it.
    """
    halvings = []
    for size in patch:
        most = min(MOST_LEVELS, (size // 4).bit_length() - 1)
        # An axis may be halved as often as its size stays even.
        halvings.append(next(n for n in range(most, -1, -1) if size % 2**n == 0))
    levels, spacing = max(1, *halvings), list(spacing_mm)
    strides = []
    for level in range(levels):
        finest = min(
            (step for step, left in zip(spacing, halvings, strict=True) if left),
            default=0.0,
        )
        stride = [1, 1, 1]
        for axis, left in enumerate(halvings):
            late = left >= levels - level
            if left and (late or spacing[axis] < THICK * finest):
                stride[axis] = 2
                halvings[axis] -= 1
                spacing[axis] *= 2
        strides.append((stride[0], stride[1], stride[2]))
    return tuple(strides)


def kernels(
    strides: Sequence[Stride], spacing_mm: Sequence[float]
) -> tuple[Stride, ...]:
    """Choose the sizes of convolutions at each level; none where all are cubes.

    They do not look across slices as long as these are thick, as in nnU-Net.
    """
    spacing, size, found = list(spacing_mm), [1, 1, 1], []
    for stride in [*strides, (1, 1, 1)]:
        for axis in range(3):
            if spacing[axis] < THICK * min(spacing):
                size[axis] = 3
        found.append((size[0], size[1], size[2]))
        spacing = [step * by for step, by in zip(spacing, stride, strict=True)]
    return () if found[0] == CUBE else tuple(found)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A kind of network; see ``docs/adding-an-architecture.md``.

    Attributes
    ----------
    title, cite : str
        What a person reads, and the paper.
    build : callable
        `NetworkSpec` to a freshly initialised network.
    offers : frozenset of str
        What some methods need and ``build`` can give: "several decoders", an "output
        pyramid", and "dropout", active in training.
    strides : callable
        Size of a crop (z, y, x), multiples of 8 or 12, and of a voxel in mm, to the
        strides between levels.
    """

    title: str
    cite: str
    build: Callable[[NetworkSpec], SegmentationNetwork]
    offers: frozenset[Feature] = frozenset()
    strides: Callable[[Sequence[int], Sequence[float]], tuple[Stride, ...]] = halve


@cache
def _modules() -> dict[str, str]:
    """Module of each architecture, by name."""
    package = importlib.import_module("napari_semiseg.engine.networks")
    found = {
        module.name: f"{package.__name__}.{module.name}"
        for module in pkgutil.iter_modules(package.__path__)
        if module.name not in PARTS
    }
    for entry in entry_points(group=ENTRY_POINTS):
        known = found.setdefault(entry.name, entry.value)
        if known != entry.value:
            raise ConfigError(
                f"two network architectures are called {entry.name!r}: {known} and "
                f"{entry.value}; uninstall one of them"
            )
    return dict(sorted(found.items()))


def architecture_names() -> tuple[str, ...]:
    """List all architectures; PyTorch is neither needed nor loaded."""
    return tuple(_modules())


def find(name: str) -> Architecture:
    """Look an architecture up.

    Raises
    ------
    ConfigError
        There is none of that name.
    """
    known = _modules()
    if name not in known:
        raise ConfigError(
            f"no network architecture {name!r}; choose one of {', '.join(known)}"
        )
    found: Architecture = importlib.import_module(known[name]).ARCHITECTURE
    return found
