"""From a command to its first sign of life: help, and the first step of a training.

    python benchmarks/job_start.py

Seconds of whole child processes, as the panel starts them, beside those of an empty
Python and of ``import torch`` alone. Planning and measuring the speed of the machine
are part of the way to the first step.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from cohort import SPACING_MM, volume
from pairs import machine, timed

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.execution.executor import start_training
from napari_semiseg.execution.follow import follow
from napari_semiseg.execution.local import LocalExecutor
from napari_semiseg.project.project import Project

SEMISEG = [sys.executable, "-m", "napari_semiseg"]
PROCESSES = {
    "an empty Python": [sys.executable, "-c", "pass"],
    "import torch": [sys.executable, "-c", "import torch"],
    "semiseg --help": [*SEMISEG, "--help"],
    "semiseg methods": [*SEMISEG, "methods", "--json"],
}


def training(folder: Path) -> dict[str, float]:
    """Seconds from the press of the button to the events of the run."""
    import nibabel

    project = Project.create(folder / "project", {"ball": 1})
    affine = np.diag([-SPACING_MM, -SPACING_MM, SPACING_MM, 1.0])
    for number in range(4):
        made = volume(number)
        path = folder / f"scan{number}.nii.gz"
        image = (100 * made.image.astype(np.float32)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(image.T, affine), path)
        project.add(path)
        if number < 2:
            assert made.target is not None
            project.set_label(path.name.removesuffix(".nii.gz"), made.target)
    begun = time.time()
    config = TrainingConfig(minutes=2)
    run, handle = start_training(LocalExecutor(), project, config)
    seen: dict[str, float] = {}
    for event in follow(run, handle, poll_s=0.05):
        seen.setdefault(event.type, round(event.at - begun, 2))
        if event.type == "stepped":
            break
    run.request_stop()
    while handle.poll() is None:
        time.sleep(0.05)
    return {f"{name}_s": seen[name] for name in ("started", "planned", "stepped")}


def main() -> None:
    for name, words in PROCESSES.items():
        times = [
            timed(
                lambda words=words: subprocess.run(
                    words, check=True, stdout=subprocess.DEVNULL
                )
            )
            for _ in range(3)
        ]
        row = {"what": name, "seconds": round(min(times), 2)}
        print(json.dumps(row | machine()), flush=True)
    with tempfile.TemporaryDirectory() as parent:
        row = {"what": "training, 4 scans of 48x80x96", **training(Path(parent))}
        print(json.dumps(row | machine()), flush=True)


if __name__ == "__main__":
    main()
