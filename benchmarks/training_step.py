"""A training step (crops, augmentation, both passes, update) against MONAI's.

    python benchmarks/training_step.py

Both train on two crops of the same size from the same volumes. Ours is the method
`supervised` with mask and distance head; MONAI's is its VNet with DiceCELoss, its
random affine and intensity transforms and SGD, in its defaults (fp32, one head).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from cohort import plan, volume
from monai.data import list_data_collate
from monai.losses import DiceCELoss
from monai.networks.nets import VNet
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandShiftIntensityd,
)
from pairs import compare

from napari_semiseg.engine.data.sampler import Sampler, Streams
from napari_semiseg.engine.methods import base, registry
from napari_semiseg.engine.training.trainer import Trainer

CASES = [volume(seed) for seed in range(4)]


def ours(precision: str):
    """One step of the method `supervised`."""
    made = plan(precision)
    task = base.Task(2, 20.0, made.width, made.strides)
    sampler = Sampler(Streams(tuple(CASES), ()), made, 0)
    trainer = Trainer(
        registry.build("supervised", {}, task), sampler, made, 0, torch.device("cpu")
    )
    return lambda: trainer._advance(1000)


def theirs():
    """The same work with MONAI's parts."""
    keys, patch = ["image", "label"], plan("fp32").patch_zyx
    transform = Compose(
        [
            RandAffined(
                keys,
                prob=1.0,
                rotate_range=[math.radians(15)] * 3,
                scale_range=[0.15] * 3,
                spatial_size=patch,
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
            RandFlipd(keys, prob=0.5, spatial_axis=2),
            RandScaleIntensityd("image", factors=0.3, prob=1.0),
            RandShiftIntensityd("image", offsets=0.15, prob=1.0),
            RandAdjustContrastd("image", prob=0.4, gamma=(0.7, 1.5)),
            RandGaussianSmoothd("image", prob=0.25),
            RandGaussianNoised("image", prob=0.5, std=0.1),
        ]
    )
    network, loss = (
        VNet(in_channels=1, out_channels=2),
        DiceCELoss(to_onehot_y=True, softmax=True),
    )
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    state = {"step": 0}

    def step() -> None:
        picked = [CASES[(2 * state["step"] + i) % len(CASES)] for i in range(2)]
        state["step"] += 1
        batch = list_data_collate(
            [
                transform(
                    {
                        "image": torch.from_numpy(
                            np.asarray(case.image, dtype=np.float32)
                        )[None],
                        "label": torch.from_numpy(np.asarray(case.target))[
                            None
                        ].float(),
                    }
                )
                for case in picked
            ]
        )
        optimiser.zero_grad()
        loss(network(batch["image"]), batch["label"]).backward()
        optimiser.step()

    return step


if __name__ == "__main__":
    torch.manual_seed(0)
    for precision in ("fp32", "bf16"):
        compare(
            "training step, 2 crops of " + "x".join(map(str, plan("fp32").patch_zyx)),
            ours(precision),
            theirs(),
            peer="MONAI VNet, fp32",
            precision=precision,
            repeats=3,
        )
