"""Batches as a function of (seed, step)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from napari_semiseg.engine.augment import Crops, augment
from napari_semiseg.engine.method import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.config import Plan
    from napari_semiseg.engine.prepare import Prepared

MARGIN = 1.25
"""Crops are read larger than the patch, so that rotations find voxels at the rim."""
FOREGROUND_SHARE = 0.6
LABELLED_STREAM, UNLABELLED_STREAM, BATCH_STREAM = 0, 1, 2


class Batches(Protocol):
    """Where a trainer takes its batches from."""

    def batch(self, step: int, device: torch.device) -> Batch:
        """The batch of a step, on the device; the same whenever it is drawn."""


class Noise:
    """Batches of noise, to measure a speed before there are data."""

    def __init__(self, plan: Plan, classes: int) -> None:
        self._plan = plan
        self._classes = classes

    def batch(self, step: int, device: torch.device) -> Batch:
        """The same for every step."""
        plan, generator = self._plan, torch.Generator().manual_seed(step)
        patch, labelled = plan.patch_zyx, plan.labelled_batch
        count = labelled + plan.unlabelled_batch
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
        )


class Sampler:
    """Draws augmented crops of a labelled and an unlabelled stream.

    Parameters
    ----------
    labelled, unlabelled : sequence of Prepared
        The streams; where no case is unlabelled, the second one draws from the
        labelled images without their labels.
    plan : Plan
        Patch and batch sizes.
    seed : int
        With the step it determines the batch, wherever it is drawn.
    """

    def __init__(
        self,
        labelled: Sequence[Prepared],
        unlabelled: Sequence[Prepared],
        plan: Plan,
        seed: int,
    ) -> None:
        self._labelled = tuple(labelled)
        self._unlabelled = tuple(unlabelled) or tuple(labelled)
        self._plan = plan
        self._seed = seed
        assert labelled[0].low is not None
        self._classes = len(labelled[0].low)

    def batch(self, step: int, device: torch.device) -> Batch:
        """The batch of a step, on the device."""
        plan = self._plan
        rng = np.random.default_rng([self._seed, BATCH_STREAM, step])
        first = self._pick(LABELLED_STREAM, step, plan.labelled_batch)
        second = self._pick(UNLABELLED_STREAM, step, plan.unlabelled_batch)
        crops = [self._crop(self._labelled[i], rng, with_label=True) for i in first]
        crops += [
            self._crop(self._unlabelled[i], rng, with_label=False) for i in second
        ]
        known = crops[: len(first)]
        bounds = [crop["bounds"] for crop in known]
        channels = max(len(maps) for maps in bounds)
        stacked = Crops(
            image=_stack([crop["image"] for crop in crops], device),
            target=_stack([crop["target"] for crop in known], device),
            bounds=_stack(
                [np.tile(maps, (channels // len(maps), 1, 1, 1)) for maps in bounds],
                device,
            ),
            classes=self._classes,
        )
        return augment(stacked, rng, plan.patch_zyx, plan.spacing_mm)

    def _pick(self, stream: int, step: int, count: int) -> list[int]:
        """Cases of a step: every case once before any a second time."""
        size = len(self._labelled if stream == LABELLED_STREAM else self._unlabelled)
        picked = []
        for position in range(step * count, (step + 1) * count):
            epoch, index = divmod(position, size)
            order = np.random.default_rng([self._seed, stream, epoch]).permutation(size)
            picked.append(int(order[index]))
        return picked

    def _crop(
        self, case: Prepared, rng: np.random.Generator, *, with_label: bool
    ) -> dict[str, NDArray[np.float32]]:
        size = [int(np.ceil(edge * MARGIN)) for edge in self._plan.patch_zyx]
        start = self._start(case, rng, size, with_label=with_label)
        read = [_read(channel, start, size) for channel in case.image]
        found = {"image": np.stack([*(image for image, _ in read), read[0][1]])}
        if with_label:
            assert case.target is not None
            assert case.low is not None
            assert case.high is not None
            target, known = _read(case.target, start, size)
            found["target"] = np.where(known > 0, target + 1.0, 0.0)[np.newaxis]
            bounds = [case.low] if case.high is case.low else [case.low, case.high]
            maps = [
                _read(channel, start, size)[0] for part in bounds for channel in part
            ]
            found["bounds"] = np.stack(maps)
        return found

    def _start(
        self,
        case: Prepared,
        rng: np.random.Generator,
        size: Sequence[int],
        *,
        with_label: bool,
    ) -> list[int]:
        """First voxel of a crop, negative where the crop is larger than the case."""
        shape = case.image.shape[1:]
        patch = self._plan.patch_zyx
        uniform = rng.random(3)
        if with_label and rng.random() < FOREGROUND_SHARE:
            groups = case.foreground
        elif with_label and case.high is not case.low:
            groups = case.centres
        else:
            groups = ()
        margins = [
            (large - small) // 2 for large, small in zip(size, patch, strict=True)
        ]
        if groups:
            group = groups[rng.integers(len(groups))]
            centre = np.unravel_index(group[rng.integers(group.size)], shape)
            wanted = [
                int(middle) - edge // 2
                for middle, edge in zip(centre, patch, strict=True)
            ]
        else:
            wanted = [
                round(share * max(0, extent - edge))
                for share, extent, edge in zip(uniform, shape, patch, strict=True)
            ]
        return [
            _fit(first, extent, edge) - margin
            for first, extent, edge, margin in zip(
                wanted, shape, patch, margins, strict=True
            )
        ]


def _fit(first: int, extent: int, edge: int) -> int:
    """Keep a patch inside a volume, or centre it on a smaller one."""
    if extent <= edge:
        return (extent - edge) // 2
    return min(max(first, 0), extent - edge)


def _read(
    volume: NDArray[np.generic], start: Sequence[int], size: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Box of a volume padded with zeros, and 1 where it is inside."""
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


def _stack(arrays: list[NDArray[np.float32]], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays).astype(np.float32)).to(
        device, non_blocking=True
    )
