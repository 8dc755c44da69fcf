"""What a prediction costs by the size of the volume: seconds and peak memory.

    python benchmarks/volume_size.py [--all]

A small network with a working grid as fine as the scan, which costs most; each size in
a process of its own. ``--all`` goes on to 512x512x600, which takes a long time without
a GPU; that its memory is bounded is seen before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
from pairs import machine

SIZES = ((64, 64, 64), (128, 128, 128), (128, 256, 256), (600, 256, 256))
LARGE = ((300, 512, 512), (600, 512, 512))
PATCH = (96, 128, 128)
SPACING_MM = 0.8


def write_scan(path: Path, shape: tuple[int, int, int]) -> None:
    """A bright ball in noise, written slice by slice."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 20, shape[1:]).astype(np.int16)
    y, x = np.ogrid[: shape[1], : shape[2]]
    radius = min(shape) / 4
    voxels = np.empty(shape[::-1], np.int16, order="F")
    for z in range(shape[0]):
        away = (y - shape[1] / 2) ** 2 + (x - shape[2] / 2) ** 2
        inside = away + (z - shape[0] / 2) ** 2 < radius**2
        voxels[..., z] = (np.where(inside, 200, 0) + np.roll(noise, z, 0)).T
    affine = np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1.0])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def predict(folder: Path) -> None:
    """Predict the scan of a folder and store it; prints a JSON object."""
    import torch

    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.plan import Intensity, Plan
    from napari_semiseg.engine.inference.predictor import Predictor
    from napari_semiseg.engine.methods import base, perturbations, registry
    from napari_semiseg.engine.networks.registry import halve
    from napari_semiseg.engine.planning.plan import choose_patch
    from napari_semiseg.experiments.worker import peak_memory_mb
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

    project = Project.create(folder / "project", {"ball": 1})
    project.add(folder / "scan.nii")
    case = project.case("scan")
    patch, spacing = choose_patch(PATCH, int(np.prod(PATCH))), (SPACING_MM,) * 3
    plan = Plan(
        spacing_mm=spacing,
        patch_zyx=patch,
        strides=halve(patch, spacing),
        width=4,
        labelled_batch=2,
        unlabelled_batch=0,
        sdm_limit_mm=10 * SPACING_MM,
        channels=("image",),
        intensities=(
            Intensity(kind="ct", cut=(-100.0, 300.0), mean_std=(100.0, 50.0)),
        ),
        device="cpu",
        precision="fp32",
        threads=torch.get_num_threads(),
        learning_rate=0.1,
        steps=1,
        validate_every=1,
        reasons={},
    )
    torch.manual_seed(0)
    task = base.Task(2, 20.0, plan.width, plan.strides)
    learner = registry.build("supervised", {}, task)
    networks = {
        name: perturbations.frozen_copy(net) for name, net in learner.networks().items()
    }
    predictor = Predictor(learner, networks, plan, torch.device("cpu"))
    run = Run.create(project, TrainingConfig(steps=1))
    idle = peak_memory_mb()
    start = time.perf_counter()
    prediction = predictor.predict(case, project.labels, run.id, 1)
    seconds = time.perf_counter() - start
    run.write_prediction(prediction, case.image)
    print(
        json.dumps(
            {
                "what": "prediction of " + "x".join(map(str, case.geometry.shape_zyx)),
                "seconds": round(seconds, 1),
                "written_s": round(time.perf_counter() - start - seconds, 1),
                "peak_memory_mb": round(peak_memory_mb()),
                "of_it_before_mb": round(idle),
                **machine(),
            }
        )
    )


def main() -> None:
    if sys.argv[1:2] == ["--folder"]:
        predict(Path(sys.argv[2]))
        return
    for shape in SIZES + LARGE * ("--all" in sys.argv):
        with tempfile.TemporaryDirectory() as parent:
            write_scan(Path(parent) / "scan.nii", shape)
            subprocess.run([sys.executable, __file__, "--folder", parent], check=True)


if __name__ == "__main__":
    main()
