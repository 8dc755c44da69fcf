"""Cohort and machine to plan: every decision once, each with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from napari_semiseg.core.boxes import Box, bounding_box
from napari_semiseg.core.config import Intensity, Plan
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.engine.devices import cores
from napari_semiseg.engine.resample import Shape, resample, working_shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.project.cases import Case

FACTORS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 5.0, 6.0)
"""Working voxel sizes that are tried, over the finest size of the scans."""
CONTEXT = 0.03
"""Dice that is lost whenever a crop holds half as much of a volume."""
AMPLE = 8.0
"""Volumes that a crop may hold: as many are in one at twice the voxel size."""
STEPS = 1_500
"""Steps that the minutes should hold; voxels get coarser, then crops smaller."""
LARGEST_PATCH = {"cpu": 600_000, "mps": 1_000_000, "cuda": 10_000_000}
DEFAULT_PATCH = {"cpu": 200_000, "mps": 500_000, "cuda": 1_200_000}
"""Voxels of a crop: at most, and without minutes. Memory may hold fewer; on CUDA the
feature maps of a few such crops are about as large as 32 bits can index."""
SMALLEST_PATCH = 32_000
SHORTEST_SHARED = 16
"""Voxels of an axis from which on a crop may hold only a part of it, but so many."""
SLACK = 1.25
"""How much larger than asked for a crop may get when its edges are rounded."""
PROBE = {"cpu": (32, 32, 32), "mps": (48, 48, 48), "cuda": (48, 48, 48)}
"""Crop with which speed and memory of a step are measured before the working grid is
known: a GPU needs a larger one to be busy, on a processor it would only take longer."""
WIDTH = 16
LEARNING_RATE = 0.1
LIMIT_VOXELS = 10
"""Distances beyond so many working voxels are only known to be long."""
SAMPLE = 6
"""Cases whose voxels are read for the fingerprint."""
SLICES = 16
"""Annotated slices of a case that are looked at in each direction."""

Spacing = tuple[float, float, float]


class Truth(NamedTuple):
    """A mask without unannotated voxels.

    Attributes
    ----------
    mask : ndarray (Z, Y, X), uint8
        All of a case, or its annotated slices, one behind the other.
    spacing_mm : (z, y, x)
        Voxel size of the case.
    across : int, optional
        Axis along which they are single slices.
    """

    mask: NDArray[np.uint8]
    spacing_mm: Spacing
    across: int | None = None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Facts of a cohort that decide a plan."""

    spacing_mm: Spacing
    shape_zyx: tuple[int, int, int]
    channels: tuple[str, ...]
    intensities: tuple[Intensity, ...]
    truths: tuple[Truth, ...]


def fingerprint(cases: Sequence[Case], labelled: Sequence[Case]) -> Fingerprint:
    """Measure spacing and shape of all cases, intensities and masks of a few."""
    spacing = np.median([case.geometry.spacing_mm for case in cases], axis=0)
    extent = np.median(
        [
            np.multiply(case.geometry.shape_zyx, case.geometry.spacing_mm)
            for case in cases
        ],
        axis=0,
    )
    shape = np.maximum(1, np.round(extent / spacing)).astype(int)
    channels = labelled[0].channel_names
    seen = [_Values() for _ in range(max(1, len(channels)))]
    whole: list[Truth] = []
    slices: list[Truth] = []
    alike = [case for case in labelled if case.channel_names == channels]
    for case in alike[:SAMPLE]:
        mask = case.read_label()
        if mask is None:
            continue
        inside = (mask > 0) & (mask != UNANNOTATED)
        for index, values in enumerate(seen):
            values.note(case.read_image(index).data, inside)
        if (mask == UNANNOTATED).any():
            slices += _annotated_slices(mask, case.geometry.spacing_mm)
        else:
            whole.append(Truth(mask, case.geometry.spacing_mm))
    return Fingerprint(
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        shape_zyx=(int(shape[0]), int(shape[1]), int(shape[2])),
        channels=channels,
        intensities=tuple(values.intensity() for values in seen),
        truths=tuple(whole[:3] or slices),
    )


def _annotated_slices(mask: NDArray[np.uint8], spacing_mm: Spacing) -> Iterator[Truth]:
    """Slices that are annotated from edge to edge and show something, each way."""
    for axis in range(3):
        highest = mask.max(axis=tuple({0, 1, 2} - {axis}))
        (done,) = np.nonzero((highest > 0) & (highest != UNANNOTATED))
        few = done[:: max(1, math.ceil(done.size / SLICES))]
        if few.size:
            yield Truth(mask.take(few, axis), spacing_mm, across=axis)


class _Values:
    """Grey values of one channel: how low they go, and those of the objects."""

    def __init__(self) -> None:
        self._lowest: list[float] = []
        self._objects: list[NDArray[Any]] = []

    def note(self, image: NDArray[Any], inside: NDArray[np.bool_]) -> None:
        """Look at an image (Z, Y, X) and where its objects are."""
        self._lowest.append(float(np.percentile(image, 0.5)))
        values = image[inside]
        if values.size:
            self._objects.append(values[:: max(1, values.size // 20_000)])

    def intensity(self) -> Intensity:
        """Those of CT where all images have air, about -1000 HU, as no other has."""
        if not self._objects or max(self._lowest) >= -500:
            return Intensity(kind="zscore", cut=(0.5, 99.5), mean_std=(0.0, 1.0))
        values = np.concatenate(self._objects).astype(np.float64)
        low, high = np.percentile(values, [0.5, 99.5])
        clipped = np.clip(values, low, high)
        moments = (float(clipped.mean()), float(max(clipped.std(), 1e-3)))
        return Intensity(kind="ct", cut=(float(low), float(high)), mean_std=moments)


def oracle_dice(facts: Fingerprint, working_mm: Spacing) -> float | None:
    """Dice that a perfect network could reach at a working spacing.

    The masks go to the working grid and back, where the likeliest class wins, as in a
    prediction. The mean over scans, then over classes: what a benchmark would show.
    None where there is no mask. Single slices, whose neighbours are unknown, do so
    within their plane, those of all cases as one. Where voxels grow across them too,
    half as much again is lost: a ball has half as much again of surface by volume as
    its slices have of outline by area.
    """
    counts: dict[int, dict[int, list[float]]] = {}
    for number, (mask, spacing, across) in enumerate(facts.truths):
        group, working, extra = number, list(working_mm), 0.0
        if across is not None:
            group, working[across] = -1, spacing[across]
            extra = 0.5 if working_mm[across] > spacing[across] else 0.0
        back = _there_and_back(mask, working_shape(mask.shape, spacing, working))
        for value in np.unique(mask[mask > 0]):
            mine, truth = back == value, mask == value
            both = 2.0 * np.count_nonzero(mine & truth)
            size = np.count_nonzero(mine) + np.count_nonzero(truth)
            count = counts.setdefault(int(value), {}).setdefault(group, [0.0, 0.0])
            count[0] += both - extra * (size - both)
            count[1] += size
    means = [
        np.mean([both / size for both, size in groups.values()])
        for groups in counts.values()
    ]
    return float(np.mean(means)) if means else None


def _there_and_back(mask: NDArray[np.uint8], working: Shape) -> NDArray[np.uint8]:
    """A mask after a stay on the working grid: of each voxel the likeliest class.

    Each class is followed where it can be seen alone, and the background is what the
    others leave, so that many small classes cost as much as a few large ones.
    """
    result = np.zeros_like(mask)
    box = bounding_box(mask > 0)
    if box is None:
        return result
    stays = [
        _stay(size, small) for size, small in zip(mask.shape, working, strict=True)
    ]
    near = _reach(stays, box)
    stays = [stay[rows] for stay, rows in zip(stays, near, strict=True)]
    likeliest = result[near]
    most = np.zeros(likeliest.shape, dtype=np.float32)
    rest = np.ones(likeliest.shape, dtype=np.float32)
    for value in np.unique(mask[box]):
        own = bounding_box(mask == value) if value else None
        if own is None:
            continue
        at = _reach(stays, own)
        share = (mask[own] == value).astype(np.float32)
        for axis, stay in enumerate(stays):
            moved = np.tensordot(stay[at[axis], own[axis]], share, (1, axis))
            share = np.moveaxis(moved, 0, axis)
        rest[at] -= share
        likeliest[at][share > most[at]] = value
        most[at] = np.maximum(most[at], share)
    likeliest[rest >= most] = 0
    return result


def _stay(size: int, small: int) -> NDArray[np.float32]:
    """What a stay on the working grid makes of an axis, as a matrix (size, size)."""
    each = torch.eye(size).view(size, size, 1, 1)
    there = resample(each, (small, 1, 1))
    back: NDArray[np.float32] = resample(there, (size, 1, 1)).view(size, size).numpy()
    return back.T


def _reach(stays: Sequence[NDArray[np.float32]], box: Box) -> Box:
    """Voxels that know something of a box after the stay."""
    seen = [
        np.flatnonzero(stay[:, source].any(axis=1))
        for stay, source in zip(stays, box, strict=True)
    ]
    return tuple(slice(int(rows[0]), int(rows[-1]) + 1) for rows in seen)


class _Grid(NamedTuple):
    """A working grid that is tried, and what a plan would lose with it."""

    spacing_mm: Spacing
    size: int
    share: float
    oracle: float | None

    @property
    def worth(self) -> float:
        """Dice that blur and crops of such a share leave."""
        blurred = 1.0 if self.oracle is None else self.oracle
        return blurred + CONTEXT * math.log2(self.share)


def choose_spacing(facts: Fingerprint, voxels: float) -> tuple[Spacing, str]:
    """Working grid that loses least to blur and to crops of ``voxels`` together.

    Coarse voxels blur the masks, which `oracle_dice` measures. With fine ones a crop
    holds less of a volume, and tells less of where in the body it is, which costs
    `CONTEXT` for each halving. All sizes between are looked at, since their blur goes
    up and down; grids of which a crop holds far more than a volume are left out.
    """
    finest, most = min(facts.spacing_mm), -math.inf
    found: list[_Grid] = []
    for factor in reversed(FACTORS):
        z, y, x = (max(step, factor * finest) for step in facts.spacing_mm)
        size = math.prod(working_shape(facts.shape_zyx, facts.spacing_mm, (z, y, x)))
        if factor > 1.0 and AMPLE * size < voxels:
            continue
        share = min(1.0, voxels / size)
        if _Grid((z, y, x), size, share, None).worth < most:
            break  # even if it did not blur at all, and finer ones hold less
        found.append(_Grid((z, y, x), size, share, oracle_dice(facts, (z, y, x))))
        most = max(most, found[-1].worth)
    best = max(reversed(found), key=lambda one: one.worth)
    single = any(one.across is not None for one in facts.truths)
    measured = "annotated slices" if single else "masks"
    reason = f"{best.size:,} voxels a volume, {best.share:.2g} of it in a crop, " + (
        "no mask to measure what coarser voxels lose"
        if best.oracle is None
        else f"{measured} survive with Dice {best.oracle:.3f}"
    )
    coarser = found[: found.index(best)]
    if best.share < 1.0 and coarser and coarser[-1].oracle is not None:
        reason += f"; coarser would blur the masks ({coarser[-1].oracle:.3f} Dice)"
    return best.spacing_mm, reason


def rounded_up(shape: Sequence[int]) -> Shape:
    """Sizes that the network takes: multiples of 8, or 12; a critic needs 8."""
    z, y, x = (12 if 8 < size <= 12 else 8 * math.ceil(size / 8) for size in shape)
    return z, y, x


def choose_patch(shape: Shape, voxels: int) -> tuple[Shape, tuple[Shape, ...]]:
    """Crop size and the network's strides: as much of a volume as is affordable.

    An axis of few voxels is held whole.
    """
    full = np.array(rounded_up(shape))
    long = full >= SHORTEST_SHARED
    share = min(1.0, (voxels / float(np.prod(full))) ** (1 / max(1, int(long.sum()))))
    shared = np.maximum(SHORTEST_SHARED, 8 * np.round(full * share / 8))
    patch = np.where(long, shared, full).astype(int)
    while np.prod(patch) > SLACK * voxels and patch.max() > SHORTEST_SHARED:
        patch[patch.argmax()] -= 8
    chosen = (int(patch[0]), int(patch[1]), int(patch[2]))
    return chosen, choose_strides(chosen)


def choose_strides(patch: Shape) -> tuple[Shape, ...]:
    """How a network halves a crop: each axis to no less than four places."""
    halvings = [min(4, int(np.log2(size // 4))) for size in patch]
    # An axis may be halved as often as its size stays even.
    halvings = [
        next(n for n in range(most, -1, -1) if size % 2**n == 0)
        for size, most in zip(patch, halvings, strict=True)
    ]
    levels = max(1, *halvings)
    return tuple(
        tuple(2 if level < halvings[axis] else 1 for axis in range(3))  # type: ignore[misc]
        for level in range(levels)
    )


def draft(
    config: TrainingConfig,
    facts: Fingerprint,
    device: torch.device,
    *,
    unlabelled: int,
) -> Plan:
    """Decide all that needs no measurement; grid, precision and steps come later.

    Parameters
    ----------
    unlabelled : int
        Unlabelled crops of a batch by default; 0 where the method or the cohort has
        none.
    """
    if unlabelled and config.unlabelled_batch is not None:
        unlabelled = config.unlabelled_batch
    probe = PROBE[device.type]
    patch, strides = choose_patch(probe, math.prod(probe))
    first, *further = facts.intensities
    return Plan(
        spacing_mm=facts.spacing_mm,
        patch_zyx=patch,
        strides=strides,
        width=config.width or WIDTH,
        labelled_batch=config.labelled_batch or 2,
        unlabelled_batch=unlabelled,
        sdm_limit_mm=LIMIT_VOXELS * min(facts.spacing_mm),
        intensity=first.kind,
        intensity_range=first.cut,
        intensity_mean_std=first.mean_std,
        channels=facts.channels,
        further_intensities=tuple(further),
        device=device.type,
        precision=config.precision or "fp32",
        threads=cores(),
        learning_rate=config.learning_rate or LEARNING_RATE,
        steps=config.steps or 0,
        validate_every=config.validate_every or 0,
        reasons={
            "intensity": "air near -1000: CT, cut at the range of the labelled objects"
            if first.kind == "ct"
            else "cut at the 0.5 and 99.5 percentile, mean 0 and SD 1 per volume",
            "sdm_limit_mm": f"{LIMIT_VOXELS} working voxels",
            "precision": "asked for",
        }
        | ({"channels": "those of the labelled cases"} if facts.channels else {}),
    )


def with_grid(
    plan: Plan,
    config: TrainingConfig,
    facts: Fingerprint,
    pace: float,
    most: int | None = None,
) -> Plan:
    """Choose voxel size and crop, so that the minutes hold enough steps.

    A crop that holds a whole volume at coarser voxels learns more per minute than
    a part of it at finer ones.

    Parameters
    ----------
    pace : float
        Seconds of a step over the voxels of its crop.
    most : int, optional
        Voxels of the largest crop that the memory holds.
    """
    if config.minutes is None:
        voxels = DEFAULT_PATCH[plan.device]
        why = "budget given in steps"
    else:
        voxels, why = _affordable(config.minutes, pace, plan.device)
    if most is not None and most < SLACK * voxels:
        voxels = int(most / SLACK)
        why = f"the free memory holds crops of {most:,} voxels"
    if config.spacing_mm is None:
        spacing, why_spacing = choose_spacing(facts, voxels)
        why_spacing = f"{why_spacing} ({why})"
    else:
        spacing, why_spacing = config.spacing_mm, "asked for"
    shape = working_shape(facts.shape_zyx, facts.spacing_mm, spacing)
    if config.patch_zyx is None:
        patch, strides = choose_patch(shape, voxels)
        why_patch = (
            f"median volume of {shape} working voxels, as much of it as "
            f"{voxels:,} voxels hold ({why})"
        )
    else:
        patch = rounded_up(config.patch_zyx)
        strides, why_patch = choose_strides(patch), "asked for"
        if patch != config.patch_zyx:
            why_patch = f"asked for {list(config.patch_zyx)}, rounded up to "
            why_patch += "12 or multiples of 8" if 12 in patch else "multiples of 8"
    return plan.model_copy(
        update={
            "spacing_mm": spacing,
            "patch_zyx": patch,
            "strides": strides,
            "sdm_limit_mm": LIMIT_VOXELS * min(spacing),
            "reasons": {
                **plan.reasons,
                "spacing_mm": why_spacing,
                "patch_zyx": why_patch,
            },
        }
    )


def _affordable(minutes: float, pace: float, device: str) -> tuple[int, str]:
    """Voxels of a crop with which the minutes hold enough steps, within bounds."""
    voxels = int(minutes * 60 / (STEPS * pace))
    why = f"{minutes:g} min hold {STEPS:,} steps with crops of {voxels:,} voxels"
    if voxels < SMALLEST_PATCH:
        return SMALLEST_PATCH, f"{why}, but {SMALLEST_PATCH:,} are the least"
    largest = LARGEST_PATCH[device]
    if voxels > largest:
        return largest, f"{why}, but {largest:,} are the most on this kind of device"
    return voxels, why


def with_labels(plan: Plan, labels: LabelScheme) -> Plan:
    """The plan for a project's classes."""
    mirrored = not labels.tells_sides
    why = "no class is another's mirror image" if mirrored else "classes tell the sides"
    return plan.model_copy(
        update={
            "classes": labels.values,
            "mirrored": mirrored,
            "reasons": {**plan.reasons, "mirrored": why},
        }
    )


def with_steps(
    plan: Plan, steps: int, reason: str, validate_every: int = 0, seconds: float = 0.0
) -> Plan:
    """The plan with its number of steps fixed, and the seconds that they shall take."""
    return plan.model_copy(
        update={
            "steps": steps,
            "training_seconds": seconds,
            "validate_every": validate_every
            or plan.validate_every
            or max(1, steps // 10),
            "reasons": {**plan.reasons, "steps": reason},
        }
    )
