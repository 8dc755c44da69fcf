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


def halve(patch: Sequence[int]) -> tuple[Stride, ...]:
    """Halve each axis of a crop to no less than four places, at most four times."""
    halvings = []
    for size in patch:
        most = min(MOST_LEVELS, (size // 4).bit_length() - 1)
        # An axis may be halved as often as its size stays even.
        halvings.append(next(n for n in range(most, -1, -1) if size % 2**n == 0))
    return tuple(
        tuple(2 if level < count else 1 for count in halvings)  # type: ignore[misc]
        for level in range(max(1, *halvings))
    )


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
        Size of a crop (z, y, x), multiples of 8 or 12, to the strides between levels.
    """

    title: str
    cite: str
    build: Callable[[NetworkSpec], SegmentationNetwork]
    offers: frozenset[Feature] = frozenset()
    strides: Callable[[Sequence[int]], tuple[Stride, ...]] = halve


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
