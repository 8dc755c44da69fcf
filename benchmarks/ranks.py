"""Speed-up of a training in N processes over one, for the same batches.

    python benchmarks/ranks.py 2            # one core a process: N cores must be free
    python benchmarks/ranks.py 4 --device cuda

Each batch has 2 N labelled crops; one process takes them all, or each of N takes two.
The target is a speed-up of 0.85 N.
"""

from __future__ import annotations

import argparse
import os
import time

import torch
from cohort import plan, volume

from napari_semiseg.engine.data.sampler import Sampler, Streams
from napari_semiseg.engine.devices import synchronise
from napari_semiseg.engine.distributed import join, place
from napari_semiseg.engine.methods import base, registry
from napari_semiseg.engine.training.trainer import Trainer

STEPS, WARM_UP = 8, 2
PORT = 29_871


def measure(rank: int, size: int, batch: int, device: str, times) -> None:
    """Train a few steps as one rank of several."""
    if size > 1:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(PORT),
        }
    if device == "cpu" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    ranks, chosen = place(join(), torch.device(device))
    made = plan("fp32").model_copy(update={"labelled_batch": batch, "threads": 1})
    streams = Streams(tuple(volume(seed) for seed in range(4)), ())
    trainer = Trainer(
        registry.build("supervised", {}, base.Task(2, 20.0, made.width, made.strides)),
        Sampler(streams, made, 0, rank=ranks.rank, ranks=ranks.size),
        made,
        0,
        chosen,
        ranks=ranks,
    )
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            synchronise(chosen)
            begun = time.perf_counter()
        trainer._advance(1000)
    synchronise(chosen)
    if ranks.is_first:
        times[size] = (time.perf_counter() - begun) / STEPS


def main() -> None:
    """Measure one process, then N."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    asked = parser.parse_args()
    if asked.device == "cpu" and len(os.sched_getaffinity(0)) < asked.n:
        parser.error(f"expected {asked.n} free cores, found fewer")
    times = torch.multiprocessing.Manager().dict()
    for size in (1, asked.n):
        torch.multiprocessing.spawn(
            measure, (size, 2 * asked.n, asked.device, times), nprocs=size
        )
        print(f"{size} processes: {times[size]:.3f} s a step")
    speed_up = times[1] / times[asked.n]
    print(f"speed-up {speed_up:.2f}, {speed_up / asked.n:.2f} of {asked.n}")


if __name__ == "__main__":
    main()
