"""What masks of another program, and bad ones, add to a few labels.

    python benchmarks/untrusted.py DATA LABELLED UNTRUSTED SCORED --out OUT

DATA has scans in ``imagesTr`` and masks in ``labelsTr``; the other three are lists of
ids. The masks of UNTRUSTED are made worse, eroded by two voxels and with a third of
their slices missing, and proposed by ``semiseg propose``. One JSON object per training:
mean Dice of the true masks of SCORED. ``--set`` as in ``semiseg train``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import ndimage

import napari_semiseg as ss
from napari_semiseg.engine.api import predict_cases
from napari_semiseg.io.masks import read_labels, write_labels

ERODED_VOXELS = 2
MISSING = 1 / 3


def made_worse(project: ss.Project, names: list[str], data: Path, out: Path) -> None:
    """Write worse masks of cases."""
    out.mkdir()
    for at, case in enumerate(map(project.case, names)):
        mask = read_labels(data / "labelsTr" / f"{case.id}.nii.gz", case.geometry)
        inside = ndimage.binary_erosion(mask > 0, iterations=ERODED_VOXELS)
        there = np.flatnonzero(inside.any(axis=(1, 2)))
        rng = np.random.default_rng(at)
        inside[rng.choice(there, round(MISSING * there.size), replace=False)] = False
        mask[~inside] = 0
        write_labels(out / f"{case.id}.nii.gz", mask, case.geometry, case.image)


def project_of(data: Path, lists: list[list[str]], out: Path) -> ss.Project:
    """Label the first list, propose masks of the second, keep the third for tests."""
    if (out / "project" / "project.toml").exists():
        return ss.Project.open(out / "project")
    project = ss.Project.create(out / "project", {"structure": 1})
    for names in lists:
        paths = [data / "imagesTr" / f"{name}.nii.gz" for name in names]
        project.add(*paths, split="test" if names is lists[2] else "train")
    for name in lists[0]:
        project.set_label(name, data / "labelsTr" / f"{name}.nii.gz")
    made_worse(project, lists[1], data, out / "worse")
    ss.propose(project, masks=out / "worse")
    return project


def mean_dice(project: ss.Project, run: ss.Run, names: list[str], data: Path) -> float:
    """Predict cases, and compare with their true masks."""
    cases, found = [project.case(name) for name in names], []
    for _ in predict_cases(project, run, cases, maps=False):
        pass
    for case in cases:
        truth = read_labels(data / "labelsTr" / f"{case.id}.nii.gz", case.geometry)
        _, mask = run.read_mask(case.id, case.geometry)
        both = np.count_nonzero(mask & truth)
        found.append(2 * both / (np.count_nonzero(mask) + np.count_nonzero(truth)))
    return float(np.mean(found))


def main() -> None:
    """Train with and without, for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("lists", type=Path, nargs=3)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--method", default="supervised")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    lists = [path.read_text().split() for path in asked.lists]
    project = project_of(asked.data, lists, asked.out)
    settings = dict(text.split("=", 1) for text in asked.settings)
    for seed in asked.seeds:
        for share in asked.shares:
            config = ss.TrainingConfig.build(
                settings,
                method=asked.method,
                steps=asked.steps,
                seed=seed,
                untrusted=share,
            )
            *_, last = ss.train(project, config)
            dice = mean_dice(project, project.run(last.run), lists[2], asked.data)
            row = {"untrusted": share, "seed": seed, "dice": round(dice, 4)}
            print(json.dumps(row | {"seconds": round(last.seconds)}), flush=True)


if __name__ == "__main__":
    main()
