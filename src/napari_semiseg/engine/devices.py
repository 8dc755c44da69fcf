"""Which device is there, and how fast a training step runs on it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from napari_semiseg.errors import EngineMissing

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from napari_semiseg.core.config import Precision

DRIVER_ERRORS = (RuntimeError, AssertionError, AttributeError, OSError)
"""What looking for a device raises where its driver or PyTorch's part is broken."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device that can train. ``memory_gb`` is None where it is not known."""

    name: str
    title: str
    memory_gb: float | None


def describe_devices() -> list[DeviceInfo]:
    """List the devices of this machine, the best first."""
    found = []
    memory: float | None
    with suppress(*DRIVER_ERRORS):
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            memory = round(properties.total_memory / 2**30, 1)
            name = f"cuda:{index}" if index else "cuda"
            found.append(DeviceInfo(name, properties.name, memory))
    with suppress(*DRIVER_ERRORS):
        if torch.backends.mps.is_available() and _trains(torch.device("mps")):
            found.append(DeviceInfo("mps", "Apple GPU", None))
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    memory = round(pages * os.sysconf("SC_PAGE_SIZE") / 2**30, 1) if pages else None
    found.append(DeviceInfo("cpu", f"CPU, {cores()} cores", memory))
    return found


def _trains(device: torch.device) -> bool:
    """Tell whether PyTorch can train on a device; older ones cannot on MPS."""
    network = nn.Sequential(
        nn.Conv3d(1, 2, 2, stride=2),
        nn.BatchNorm3d(2),
        nn.ConvTranspose3d(2, 1, 2, stride=2),
        nn.AvgPool3d(3, 1, 1),
    )
    try:
        image = torch.rand((1, 1, 8, 8, 8), device=device)
        still = torch.eye(3, 4, device=device).unsqueeze(0)
        grid = functional.affine_grid(still, [*image.shape], align_corners=False)
        for mode in ("bilinear", "nearest"):
            image = functional.grid_sample(image, grid, mode, align_corners=False)
        network.to(device)(image.requires_grad_()).sum().backward()
    except RuntimeError:  # NotImplementedError is one
        return False
    return True


def cores() -> int:
    """Count the cores for this process, one of those torchrun or srun started here."""
    if hasattr(os, "sched_getaffinity"):
        found = len(os.sched_getaffinity(0))
    else:
        found = os.cpu_count() or 1
    found //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(found, int(os.environ.get("SLURM_CPUS_PER_TASK", found))))


def choose(device: str) -> torch.device:
    """Resolve "auto" and check that a named device is there.

    Raises
    ------
    EngineMissing
        The device is absent; says which are there.
    """
    device = "cuda" if device == "cuda:0" else device
    present = [info.name for info in describe_devices()]
    if device == "auto":
        return torch.device(present[0])
    if device == "mps" and device not in present and torch.backends.mps.is_available():
        raise EngineMissing(
            f"expected an Apple GPU that can train, found that PyTorch "
            f"{torch.__version__} lacks 3D operations on it; install a newer PyTorch, "
            f"or use --device {present[0]}"
        )
    if device not in present:
        raise EngineMissing(
            f"device {device!r} was asked for, but PyTorch {torch.__version__} finds "
            f"only {', '.join(present)} here; use --device {present[0]} or install a "
            f"PyTorch build for your GPU"
        )
    return torch.device(device)


def autocast(
    device: torch.device | str, precision: Precision
) -> AbstractContextManager[object]:
    """Run the forward pass in a plan's precision."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16")


def may_gain_by_bf16(device: str) -> bool:
    """Whether bf16 can be faster than fp32 on a kind of device.

    Without instructions for it a processor takes up to 30 times as long, so that
    measuring a few steps alone would take minutes. PyTorch multiplies bf16 by AVX-512
    or by ARM's SVE, and through older ones value by value.
    """
    if device == "cpu":
        slow = {"DEFAULT", "NO AVX", "AVX2"}
        return torch.backends.cpu.get_cpu_capability() not in slow
    return device != "mps"


def peak_gpu_mb() -> float:
    """Give the peak memory of this process on a CUDA device, 10^6 bytes."""
    if not torch.cuda.is_available():
        return 0.0
    return torch.cuda.max_memory_allocated() / 1e6


def synchronise(device: torch.device) -> None:
    """Wait for queued work, before looking at the clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
