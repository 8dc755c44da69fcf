"""Whole-volume inference against MONAI's sliding window with the same network.

    python benchmarks/inference.py

Both average two mirrored views and weight windows with a Gaussian, half a window
apart. Ours also returns distance and gap, which MONAI's gets no credit for.
"""

from __future__ import annotations

import numpy as np
import torch
from cohort import plan, volume
from monai.inferers import sliding_window_inference
from pairs import compare

from napari_semiseg.engine.data.sampler import Sampler, Streams
from napari_semiseg.engine.inference.predictor import Predictor
from napari_semiseg.engine.methods import base, perturbations, registry
from napari_semiseg.engine.methods.dual_task import segmentation
from napari_semiseg.engine.training.trainer import Trainer
from napari_semiseg.imaging.sliding_window import STEP


def trained(steps: int = 25) -> Trainer:
    """A network that has learned something, so that a Dice means something."""
    made = plan("bf16")
    task = base.Task(2, 20.0, made.width, made.strides)
    cases = [volume(seed) for seed in range(4)]
    trainer = Trainer(
        registry.build("supervised", {}, task),
        Sampler(Streams(tuple(cases), ()), made, 0),
        made,
        0,
        torch.device("cpu"),
    )
    for _ in range(steps):
        trainer._advance(steps)
    return trainer


def main() -> None:
    torch.manual_seed(0)
    trainer = trained()
    network = trainer.networks.teachers["student"].eval()
    plain = perturbations.frozen_copy(network).to(memory_format=torch.contiguous_format)
    large = volume(9, (64, 112, 144))
    image = torch.from_numpy(large.image.astype(np.float32))
    patch = plan("bf16").patch_zyx
    found: dict[str, np.ndarray] = {}

    def both_views(window: torch.Tensor) -> torch.Tensor:
        return 0.5 * (
            segmentation(plain(window)) + segmentation(plain(window.flip(4))).flip(4)
        )

    def theirs() -> None:
        with torch.inference_mode():
            maps = sliding_window_inference(
                image[None], patch, 1, both_views, overlap=1 - STEP, mode="gaussian"
            )
        found["theirs"] = maps[0].argmax(0).numpy()

    for precision in ("fp32", "bf16"):
        made = plan(precision)
        task = base.Task(2, 20.0, made.width, made.strides)
        predictor = Predictor(
            registry.build("supervised", {}, task),
            {"student": network},
            made,
            torch.device("cpu"),
        )

        def ours(predictor: Predictor = predictor) -> None:
            found["ours"] = (
                predictor.maps(image.numpy()).probabilities.argmax(0).numpy()
            )

        ours()
        theirs()
        dice = {}
        for name, labels in found.items():
            both = (labels == 1) & (large.target == 1)
            dice[name] = round(
                float(2 * both.sum() / ((labels == 1).sum() + large.target.sum())), 4
            )
        compare(
            "inference of 64x112x144",
            ours,
            theirs,
            peer="MONAI sliding_window_inference, fp32",
            precision=precision,
            repeats=2,
            dice_ours=dice["ours"],
            dice_peer=dice["theirs"],
        )


if __name__ == "__main__":
    main()
