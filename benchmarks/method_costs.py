"""What a step of each method costs, over one of `supervised`.

    python benchmarks/method_costs.py [METHOD ...]

Steps at the end of a training, where every term counts, on random crops: two labelled
ones, and as many others as the method asks for. Processor time, so that other programs
count little.
"""

from __future__ import annotations

import sys
import time

import torch
from cohort import SPACING_MM, plan

from napari_semiseg.engine.data.sampler import SyntheticBatches
from napari_semiseg.engine.methods import base, registry
from napari_semiseg.engine.networks.registry import halve
from napari_semiseg.engine.training.trainer import LONG, Trainer

REPEATS = 4
EDGES = (32, 32, 32)


def seconds(name: str) -> float:
    """Shortest of a few steps, after one that warms up."""
    made = plan("fp32").model_copy(
        update={
            "patch_zyx": EDGES,
            "strides": halve(EDGES, (SPACING_MM,) * 3),
            "width": 8,
            "unlabelled_batch": base.METHODS.find(name).unlabelled,
        }
    )
    task = base.Task(3, 10.0, made.width, made.strides)
    learner = registry.build(name, {}, task)
    trainer = Trainer(learner, SyntheticBatches(made, 3), made, 0, torch.device("cpu"))
    trainer.step = int(0.9 * LONG)
    found = []
    for _ in range(1 + REPEATS):
        began = time.process_time()
        trainer._advance(LONG)
        found.append(time.process_time() - began)
    return min(found[1:])


if __name__ == "__main__":
    reference = seconds("supervised")
    print("| method | seconds | cost |\n|---|---|---|")
    for name in sys.argv[1:] or registry.methods():
        took = seconds(name)
        print(f"| `{name}` | {took:.3f} | {took / reference:.1f} |", flush=True)
