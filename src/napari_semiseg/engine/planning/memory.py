"""What a training step needs of the memory, and what is free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_semiseg.engine.planning.plan import SLACK, choose_patch, rounded_up
from napari_semiseg.errors import ConfigError
from napari_semiseg.io.memory import free_memory

if TYPE_CHECKING:
    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.engine.planning.speed import TimedStep

SHARE = 0.8
"""Part of the free memory that a training may take."""
OVERHEAD = 1.7
"""Peak of a step over what its backward pass keeps, as measured on a processor: the
gradients of the feature maps, and what convolutions copy."""
SMALLEST_CROP = (16, 16, 16)
GB = 1e9


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory of a training step, bytes.

    Attributes
    ----------
    fixed : float
        Gradients and momentum of the weights.
    per_voxel : float
        For each voxel of a crop, over all crops of a step.
    """

    fixed: float
    per_voxel: float

    def of(self, voxels: float) -> float:
        """Estimate the bytes of a step with crops of so many voxels."""
        return self.fixed + voxels * self.per_voxel

    def voxels(self, memory: float) -> int:
        """Estimate the voxels of the largest crop that fits."""
        return max(0, int((memory - self.fixed) / self.per_voxel))


def footprint(trial: TimedStep, voxels: int) -> Footprint:
    """Measure a trial training whose crops have so many voxels.

    What the backward pass needs is counted as it is put aside, which is exact, the
    same on every device, and grows with the voxels of a crop.
    """
    weights = {
        parameter.untyped_storage().data_ptr(): parameter.nbytes
        for parameter in trial.weights
    }
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    most = 0
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        for _ in trial.rehearse():
            most = max(most, sum(kept.values()))
            kept.clear()
    return Footprint(2.0 * sum(weights.values()), OVERHEAD * most / voxels)


def largest_crop(need: Footprint, free_bytes: float, config: TrainingConfig) -> int:
    """Find the largest crop for which the memory is enough, in voxels.

    Parameters
    ----------
    need : Footprint
        Of the method with the batch and width that were asked for.
    free_bytes : float
        Bytes that `available` found.
    config : TrainingConfig
        What was asked for.

    Raises
    ------
    ConfigError
        The crop that was asked for, or any at all, does not fit; names what would.
    """
    fits = need.voxels(SHARE * free_bytes)
    crop = rounded_up(config.patch_zyx or SMALLEST_CROP)
    if math.prod(crop) <= fits:
        return fits
    smaller = choose_patch(crop, int(fits / SLACK))
    width = config.width is None or config.width > 8
    ways = [
        f"--set patch_zyx={list(smaller)}" * (math.prod(smaller) <= fits),
        "--set width=8" * width,
        "--method supervised" * (config.method != "supervised"),
    ]
    remedy = " or ".join(way for way in ways if way) or "a machine with more memory"
    raise ConfigError(
        f"expected a training step that fits into {free_bytes / GB:.1f} GB of free "
        f"memory, found that {config.method!r} with crops of {list(crop)} voxels needs "
        f"about {need.of(math.prod(crop)) / GB:.1f} GB; close other programs, or use "
        f"{remedy}"
    )


def available(device: torch.device) -> float:
    """Measure the free memory of a device in bytes, within a container's limit."""
    if device.type == "cuda":
        # PyTorch keeps freed memory for later use.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + kept)
    if device.type == "mps":
        limit = torch.mps.recommended_max_memory()
        return float(limit - torch.mps.driver_allocated_memory())
    return free_memory()
