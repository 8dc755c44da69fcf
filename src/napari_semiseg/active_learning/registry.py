"""Register suggestion strategies and find them by name."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from napari_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_semiseg.active_learning.candidates import Pool, RankedVolume

    Rank = Callable[[Pool], list[RankedVolume]]

ENTRY_POINTS = "napari_semiseg.strategies"
DEFAULT = "uncertainty"
"""Strategy of the panel and of the command line by default."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to choose what is annotated next; see ``docs/adding-a-strategy.md``.

    Attributes
    ----------
    name : str
        What the command line calls it.
    title, hint : str
        What the panel shows: a choice in a list, and a sentence about it.
    rank : callable
        Puts the candidates of a pool into an order, the most worthwhile first.
    needs_predictions : bool
        Whether only cases with a prediction can be ranked.
    sort_slices : bool
        Whether the slices of all volumes are sorted by score; else the volumes take
        turns.
    slice_distance : int
        Least distance of two suggested slices of a plane, voxels.
    """

    name: str
    title: str
    hint: str
    rank: Rank
    needs_predictions: bool
    sort_slices: bool
    slice_distance: int


_REGISTRY: dict[str, Strategy] = {}


def register(
    name: str,
    title: str,
    hint: str,
    *,
    needs_predictions: bool = True,
    sort_slices: bool = False,
    slice_distance: int = 3,
) -> Callable[[Rank], Rank]:
    """Decorate a function that ranks a pool; the arguments are those of `Strategy`."""

    def add(rank: Rank) -> Rank:
        strategy = Strategy(
            name, title, hint, rank, needs_predictions, sort_slices, slice_distance
        )
        known = _REGISTRY.setdefault(name, strategy).rank
        if known is not rank:
            raise ConfigError(
                f"two suggestion strategies are called {name!r}: those of "
                f"{known.__module__} and {rank.__module__}; uninstall one of them"
            )
        return rank

    return add


@cache
def strategies() -> dict[str, Strategy]:
    """Find all strategies: this package's and those of installed plug-ins.

    A plug-in that cannot be loaded is left out with a warning.

    Returns
    -------
    dict
        By name; `DEFAULT` first and those that need no predictions last.
    """
    package = importlib.import_module("napari_semiseg.active_learning.strategies")
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except (ImportError, AttributeError, ConfigError) as error:
            warnings.warn(
                f"suggestion strategy {entry.name!r} is left out: {error}", stacklevel=2
            )
    order = sorted(
        _REGISTRY.values(),
        key=lambda one: (one.name != DEFAULT, not one.needs_predictions, one.name),
    )
    return {strategy.name: strategy for strategy in order}


def find(name: str) -> Strategy:
    """Look a strategy up; an unknown name raises ``ConfigError``."""
    known = strategies()
    if name not in known:
        raise ConfigError(
            f"expected a strategy out of {', '.join(sorted(known))}, found {name!r}"
        )
    return known[name]
