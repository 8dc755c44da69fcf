"""Where the time of a training step goes, and how near to the processor's limits.

    python benchmarks/profile_step.py [--crop 40,64,80] [--precision bf16]

A step of the method `supervised` on synthetic volumes. The share of each kind of
operation is its own processor time over that of a step. Peaks are what a matrix
product of 2,048 x 2,048 and a copy of 256 MB reach in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import torch
from cohort import SPACING_MM, plan, volume
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from napari_semiseg.engine.data.sampler import Sampler, Streams
from napari_semiseg.engine.methods import base, registry
from napari_semiseg.engine.networks.registry import halve
from napari_semiseg.engine.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 7
KINDS = {
    "convolution": ("conv",),
    "normalisation": ("batch_norm",),
    "augmentation": ("grid_sampler", "affine_grid", "avg_pool3d"),
    "softmax, losses": ("log_softmax", "softmax", "nll_loss"),
    "activation": ("relu", "threshold"),
    "copies, layout": ("copy_", "clone", "cat", "to_copy", "fill_", "zero_"),
    "update": ("_foreach", "lerp", "norm", "mm"),
}


def median_seconds(work: Callable[[], object]) -> float:
    """Median processor time of a few calls after one that warms up."""
    work()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def peaks(precision: str) -> tuple[float, float]:
    """Floating point operations and bytes that a second of a core reaches."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    edge, words = 2048, 2**25
    first, second = (torch.randn(edge, edge, dtype=dtype) for _ in range(2))
    source, target = torch.ones(words), torch.empty(words)
    product = median_seconds(lambda: first @ second)
    copied = median_seconds(lambda: target.copy_(source))
    return 2 * edge**3 / product, 2 * 4 * words / copied


def kind_of(name: str) -> str:
    """Kind of an operation."""
    found = (kind for kind, parts in KINDS.items() if any(p in name for p in parts))
    return next(found, "other")


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crop", default="40,64,80")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"))
    asked = parser.parse_args()
    patch = tuple(int(size) for size in asked.crop.split(","))
    made = plan(asked.precision).model_copy(
        update={"patch_zyx": patch, "strides": halve(patch, (SPACING_MM,) * 3)}
    )
    cases = tuple(volume(seed) for seed in range(4))
    sampler = Sampler(Streams(cases, ()), made, 0)
    task = base.Task(2, 20.0, made.width, made.strides)
    learner = registry.build("supervised", {}, task)
    trainer = Trainer(learner, sampler, made, 0, torch.device("cpu"))

    step = median_seconds(lambda: trainer._advance(1000))
    batch = median_seconds(lambda: sampler.batch(trainer.step, torch.device("cpu")))
    read = median_seconds(lambda: sampler.read(trainer.step))
    with FlopCounterMode(display=False) as counter:
        trainer._advance(1000)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(REPEATS):
            trainer._advance(1000)
    shares: dict[str, float] = defaultdict(float)
    for row in profiled.key_averages():
        shares[kind_of(row.key)] += row.self_cpu_time_total
    total = sum(shares.values())
    flops, bandwidth = peaks(asked.precision)
    found = {
        "work": f"training step, 2 crops of {asked.crop.replace(',', 'x')}",
        "precision": asked.precision,
        "threads": torch.get_num_threads(),
        "processor_s": round(step, 4),
        "reading_share": round(read / step, 3),
        "batch_share": round(batch / step, 3),
        "shares": {
            kind: round(value / total, 3)
            for kind, value in sorted(shares.items(), key=lambda one: -one[1])
        },
        "gflop": round(counter.get_total_flops() / 1e9, 1),
        "gflop_per_s": round(counter.get_total_flops() / step / 1e9, 1),
        "peak_gflop_per_s": round(flops / 1e9, 1),
        "of_peak": round(counter.get_total_flops() / step / flops, 3),
        "peak_gb_per_s": round(bandwidth / 1e9, 1),
        "torch": torch.__version__,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
