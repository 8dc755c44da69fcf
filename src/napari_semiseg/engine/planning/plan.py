"""Cohort and machine to plan: every decision once, each with its reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_semiseg.core.boxes import Box, bounding_box
from napari_semiseg.core.plan import Plan
from napari_semiseg.engine.devices import cores
from napari_semiseg.engine.networks import registry as architectures
from napari_semiseg.imaging.resampling import Shape, axis_weights, working_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from napari_semiseg.core.config import Optimiser, TrainingConfig
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.engine.networks.spec import Stride
    from napari_semiseg.engine.planning.fingerprint import Fingerprint, Spacing

FACTORS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 5.0, 6.0)
"""Working voxel sizes that are tried, over the finest size of the scans."""
BLUR = 2.0
"""Dice that is lost over what a perfect network would lose to coarse voxels: what is a
voxel or two wide is hard to learn."""
CONTEXT = 0.01
"""Dice that is lost where a crop holds half of a volume, four times as much with a
quarter of it, nine times with an eighth."""
AMPLE = 8.0
"""Volumes that a crop may hold: as many are in one at twice the voxel size."""
STEPS = 1_500
"""Steps of a training without a budget."""
VOXELS_PER_STEP = 10
"""Voxels of a crop over the steps that the minutes hold with it: more minutes buy
larger crops and finer voxels, and as many more steps."""
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
EVEN = (1.0, 1.0, 1.0)
"""Spacing of that crop."""
WIDTH = 16
OPTIMISER: Optimiser = "muon"
LEARNING_RATES: dict[Optimiser, float] = {"muon": 0.05, "sgd": 0.1}
LIMIT_VOXELS = 10
"""Distances beyond so many working voxels are only known to be long."""


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
        back = _resampled(mask, working_shape(mask.shape, spacing, working))
        for value in np.unique(mask[mask > 0]):
            predicted, truth = back == value, mask == value
            both = 2.0 * np.count_nonzero(predicted & truth)
            size = np.count_nonzero(predicted) + np.count_nonzero(truth)
            count = counts.setdefault(int(value), {}).setdefault(group, [0.0, 0.0])
            count[0] += both - extra * (size - both)
            count[1] += size
    means = [
        np.mean([both / size for both, size in groups.values()])
        for groups in counts.values()
    ]
    return float(np.mean(means)) if means else None


def _resampled(mask: NDArray[np.uint8], working: Shape) -> NDArray[np.uint8]:
    """Take a mask to the working grid and back: the likeliest class of each voxel.

    Each class is followed where it can be seen alone, and the background is what the
    others leave, so that many small classes cost as much as a few large ones.
    """
    result = np.zeros_like(mask)
    box = bounding_box(mask > 0)
    if box is None:
        return result
    trips = [
        _round_trip(size, small)
        for size, small in zip(mask.shape, working, strict=True)
    ]
    near = _reach(trips, box)
    trips = [trip[rows] for trip, rows in zip(trips, near, strict=True)]
    likeliest = result[near]
    most = np.zeros(likeliest.shape, dtype=np.float32)
    rest = np.ones(likeliest.shape, dtype=np.float32)
    for value in np.unique(mask[box]):
        own = bounding_box(mask == value) if value else None
        if own is None:
            continue
        at = _reach(trips, own)
        share = (mask[own] == value).astype(np.float32)
        for axis, trip in enumerate(trips):
            moved = np.tensordot(trip[at[axis], own[axis]], share, (1, axis))
            share = np.moveaxis(moved, 0, axis)
        rest[at] -= share
        likeliest[at][share > most[at]] = value
        most[at] = np.maximum(most[at], share)
    likeliest[rest >= most] = 0
    return result


def _round_trip(size: int, small: int) -> NDArray[np.float32]:
    """Matrix (size, size) that takes an axis to the working grid and back."""
    return axis_weights(small, size) @ axis_weights(size, small)


def _reach(trips: Sequence[NDArray[np.float32]], box: Box) -> Box:
    """Voxels that voxels of a box spread to on the way there and back."""
    seen = [
        np.flatnonzero(trip[:, source].any(axis=1))
        for trip, source in zip(trips, box, strict=True)
    ]
    return tuple(slice(int(rows[0]), int(rows[-1]) + 1) for rows in seen)


class _Grid(NamedTuple):
    """A candidate working grid, and what a plan would lose with it."""

    spacing_mm: Spacing
    size: int
    share: float
    oracle: float | None

    @property
    def worth(self) -> float:
        """Dice that is left after blur and after crops of such a share."""
        lost = 0.0 if self.oracle is None else BLUR * (1.0 - self.oracle)
        return 1.0 - lost - CONTEXT * math.log2(self.share) ** 2


def choose_spacing(facts: Fingerprint, voxels: float) -> tuple[Spacing, str]:
    """Choose the working grid that loses least to blur and to small crops.

    Coarse voxels blur the masks, which `oracle_dice` measures. With fine ones a crop
    holds less of a volume, and tells less of where in the body it is (`CONTEXT`). All
    sizes between are looked at, since their blur goes up and down; grids of which a
    crop holds far more than a volume are left out.
    """
    finest, most = min(facts.spacing_mm), -math.inf
    found: list[_Grid] = []
    for factor in reversed(FACTORS):
        z, y, x = (max(step, factor * finest) for step in facts.spacing_mm)
        shape = working_shape(facts.shape_zyx, facts.spacing_mm, (z, y, x))
        size = math.prod(shape)
        if factor > 1.0 and AMPLE * size < voxels:
            continue
        if _Grid((z, y, x), size, min(1.0, SLACK * voxels / size), None).worth < most:
            break  # even if it did not blur at all, and finer ones hold less
        held = map(min, choose_patch(shape, int(voxels)), shape)
        share = math.prod(held) / size
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


def choose_patch(shape: Shape, voxels: int) -> Shape:
    """Size of a crop: as much of a volume as is affordable.

    An axis of few voxels is held whole.
    """
    full = np.array(rounded_up(shape))
    long = full >= SHORTEST_SHARED
    share = min(1.0, (voxels / float(np.prod(full))) ** (1 / max(1, int(long.sum()))))
    shared = np.maximum(SHORTEST_SHARED, 8 * np.round(full * share / 8))
    patch = np.where(long, shared, full).astype(int)
    while np.prod(patch) > SLACK * voxels and patch.max() > SHORTEST_SHARED:
        patch[patch.argmax()] -= 8
    return int(patch[0]), int(patch[1]), int(patch[2])


def draft(
    config: TrainingConfig,
    facts: Fingerprint,
    device: torch.device,
    *,
    unlabelled: int,
    devices: int = 1,
) -> Plan:
    """Decide all that needs no measurement; grid, precision and steps come later.

    Parameters
    ----------
    unlabelled : int
        Unlabelled crops of a batch by default; 0 where the method or the cohort has
        none.
    devices : int
        Which share each batch; one that is not asked for grows with them.
    """
    if unlabelled and config.unlabelled_batch is not None:
        unlabelled = config.unlabelled_batch
    else:
        unlabelled *= devices
    labelled = config.labelled_batch or 2 * devices
    optimiser = config.optimiser or OPTIMISER
    probe = PROBE[device.type]
    patch = choose_patch(probe, math.prod(probe))
    first = facts.intensities[0]
    return Plan(
        spacing_mm=facts.spacing_mm,
        patch_zyx=patch,
        strides=architectures.find(config.architecture).strides(patch, EVEN),
        width=config.width or WIDTH,
        architecture=config.architecture,
        labelled_batch=labelled,
        unlabelled_batch=unlabelled,
        sdm_limit_mm=LIMIT_VOXELS * min(facts.spacing_mm),
        channels=facts.channels,
        intensities=facts.intensities,
        device=device.type,
        precision=config.precision or "fp32",
        threads=cores(),
        optimiser=optimiser,
        learning_rate=config.learning_rate or LEARNING_RATES[optimiser],
        steps=config.steps or 0,
        validate_every=config.validate_every or 0,
        reasons={
            "intensity": "air near -1000: CT, cut at the range of the labelled objects"
            if first.kind == "ct"
            else "cut at the 0.5 and 99.5 percentile, mean 0 and SD 1 per volume",
            "sdm_limit_mm": f"{LIMIT_VOXELS} working voxels",
            "precision": "asked for",
        }
        | (
            {"channels": "those of the labelled cases"}
            if len(facts.channels) > 1
            else {}
        )
        | (
            {
                "devices": f"{devices} devices share each batch: "
                + _shares("labelled", labelled, devices, config.labelled_batch)
                + ", "
                + _shares("unlabelled", unlabelled, devices, config.unlabelled_batch)
            }
            if devices > 1
            else {}
        ),
    )


def _shares(name: str, crops: int, devices: int, asked: int | None) -> str:
    """Say how many crops of a kind a batch has, and why."""
    if not crops:
        return f"no {name} crops"
    how = f"{crops // devices} each" if asked is None else "as asked for"
    return f"{crops} {name} crops ({how})"


def _levels(
    architecture: str, patch: Shape, spacing: Spacing
) -> dict[str, tuple[Stride, ...]]:
    """Strides and kernels of a network for such crops."""
    strides = architectures.find(architecture).strides(patch, spacing)
    return {"strides": strides, "kernels": architectures.kernels(strides, spacing)}


def with_grid(
    plan: Plan,
    config: TrainingConfig,
    facts: Fingerprint,
    seconds_per_voxel: float,
    most: int | None = None,
) -> Plan:
    """Choose voxel size and crop, so that the minutes hold enough steps.

    A crop that holds a whole volume at coarser voxels learns more per minute than
    a part of it at finer ones.

    Parameters
    ----------
    seconds_per_voxel : float
        Seconds of a step over the voxels of its crop.
    most : int, optional
        Voxels of the largest crop that the memory holds.
    """
    if config.minutes is None:
        voxels = DEFAULT_PATCH[plan.device]
        why = "budget given in steps"
    else:
        voxels, why = _affordable(config.minutes, seconds_per_voxel, plan.device)
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
        patch = choose_patch(shape, voxels)
        why_patch = (
            f"median volume of {shape} working voxels, as much of it as "
            f"{voxels:,} voxels hold ({why})"
        )
    else:
        patch = rounded_up(config.patch_zyx)
        why_patch = "asked for"
        if patch != config.patch_zyx:
            why_patch = f"asked for {list(config.patch_zyx)}, rounded up to "
            why_patch += "12 or multiples of 8" if 12 in patch else "multiples of 8"
    return plan.model_copy(
        update={
            "spacing_mm": spacing,
            "patch_zyx": patch,
            **_levels(plan.architecture, patch, spacing),
            "sdm_limit_mm": LIMIT_VOXELS * min(spacing),
            "reasons": {
                **plan.reasons,
                "spacing_mm": why_spacing,
                "patch_zyx": why_patch,
            },
        }
    )


def _affordable(
    minutes: float, seconds_per_voxel: float, device: str
) -> tuple[int, str]:
    """Voxels of a crop in balance with the steps that the minutes hold, in bounds."""
    steps = math.sqrt(minutes * 60 / (VOXELS_PER_STEP * seconds_per_voxel))
    voxels = int(VOXELS_PER_STEP * steps)
    why = f"{minutes:g} min hold {steps:,.0f} steps with crops of {voxels:,} voxels"
    if voxels < SMALLEST_PATCH:
        return SMALLEST_PATCH, f"{why}, but {SMALLEST_PATCH:,} are the least"
    largest = LARGEST_PATCH[device]
    if voxels > largest:
        return largest, f"{why}, but {largest:,} are the most on this kind of device"
    return voxels, why


def with_labels(
    plan: Plan, labels: LabelScheme, single: Sequence[int] = (), whole: int = 0
) -> Plan:
    """The plan for a project's classes.

    Parameters
    ----------
    single : sequence of int
        Values of classes that are one piece in each of ``whole`` labelled cases.
    """
    mirrored = not labels.tells_sides
    reasons = {
        "mirrored": "no class is another's mirror image"
        if mirrored
        else "classes tell the sides"
    }
    if single:
        names = [one.name for one in labels if one.value in single]
        reasons["single_pieces"] = (
            f"{', '.join(names)}: one piece in all labelled scans that show it, of "
            f"{whole} that were read; in predictions the largest piece alone stays"
        )
    return plan.model_copy(
        update={
            "classes": labels.values,
            "mirrored": mirrored,
            "single_pieces": tuple(single),
            "reasons": plan.reasons | reasons,
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
