"""Register suggestion strategies and find them by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_semiseg.core.registry import Registry

if TYPE_CHECKING:
    from napari_semiseg.active_learning.candidates import Pool, RankedVolume

    Rank = Callable[[Pool], list[RankedVolume]]

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
    of_labels : bool
        Whether cases with a label are ranked, slice by slice, to check the label.
    """

    name: str
    title: str
    hint: str
    rank: Rank
    needs_predictions: bool
    sort_slices: bool
    slice_distance: int
    of_labels: bool


STRATEGIES: Registry[Strategy] = Registry(
    "strategy",
    "napari_semiseg.active_learning.strategies",
    "napari_semiseg.strategies",
)


def register(
    name: str,
    title: str,
    hint: str,
    *,
    needs_predictions: bool = True,
    sort_slices: bool = False,
    slice_distance: int = 3,
    of_labels: bool = False,
) -> Callable[[Rank], Rank]:
    """Decorate a function that ranks a pool; the arguments are those of `Strategy`."""

    def add(rank: Rank) -> Rank:
        strategy = Strategy(
            name,
            title,
            hint,
            rank,
            needs_predictions,
            sort_slices,
            slice_distance,
            of_labels,
        )
        STRATEGIES.add(name, strategy)
        return rank

    return add


def strategies() -> dict[str, Strategy]:
    """List all strategies: this package's and those of installed plug-ins.

    Returns
    -------
    dict
        By name; `DEFAULT` first, those that need no predictions later, and those that
        check labels last.
    """
    order = sorted(
        STRATEGIES.entries().values(),
        key=lambda one: (
            one.name != DEFAULT,
            one.of_labels,
            not one.needs_predictions,
            one.name,
        ),
    )
    return {strategy.name: strategy for strategy in order}
