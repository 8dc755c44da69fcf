"""Batches as a function of (seed, step, versions of the labels)."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from napari_semiseg.engine.data.appearance import matched
from napari_semiseg.engine.data.augment import PLANE, Crops, augment
from napari_semiseg.engine.data.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.plan import Plan
    from napari_semiseg.engine.data.cache import Prepared

MARGIN = 1.25
"""Crops are read larger than the patch, so that rotations find voxels at the rim."""
FOREGROUND_SHARE = 0.6
BORROWED = 0.5
"""Part of the labelled crops that are shown with the grey values of another scan."""
UNTRUSTED_UNTIL = 2 / 3
"""Part of the steps after which nothing is learned from proposed masks."""
LABELLED_STREAM, UNLABELLED_STREAM, BATCH_STREAM, UNTRUSTED_STREAM = range(4)
_Read = tuple[Crops, list[np.random.Generator]]
_Key = tuple[int, bool, bool, int]


class Batches(Protocol):
    """Where a trainer takes its batches from."""

    def batch(
        self,
        step: int,
        device: torch.device,
        *,
        unlabelled: bool = True,
        all_greys: bool = False,
    ) -> Batch:
        """Draw the batch of a step, the same whenever it is drawn.

        ``unlabelled`` says whether its unlabelled crops are needed, ``all_greys``
        whether labelled ones may be shown with the grey values of unlabelled scans.
        """

    def labelled_images(self, count: int) -> list[NDArray[np.float16]]:
        """Give whole volumes (K, Z, Y, X) with labels, so many or fewer."""


class SyntheticBatches:
    """Random batches, to measure without data.

    Of a batch that ``ranks`` processes share, the part of one.
    """

    def __init__(self, plan: Plan, classes: int, ranks: int = 1) -> None:
        self._plan = plan
        self._classes = classes
        self._ranks = ranks

    def batch(
        self,
        step: int,
        device: torch.device,
        *,
        unlabelled: bool = True,
        all_greys: bool = False,
    ) -> Batch:
        """Draw random crops and labels."""
        plan, generator = self._plan, torch.Generator().manual_seed(step)
        patch, labelled = plan.patch_zyx, plan.labelled_batch // self._ranks
        count = labelled + unlabelled * plan.unlabelled_batch // self._ranks
        inputs = len(plan.intensities)
        image = torch.randn(count, inputs, *patch, generator=generator)
        target = torch.randint(self._classes, (labelled, *patch), generator=generator)
        distance = torch.rand(labelled, self._classes, *patch, generator=generator)
        return Batch(
            image=image.to(device).contiguous(memory_format=torch.channels_last_3d),
            inside=torch.ones(count, 1, *patch, dtype=torch.bool, device=device),
            target=target.to(device),
            valid=torch.ones_like(target, dtype=torch.bool, device=device),
            low=distance.to(device),
            high=distance.to(device),
            planes=torch.zeros_like(target, device=device),
            cases=tuple(map(str, range(count))),
        )

    def labelled_images(self, count: int) -> list[NDArray[np.float16]]:
        """Give none: there are only crops."""
        return []


@dataclass(frozen=True, slots=True)
class Streams:
    """What batches are drawn from, from a step on.

    Attributes
    ----------
    labelled, unlabelled : tuple of Prepared
        A partly annotated case is in both. Where no case is unlabelled, the second
        stream draws from the labelled images without their labels.
    untrusted : tuple of Prepared
        Cases of which another program has proposed a mask.
    since : int
        First step.
    new_since : dict of str to int
        Cases whose label came in late, with the step at which it did.
    """

    labelled: tuple[Prepared, ...]
    unlabelled: tuple[Prepared, ...]
    untrusted: tuple[Prepared, ...] = ()
    since: int = 0
    new_since: Mapping[str, int] = field(default_factory=dict)


class Sampler:
    """Draws augmented crops of a labelled and an unlabelled stream.

    Parameters
    ----------
    streams : Streams
        What to draw from.
    plan : Plan
        Patch and batch sizes, and the number of steps.
    seed : int
        With the step and the streams it determines the batch, wherever it is drawn.
    fresh_weight, fresh_steps : int
        How many times as often as the others a new label is drawn, and for how many
        steps.
    untrusted : float
        Share of the labelled crops that are of untrusted cases at the first step; from
        there on it falls to 0.
    rank, ranks : int
        Which process this is of those that share each batch, one crop in turn.
    """

    def __init__(
        self,
        streams: Streams,
        plan: Plan,
        seed: int,
        *,
        fresh_weight: int = 1,
        fresh_steps: int = 0,
        untrusted: float = 0.0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._streams = [streams]
        self._plan = plan
        self._seed = seed
        self._fresh_weight = fresh_weight
        self._fresh_steps = fresh_steps
        self._untrusted = untrusted
        self._own = slice(rank, None, ranks)
        self._classes = len(streams.labelled[0].intervals[0])
        self._changes = 0
        self._reader = ThreadPoolExecutor(1, "crops")
        self._pending: tuple[_Key, Future[_Read]] | None = None

    def change(self, streams: Streams) -> None:
        """Draw from other streams from their first step on; the last ones are kept."""
        before = [known for known in self._streams if known.since < streams.since]
        self._streams = [*before[-1:], streams]
        self._changes += 1

    def replan(self, plan: Plan) -> None:
        """Go on with another number of steps."""
        if plan.steps != self._plan.steps:
            self._plan = plan
            self._changes += 1

    def batch(
        self,
        step: int,
        device: torch.device,
        *,
        unlabelled: bool = True,
        all_greys: bool = False,
    ) -> Batch:
        """Draw the batch of a step, whose crops were read during the one before."""
        crops, generators = self._prefetched(step, unlabelled, all_greys)
        plan = self._plan
        return augment(
            crops.to(device),
            generators,
            plan.patch_zyx,
            plan.spacing_mm,
            mirrored=plan.mirrored,
            calibrated=[how.calibrated for how in plan.intensities],
        )

    def labelled_images(self, count: int) -> list[NDArray[np.float16]]:
        """Give whole volumes (K, Z, Y, X) of the first labelled cases."""
        return [case.image for case in self._streams[-1].labelled[:count]]

    def _prefetched(self, step: int, unlabelled: bool, all_greys: bool) -> _Read:
        """Take what another thread has read, and let it read the next crops.

        What it has read is a function of this key alone, and left where it differs.
        """
        how = {"unlabelled": unlabelled, "all_greys": all_greys}
        key, pending = (step, unlabelled, all_greys, self._changes), self._pending
        found = pending[1].result() if pending and pending[0] == key else None
        if found is None:
            found = self.read(step, **how)
        following = self._reader.submit(self.read, step + 1, **how)
        self._pending = ((step + 1, *key[1:]), following)
        return found

    def read(
        self, step: int, *, unlabelled: bool = True, all_greys: bool = False
    ) -> _Read:
        """Read the crops of a step, and give the generators that will augment them.

        All that is random of a crop follows from the seed, the step and its place in
        the batch, so that it is the same whichever process reads it.
        """
        first = self.picked(LABELLED_STREAM, step)[self._own]
        second = self.picked(UNLABELLED_STREAM, step)[self._own] if unlabelled else []
        split = self._plan.labelled_batch
        total = split + self._plan.unlabelled_batch
        places = [*range(split)[self._own], *range(split, total)[self._own]]
        generators = [
            np.random.default_rng([self._seed, BATCH_STREAM, step, place])
            for place in places[: len(first) + len(second)]
        ]
        crops = [
            self._crop(case, rng, with_label=at < len(first))
            for at, (case, rng) in enumerate(
                zip([*first, *second], generators, strict=True)
            )
        ]
        known = crops[: len(first)]
        for case, crop, rng in zip(first, known, generators, strict=False):
            if rng.random() < BORROWED:
                streams = self._at(step)
                lenders = streams.labelled + streams.unlabelled * all_greys
                other = lenders[rng.integers(len(lenders))]
                self._borrow_greys(case, other, crop["image"], rng)
        intervals = [crop["intervals"] for crop in known]
        channels = max(len(maps) for maps in intervals)
        return (
            Crops(
                image=_stack([crop["image"] for crop in crops]),
                target=_stack([crop["target"] for crop in known]),
                distance_intervals=_stack(
                    [
                        np.tile(maps, (channels // len(maps), 1, 1, 1))
                        for maps in intervals
                    ]
                ),
                classes=self._classes,
                cases=tuple(case.id for case in (*first, *second)),
            ),
            generators,
        )

    def _borrow_greys(
        self,
        case: Prepared,
        other: Prepared,
        image: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> None:
        """Show a crop (K + 1, Z, Y, X) as another scan of the cohort might look.

        Calibrated grey values, as of CT, are left as they are.
        """
        strength = rng.uniform(0.5, 1.0)
        inside = image[-1] > 0
        for index, how in enumerate(self._plan.intensities):
            if not how.calibrated:
                source, target = case.quantiles[index], other.quantiles[index]
                image[index][inside] = matched(
                    image[index][inside], source, target, strength
                )

    def picked(self, stream: int, step: int) -> list[Prepared]:
        """Pick the cases of a step.

        Every case is drawn once before any a second time, a new label as
        often as it weighs. The round begins anew when the streams change and when a
        label is new no longer. An untrusted case takes the place of a labelled one by
        chance, which weighs it as a factor of its loss would.
        """
        streams = self._at(step)
        start, new = self._new_labels(streams, step)
        if stream == LABELLED_STREAM:
            count, cases = self._plan.labelled_batch, streams.labelled
            if new:
                cases = tuple(
                    case
                    for case in cases
                    for _ in range(self._fresh_weight if case.id in new else 1)
                )
        else:
            count = self._plan.unlabelled_batch
            cases = streams.unlabelled or streams.labelled
        found = []
        for position in range((step - start) * count, (step - start + 1) * count):
            turn, index = divmod(position, len(cases))
            order = _order(self._seed, stream, turn, start, len(cases))
            found.append(cases[order[index]])
        if stream == LABELLED_STREAM and streams.untrusted:
            until = UNTRUSTED_UNTIL * max(1, self._plan.steps)
            share = self._untrusted * max(0.0, 1.0 - step / until)
            rng = np.random.default_rng([self._seed, UNTRUSTED_STREAM, step])
            others = rng.integers(len(streams.untrusted), size=count)
            for place in np.flatnonzero(rng.random(count) < share):
                found[place] = streams.untrusted[others[place]]
        return found

    def _at(self, step: int) -> Streams:
        """Find what a step draws from."""
        return next(one for one in self._streams[::-1] if one.since <= step)

    def _new_labels(self, streams: Streams, step: int) -> tuple[int, set[str]]:
        """Find since when the same labels count as new, and which they are."""
        ends = {case: at + self._fresh_steps for case, at in streams.new_since.items()}
        passed = [end for end in ends.values() if streams.since <= end <= step]
        return max([streams.since, *passed]), {
            case for case, end in ends.items() if step < end
        }

    def _crop(
        self, case: Prepared, rng: np.random.Generator, *, with_label: bool
    ) -> dict[str, NDArray[np.float32]]:
        # The same margin on both sides keeps the centre of a crop in place.
        size = [
            edge + 2 * math.ceil(edge * (MARGIN - 1) / 2)
            for edge in self._plan.patch_zyx
        ]
        start = self._start(case, rng, size, with_label=with_label)
        read = [_read(channel, start, size) for channel in case.image]
        found = {"image": np.stack([*(image for image, _ in read), read[0][1]])}
        if with_label:
            assert case.target is not None
            target, known = _read(case.target, start, size)
            z, y, x = (
                _read(bits, [low], [edge])[0]
                for bits, low, edge in zip(case.planes, start, size, strict=True)
            )
            planes = z[:, None, None] + y[:, None] + x
            target += 1.0 + PLANE * planes
            found["target"] = np.where(known > 0, target, 0.0)[np.newaxis]
            maps = [
                _read(channel, start, size)[0]
                for part in case.intervals
                for channel in part
            ]
            found["intervals"] = np.stack(maps)
        return found

    def _start(
        self,
        case: Prepared,
        rng: np.random.Generator,
        size: Sequence[int],
        *,
        with_label: bool,
    ) -> list[int]:
        """Choose the first voxel of a crop; negative where it exceeds the case."""
        shape = case.image.shape[1:]
        patch = self._plan.patch_zyx
        uniform = rng.random(3)
        if with_label and rng.random() < FOREGROUND_SHARE:
            groups = case.foreground
        elif with_label and not case.whole:
            groups = case.centres
        else:
            groups = ()
        margins = [
            (large - small) // 2 for large, small in zip(size, patch, strict=True)
        ]
        if groups:
            group = groups[rng.integers(len(groups))]
            centre = np.unravel_index(group[rng.integers(group.size)], shape)
            corner = [
                int(middle) - edge // 2
                for middle, edge in zip(centre, patch, strict=True)
            ]
        else:
            corner = [
                round(share * max(0, extent - edge))
                for share, extent, edge in zip(uniform, shape, patch, strict=True)
            ]
        return [
            _fit(first, extent, edge) - margin
            for first, extent, edge, margin in zip(
                corner, shape, patch, margins, strict=True
            )
        ]


def _fit(first: int, extent: int, edge: int) -> int:
    """Keep a patch inside a volume, or centre it on a smaller one."""
    if extent <= edge:
        return (extent - edge) // 2
    return min(max(first, 0), extent - edge)


@lru_cache(maxsize=4)
def _order(*numbers: int) -> NDArray[np.int64]:
    """Shuffle as many as the last number says, by the others."""
    *seed, count = numbers
    return np.random.default_rng(seed).permutation(count)


def _read(
    volume: NDArray[np.generic], start: Sequence[int], size: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read a box of a volume padded with zeros, and 1 where it is inside."""
    values = np.zeros(size, dtype=np.float32)
    inside = np.zeros(size, dtype=np.float32)
    source, target = [], []
    for first, edge, extent in zip(start, size, volume.shape, strict=True):
        low, high = max(0, first), min(extent, first + edge)
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    values[tuple(target)] = volume[tuple(source)]
    inside[tuple(target)] = 1.0
    return values, inside


def _stack(arrays: list[NDArray[np.float32]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays).astype(np.float32, copy=False))
