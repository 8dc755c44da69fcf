"""Dice of nnU-Net v2 in the same minutes, on the same cores, with the same labels.

    python benchmarks/peers.py DATA --labelled LIST --test LIST --minutes 20 --out DIR

Needs `pip install nnunetv2` beside the package. Give the lists and minutes that
`semiseg bench` was given, and the same cores (`taskset`). nnU-Net plans,
preprocesses, trains from the labelled cases alone and predicts as it would by its
own commands; what differs is that its polynomial decay of the learning rate ends with
the minutes instead of after 1,000 epochs. `--spacing` and `--voxels` let it plan with
our voxel size and crops no larger than ours. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from pairs import machine

from napari_semiseg.experiments.benchmark.dataset import RawDataset
from napari_semiseg.imaging.metrics import evaluate_labels
from napari_semiseg.io.masks import read_labels

FOLDERS = ("raw", "preprocessed", "results")
NAME, NUMBER = "Dataset001_Peer", 1
SMALLEST_GB = 0.05


def asked() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--label", action="append", default=[], help="VALUE=NAME")
    parser.add_argument("--labelled", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--spacing", type=float, nargs=3, help="mm, z y x")
    parser.add_argument("--voxels", type=int, help="of a crop, at most")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def prepare(data: RawDataset, names: list[str], values: dict[str, int], out: Path):
    """Describe the labelled cases as nnU-Net expects it, without copying them."""
    raw = out / "raw" / NAME
    raw.mkdir(parents=True, exist_ok=True)
    cases = {
        name: {
            "images": [str(data.image(name))],
            "label": str(data.folder / "labelsTr" / f"{name}.nii.gz"),
        }
        for name in names
    }
    described = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, **values},
        "numTraining": len(names),
        "file_ending": ".nii.gz",
        "dataset": cases,
    }
    (raw / "dataset.json").write_text(json.dumps(described, indent=1))


def plan(ask: argparse.Namespace) -> dict:
    """Let nnU-Net plan; its memory target is lowered until the crop is small enough."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    api.extract_fingerprint_dataset(NUMBER, num_processes=1, check_dataset_integrity=0)
    target = 8.0
    while True:
        plans, _ = api.plan_experiment_dataset(
            NUMBER,
            gpu_memory_target_in_gb=target,
            overwrite_target_spacing=ask.spacing,
            overwrite_plans_name="nnUNetPlans",
        )
        crop = plans["configurations"][ask.configuration]["patch_size"]
        small = ask.voxels is None or np.prod(crop) <= 1.25 * ask.voxels
        if small or target < SMALLEST_GB:
            break
        target *= 0.8
    api.preprocess_dataset(
        NUMBER, configurations=[ask.configuration], num_processes=[1]
    )
    return plans


def train(ask: argparse.Namespace, plans: dict, described: dict):
    """Train for the minutes; gives the trainer and its number of steps."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    begun, device = time.perf_counter(), torch.device("cpu")
    trainer = nnUNetTrainer(
        {**plans, "continue_training": False},
        ask.configuration,
        "all",
        described,
        device,
    )
    trainer.plot_network_architecture = lambda: None
    trainer.on_train_start()
    trainer.network.train()
    steps = 0
    while (gone := (time.perf_counter() - begun) / (60 * ask.minutes)) < 1:
        trainer.lr_scheduler.step(gone * trainer.num_epochs)
        trainer.train_step(next(trainer.dataloader_train))
        steps += 1
    return trainer, steps


def predict(trainer, data: RawDataset, names: list[str], out: Path) -> None:
    """Predict with nnU-Net's defaults: half a window of overlap, mirrored views."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=trainer.device, allow_tqdm=False)
    trainer.set_deep_supervision_enabled(False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        "nnUNetTrainer",
        trainer.inference_allowed_mirroring_axes,
    )
    (out / "masks").mkdir(exist_ok=True)
    predictor.predict_from_files_sequential(
        [[str(data.image(name))] for name in names],
        [str(out / "masks" / name) for name in names],
    )


def main() -> None:
    """Prepare, plan, train, predict, score."""
    ask = asked()
    folders = {f"nnUNet_{part}": str(ask.out.resolve() / part) for part in FOLDERS}
    os.environ.update(folders)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    labelled, test = (path.read_text().split() for path in (ask.labelled, ask.test))
    data = RawDataset.open(ask.data)
    scheme = data.scheme(ask.label, labelled)
    prepare(data, labelled, {item.name: item.value for item in scheme}, ask.out)
    plans = plan(ask)
    os.environ.update({"nnUNet_n_proc_DA": "0"})  # crops are made in this process
    described = json.loads((ask.out / "raw" / NAME / "dataset.json").read_text())
    trainer, steps = train(ask, plans, described)
    predict(trainer, data, test, ask.out)
    scores = []
    for name in test:
        grid = data.read_image(name).geometry
        mask = read_labels(ask.out / "masks" / f"{name}.nii.gz", grid)
        found = evaluate_labels(mask, data.read_mask(name, grid), grid, scheme)
        scores.append([metrics.dice for metrics in found.values()])
    used = plans["configurations"][ask.configuration]
    row = {
        "peer": "nnU-Net v2",
        "configuration": ask.configuration,
        "crop": [int(edge) for edge in used["patch_size"]],
        "batch": used["batch_size"],
        "spacing": [round(float(edge), 3) for edge in used["spacing"]],
        "minutes": ask.minutes,
        "steps": steps,
        "dice": round(float(np.mean(scores)), 4),
        "worst_case": round(float(np.min(np.mean(scores, axis=1))), 4),
        "by_class": [round(float(one), 4) for one in np.mean(scores, axis=0)],
        **machine("torch", "nnunetv2"),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
