"""Cohort and machine to plan: every decision once, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napari_semiseg.core.config import Plan
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.engine.devices import cores
from napari_semiseg.engine.resample import resample, working_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.project.cases import Case

FACTORS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 5.0, 6.0)
"""Working voxel sizes that are tried, over the finest size of the scans."""
ORACLE_DICE = 0.975
STEPS = 1_500
"""Steps that the minutes should hold; voxels get coarser, then crops smaller."""
LARGEST_PATCH = {"cpu": 600_000, "mps": 1_000_000, "cuda": 2_500_000}
DEFAULT_PATCH = {"cpu": 200_000, "mps": 500_000, "cuda": 1_200_000}
"""Voxels of a crop: the most that memory is sure to hold, and without minutes."""
SMALLEST_PATCH = 32_000
PROBE = (48, 48, 48)
"""Crop with which speed is measured before the working grid is known."""
WIDTH = 16
LEARNING_RATE = 0.1
LIMIT_VOXELS = 10
"""Distances beyond so many working voxels are only known to be long."""
SAMPLE = 6
"""Cases whose voxels are read for the fingerprint."""

Spacing = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Facts of a cohort that decide a plan."""

    spacing_mm: Spacing
    shape_zyx: tuple[int, int, int]
    modality: Literal["zscore", "ct"]
    intensity_range: tuple[float, float]
    intensity_mean_std: tuple[float, float]
    masks: tuple[NDArray[np.uint8], ...]
    mask_spacings: tuple[Spacing, ...]


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
    lowest, object_values, masks, steps = [], [], [], []
    for case in labelled[:SAMPLE]:
        mask = case.read_label()
        if mask is None:
            continue
        image = case.read_image().data
        lowest.append(float(np.percentile(image, 0.5)))
        inside = image[(mask > 0) & (mask != UNANNOTATED)]
        if inside.size:
            object_values.append(inside[:: max(1, inside.size // 20_000)])
        if not (mask == UNANNOTATED).any():
            masks.append(mask)
            steps.append(case.geometry.spacing_mm)
    values = np.concatenate(object_values).astype(np.float64) if object_values else None
    # Air is about -1000 HU in CT; no other modality has such a floor.
    is_ct = bool(lowest) and max(lowest) < -500 and values is not None
    if is_ct and values is not None:
        low, high = np.percentile(values, [0.5, 99.5])
        clipped = np.clip(values, low, high)
        moments = (float(clipped.mean()), float(max(clipped.std(), 1e-3)))
    else:
        low, high, moments = 0.5, 99.5, (0.0, 1.0)
    return Fingerprint(
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        shape_zyx=(int(shape[0]), int(shape[1]), int(shape[2])),
        modality="ct" if is_ct else "zscore",
        intensity_range=(float(low), float(high)),
        intensity_mean_std=moments,
        masks=tuple(masks[:3]),
        mask_spacings=tuple(steps[:3]),
    )


def oracle_dice(facts: Fingerprint, working_mm: Spacing) -> float:
    """Dice that a perfect network could reach at a working spacing.

    The masks go to the working grid and back; 1 where no complete mask is there.
    """
    scores = []
    for mask, spacing in zip(facts.masks, facts.mask_spacings, strict=True):
        shape = (mask.shape[0], mask.shape[1], mask.shape[2])
        small = working_shape(shape, spacing, working_mm)
        for value in np.unique(mask[mask > 0]):
            truth = torch.from_numpy(mask == value)
            there = resample(truth.float().unsqueeze(0), small)
            back = resample(there, shape)[0] > 0.5
            overlap = (back & truth).sum().item()
            scores.append(2.0 * overlap / (back.sum() + truth.sum()).item())
    return min(scores, default=1.0)


def choose_spacing(facts: Fingerprint, voxels: float) -> tuple[Spacing, str]:
    """Coarsest working grid needed for ``voxels`` per volume that masks survive."""
    finest = min(facts.spacing_mm)
    chosen, reason = facts.spacing_mm, "the scans' own voxel size"
    for factor in FACTORS:
        z, y, x = (max(step, factor * finest) for step in facts.spacing_mm)
        size = np.prod(working_shape(facts.shape_zyx, facts.spacing_mm, (z, y, x)))
        oracle = oracle_dice(facts, (z, y, x))
        if factor > 1.0 and oracle < ORACLE_DICE:
            return chosen, f"{reason}; coarser would blur the masks ({oracle:.3f} Dice)"
        chosen = (z, y, x)
        reason = f"{int(size):,} voxels a volume, masks survive with Dice {oracle:.3f}"
        if size <= voxels:
            break
    return chosen, reason


def choose_patch(
    shape: tuple[int, int, int], voxels: int
) -> tuple[tuple[int, int, int], tuple[tuple[int, int, int], ...]]:
    """Crop size and the network's strides: as much of a volume as is affordable."""
    full = np.maximum(16, 8 * np.ceil(np.array(shape) / 8)).astype(int)
    share = min(1.0, (voxels / float(np.prod(full))) ** (1 / 3))
    patch = np.maximum(16, 8 * np.round(full * share / 8)).astype(int)
    while np.prod(patch) > 1.25 * voxels and patch.max() > 16:
        patch[patch.argmax()] -= 8
    halvings = [min(4, int(np.log2(size // 4))) for size in patch]
    # An axis may be halved as often as its size stays even.
    halvings = [
        next(n for n in range(most, -1, -1) if size % 2**n == 0)
        for size, most in zip(patch, halvings, strict=True)
    ]
    levels = max(1, *halvings)
    strides = tuple(
        tuple(2 if level < halvings[axis] else 1 for axis in range(3))
        for level in range(levels)
    )
    return (int(patch[0]), int(patch[1]), int(patch[2])), strides  # type: ignore[return-value]


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
    patch, strides = choose_patch(PROBE, int(np.prod(PROBE)))
    return Plan(
        spacing_mm=facts.spacing_mm,
        patch_zyx=patch,
        strides=strides,
        width=config.width or WIDTH,
        labelled_batch=config.labelled_batch or 2,
        unlabelled_batch=unlabelled,
        sdm_limit_mm=LIMIT_VOXELS * min(facts.spacing_mm),
        intensity=facts.modality,
        intensity_range=facts.intensity_range,
        intensity_mean_std=facts.intensity_mean_std,
        device=device.type,
        precision=config.precision or "fp32",
        threads=cores(),
        learning_rate=config.learning_rate or LEARNING_RATE,
        steps=config.steps or 0,
        validate_every=config.validate_every or 0,
        reasons={
            "intensity": "air near -1000: CT, cut at the range of the labelled objects"
            if facts.modality == "ct"
            else "cut at the 0.5 and 99.5 percentile, mean 0 and SD 1 per volume",
            "sdm_limit_mm": f"{LIMIT_VOXELS} working voxels",
            "precision": "asked for",
        },
    )


def with_grid(
    plan: Plan, config: TrainingConfig, facts: Fingerprint, pace: float
) -> Plan:
    """Choose voxel size and crop, so that the minutes hold enough steps.

    A crop that holds a whole volume at coarser voxels learns more per minute than
    a part of it at finer ones.

    Parameters
    ----------
    pace : float
        Seconds of a step over the voxels of its crop.
    """
    if config.minutes is None:
        voxels = DEFAULT_PATCH[plan.device]
        why = "budget given in steps"
    else:
        afford = int(config.minutes * 60 / (STEPS * pace))
        voxels = min(max(afford, SMALLEST_PATCH), LARGEST_PATCH[plan.device])
        why = (
            f"{config.minutes:g} min hold {STEPS:,} steps with crops of "
            f"{afford:,} voxels"
        )
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
        patch, strides = choose_patch(config.patch_zyx, int(np.prod(config.patch_zyx)))
        why_patch = "asked for"
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


def with_steps(plan: Plan, steps: int, reason: str, validate_every: int = 0) -> Plan:
    """The plan with its number of steps fixed."""
    return plan.model_copy(
        update={
            "steps": steps,
            "validate_every": validate_every
            or plan.validate_every
            or max(1, steps // 10),
            "reasons": {**plan.reasons, "steps": reason},
        }
    )
