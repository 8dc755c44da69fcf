"""Strategies: from a pool of cases to volumes in an order, each with its slices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_semiseg.active_learning.candidates import Ranked
from napari_semiseg.active_learning.diversity import variety
from napari_semiseg.core.boxes import others
from napari_semiseg.core.prediction import SliceScore
from napari_semiseg.io.masks import read_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.active_learning.candidates import Candidate, Pool
    from napari_semiseg.core.prediction import CaseScore

BETA = 2.0
"""Sharpness of the noise in the first round; it doubles with every round."""
MIDDLE = 0.5
"""Part of a volume, about its middle, that is drawn from before any prediction."""
SMALLEST = 1e-6

Slices = list[SliceScore]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to choose what is annotated next.

    Attributes
    ----------
    title, hint : str
        For people: a choice in a list, and what it does.
    rank : callable
        Puts the candidates of a pool into an order.
    cold : bool
        Whether it can do so before there is any prediction.
    worst_first : bool
        Whether slices of all volumes are sorted by their score; else they keep the
        turns of their volumes.
    """

    title: str
    hint: str
    rank: Callable[[Pool], list[Ranked]]
    cold: bool = False
    worst_first: bool = False


def by_uncertainty(pool: Pool) -> list[Ranked]:
    """The stored uncertainty within 3 voxels of the predicted surface."""
    return _by(
        pool,
        lambda score: score.uncertainty,
        lambda score: score.slices,
        "boundary uncertain",
    )


def by_gap(pool: Pool) -> list[Ranked]:
    """How much the segmentation and the signed distance disagree."""
    return _by(
        pool,
        lambda score: score.gap,
        lambda score: score.gap_slices or score.slices,
        "segmentation and distance disagree",
    )


def by_entropy(pool: Pool) -> list[Ranked]:
    """The entropy of the class probabilities."""
    return _by(
        pool, lambda score: score.entropy, lambda score: score.slices, "class undecided"
    )


def stratified(pool: Pool) -> list[Ranked]:
    """Entropy, each structure in its turn, with noise that fades from round to round.

    After ClaSP PE (Lüth et al., 2026, arXiv:2601.13677), which samples patches per
    predicted class by the predictive entropy and adds Gumbel noise to its logarithm
    (the power acquisition of Kirsch et al., TMLR 2023) so that early rounds vary
    and later ones exploit. Here volumes and slices take the place of patches, and
    the noise halves with every model that was trained.
    """
    queues = []
    for name in _structures(pool.candidates):
        entropy = {
            item: _scored(item).classes[name].entropy
            for item in pool.candidates
            if name in _scored(item).classes
        }
        noised = {item: _noised(pool, entropy[item], item.id, name) for item in entropy}
        order = sorted(noised, key=lambda item, by=noised: -by[item])  # type: ignore[misc]
        queues.append([(item, name) for item in order])
    found: list[Ranked] = []
    seen: set[str] = set()
    for item, name in in_turn(queues):
        if item.id not in seen:
            seen.add(item.id)
            found.append(_of_structure(pool, item, name))
    rest = [item for item in pool.candidates if item.id not in seen]
    return found + by_entropy(replace(pool, candidates=rest))


def _of_structure(pool: Pool, item: Candidate, first: str) -> Ranked:
    score = _scored(item)
    value = score.classes[first].entropy
    reason = f"{first} uncertain ({value:.2f}){where(score.classes[first].slices)}"
    return Ranked(item, value, reason, partial(_class_slices, pool, item, first))


def _class_slices(pool: Pool, item: Candidate, first: str) -> Slices:
    """Slices of all structures in turn, noised, beginning with one of them."""
    classes = _scored(item).classes
    names = sorted(classes, key=lambda name: (name != first, name))
    queues = [
        sorted(
            classes[name].slices,
            key=lambda place: (
                -_noised(pool, place.score, item.id, place.axis, place.index)
            ),
        )
        for name in names
    ]
    return list(in_turn(queues))


def diverse(pool: Pool) -> list[Ranked]:
    """Scans that stand for most others that are unlike what has labels.

    The greedy choice of medoids (BUILD of PAM; Kaufman & Rousseeuw, 1990) on the
    encoder's features of each scan; labelled scans count as chosen.
    """
    return _greedy(pool, [0.0] * len(pool.candidates), by_entropy(pool))


def mix(pool: Pool) -> list[Ranked]:
    """Doubt and variety in equal parts; slices by entropy and by the gap in turn.

    Doubt is the mean rank by `stratified` and by `by_gap`; variety is what
    `diverse` gains, over its largest gain.
    """
    ranked = stratified(pool)
    gaps = {item.candidate.id: (place, item) for place, item in enumerate(by_gap(pool))}
    places = {item.candidate.id: place for place, item in enumerate(ranked)}
    last = max(1, len(ranked) - 1)
    doubt = [
        1 - (places[item.id] + gaps[item.id][0]) / (2 * last)
        for item in pool.candidates
    ]
    both = [
        replace(item, slices=partial(_both, item, gaps[item.candidate.id][1]))
        for item in ranked
    ]
    return _greedy(pool, doubt, both)


def _both(first: Ranked, second: Ranked) -> Slices:
    return list(in_turn([first.slices(), second.slices()]))


def _greedy(
    pool: Pool, doubt: Sequence[float], known: Iterable[Ranked]
) -> list[Ranked]:
    """Choose one scan after the other by doubt and by what it adds in variety."""
    reasons = {item.candidate.id: item for item in known}
    candidates = pool.candidates
    scans = variety(pool)
    nearest = np.ones(len(candidates)) if scans is None else scans.nearest
    left = list(range(len(candidates)))
    found = []
    while left:
        gains = np.zeros(len(candidates)) if scans is None else scans.gains(nearest)
        most = float(gains[left].max()) or 1.0
        values = [(doubt[index] + gains[index] / most) / 2 for index in left]
        index = left.pop(int(np.argmax(values)))
        stands = 1
        if scans is not None:
            nearest, stands = scans.chosen(nearest, index)
        item = reasons[candidates[index].id]
        reason = item.reason
        if stands > 1:
            reason = f"stands for {stands} similar scans; {reason}"
        elif scans is not None and gains[index] > 0:
            reason = f"unlike what is labelled; {reason}"
        score = float(max(values)) if any(doubt) else float(gains[index])
        found.append(Ranked(item.candidate, score, reason, item.slices))
    return found


def at_random(pool: Pool) -> list[Ranked]:
    """Volumes, and slices through what was predicted in them: the baseline.

    Most of active learning does not beat it (nnActive, arXiv:2511.19183). Without a
    prediction slices are drawn from the middle half of the volume.
    """
    order = sorted(pool.candidates, key=lambda item: pool.rng(item.id).random())
    return [
        Ranked(
            item,
            0.0 if item.score is None else item.score.uncertainty,
            "drawn at random",
            partial(_random_slices, pool, item),
        )
        for item in order
    ]


def _random_slices(pool: Pool, item: Candidate) -> Slices:
    axis = item.axis(pool.plane)
    size = item.case.geometry.shape_zyx[axis]
    margin = int(size * (1 - MIDDLE) / 2)
    inside = np.arange(margin, size - margin)
    reason = "drawn at random through the middle, nothing was predicted"
    found = _predicted(item, axis)
    if len(found):
        inside, reason = found, "drawn at random through what was predicted"
    score = 0.0 if item.score is None else item.score.uncertainty
    return [
        SliceScore(axis=axis, index=int(index), score=score, reason=reason)
        for index in pool.rng(item.id, axis).permutation(inside)
    ]


def _predicted(item: Candidate, axis: int) -> NDArray[np.intp]:
    """Slices that cut what was predicted; earlier records do not say, masks do."""
    if item.run is None:
        return np.arange(0)
    if item.score is not None and item.score.reach is not None:
        low, high = dict(enumerate(item.score.reach)).get(axis, (0, -1))
        return np.arange(item.case.geometry.shape_zyx[axis])[low : high + 1]
    path = item.run.folder.prediction(item.id).labels
    labels = read_labels(path, item.case.geometry)
    return np.flatnonzero(labels.any(axis=others(axis)))


def spread(pool: Pool) -> list[Ranked]:
    """Slices evenly through all volumes, the least annotated first; needs no model."""
    order = sorted(
        pool.candidates,
        key=lambda item: (item.case.annotated_fraction, pool.rng(item.id).random()),
    )
    return [
        Ranked(
            item,
            1 - item.case.annotated_fraction,
            f"{item.case.annotated_fraction:.0%} of it is annotated",
            partial(_even_slices, pool, item),
        )
        for item in order
    ]


def _even_slices(pool: Pool, item: Candidate) -> Slices:
    """Slices farthest from those that are done and from each other, then the rest."""
    axis = item.axis(pool.plane)
    size = item.case.geometry.shape_zyx[axis]
    index = np.arange(size)
    # An end counts like a neighbour at twice its distance: 1/2, 1/6, 5/6, 1/3, …
    free = 2 * np.minimum(index + 0.5, size - index - 0.5)
    for done in item.done[axis]:
        free = np.minimum(free, np.abs(index - done))
    found = []
    for _ in range(size - len(item.done[axis])):
        best = int(np.argmax(free))
        place = SliceScore(
            axis=axis,
            index=best,
            score=float(free[best] / size),
            reason="farthest from what is annotated",
        )
        found.append(place)
        free = np.minimum(free, np.abs(index - best))
    return found


# -- shared ------------------------------------------------------------------------


def in_turn(queues: Iterable[Iterable[Item]]) -> Iterator[Item]:
    """First items of all queues, then the second ones, and so on; none is None."""
    for row in zip_longest(*queues):
        yield from (item for item in row if item is not None)


def where(slices: Sequence[SliceScore]) -> str:
    """Axial slices around the worst one, in words."""
    axial = [
        item.index
        for item in sorted(slices, key=lambda item: -item.score)
        if item.axis == 0
    ]
    if not axial:
        return ""
    indices, low, high = set(axial), axial[0], axial[0]
    while near := indices & {low - 1, low - 2}:
        low = min(near)
    while near := indices & {high + 1, high + 2}:
        high = max(near)
    return f", slice {low}" if low == high else f", slices {low}-{high}"


def _by(
    pool: Pool,
    value: Callable[[CaseScore], float],
    slices: Callable[[CaseScore], Sequence[SliceScore]],
    words: str,
) -> list[Ranked]:
    """Rank by a number of the predictions, the highest first."""
    found = []
    for item in sorted(
        pool.candidates, key=lambda item: (-value(_scored(item)), item.id)
    ):
        score = _scored(item)
        reason = f"{words} ({value(score):.2f}){where(slices(score))}"
        if not any(score.volumes_ml.values()):
            reason = f"nothing was found in it ({value(score):.2f})"
        order = sorted(slices(score), key=lambda place: -place.score)
        found.append(Ranked(item, value(score), reason, partial(list, order)))
    return found


def _scored(item: Candidate) -> CaseScore:
    """Score of a candidate of a strategy that is not `Strategy.cold`."""
    assert item.score is not None
    return item.score


def _structures(candidates: Iterable[Candidate]) -> list[str]:
    return sorted({name for item in candidates for name in _scored(item).classes})


def _noised(pool: Pool, value: float, *words: str | int) -> float:
    """Logarithm of a score with Gumbel noise: chance goes with its power beta."""
    beta = BETA * 2 ** (pool.round - 1)
    noise = pool.rng(*words).gumbel(0, 1 / beta)
    return float(np.log(max(value, SMALLEST)) + noise)


STRATEGIES = {
    "uncertainty": Strategy(
        "Most doubtful first",
        "The scans whose boundaries the model is least sure of.",
        by_uncertainty,
        worst_first=True,
    ),
    "mix": Strategy(
        "Doubtful and different",
        "Doubtful scans and slices that are unlike each other and what is labelled.",
        mix,
    ),
    "stratified": Strategy(
        "Each structure in turn",
        "The most doubtful scans of every structure, with some chance early on.",
        stratified,
    ),
    "gap": Strategy(
        "Mask and distance disagree",
        "Where the two answers of the model, mask and distance, differ.",
        by_gap,
        worst_first=True,
    ),
    "entropy": Strategy(
        "Structure undecided",
        "Where the model wavers between structures.",
        by_entropy,
        worst_first=True,
    ),
    "diverse": Strategy(
        "Most different scans",
        "Scans that stand for many others unlike those that are labelled.",
        diverse,
    ),
    "spread": Strategy(
        "Evenly spread",
        "Slices evenly through all scans; needs no model.",
        spread,
        cold=True,
    ),
    "random": Strategy(
        "At random",
        "Any scan, and slices through what was predicted in it; needs no model.",
        at_random,
        cold=True,
    ),
}
"""By the name that the command line knows them by."""
DEFAULT = "uncertainty"
"""What the panel and the command line take unless told otherwise."""
