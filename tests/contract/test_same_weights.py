"""A training gives the very weights that it gave before, to the last bit.

So that they depend on the code alone and not on the processor, they are trained by a
child process with one thread and with the kernels of the oldest processors, and by a
plan that leaves nothing to be measured.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import napari_semiseg as ss
from contract.snapshots import HERE
from synthetic import ball, save_nifti

if TYPE_CHECKING:
    from pathlib import Path

    from contract.snapshots import Snapshots

pytestmark = pytest.mark.engine

FILE = "weights.json"
CONFIG: dict[str, Any] = {
    "steps": 8,
    "seed": 0,
    "device": "cpu",
    "precision": "fp32",
    "width": 4,
    "spacing_mm": [2, 2, 2],
    "patch_zyx": [8, 8, 8],
    "labelled_batch": 1,
    "unlabelled_batch": 1,
    "learning_rate": 0.05,
    "checkpoint_seconds": 0,  # an event each step
    "look_seconds": 1e6,
}
METHODS: dict[str, dict[str, Any]] = {
    "supervised": {"method": "supervised"},
    "dtml": {"method": "dtml"},
    "auto": {
        "method": "auto",
        # The first half with labels alone; then every prediction is a pseudo label.
        "params": {
            "begin": 0.5,
            "least_entropy_ratio": 0,
            "threshold": 0.5,
            "largest_gap": 1,
        },
    },
}


@pytest.fixture
def project(tmp_path: Path) -> ss.Project:
    """Two labelled cases, a partly labelled one, and two others; of two classes."""
    project = ss.Project.create(tmp_path / "project", {"ball": 1, "shell": 2})
    for number in range(5):
        mask = ball(number)
        mask[:, :, :11] *= 2
        name = f"case_{number}.nii.gz"
        # No generator: whole numbers from a sum are the same everywhere.
        grid = np.indices(mask.shape)
        noise = (grid * np.array([7, 11, 13]).reshape(3, 1, 1, 1)).sum(axis=0) % 17
        image = 40 * mask.astype(np.int16) + noise.astype(np.int16) + number
        save_nifti(tmp_path / "images" / name, image)
        save_nifti(tmp_path / "masks" / name, mask)
    project.add(tmp_path / "images")
    for name in ("case_0", "case_1", "case_2"):
        project.set_label(name, tmp_path / "masks" / f"{name}.nii.gz")
    partial = project.case("case_2").read_label()
    assert partial is not None
    partial[14:] = 255
    project.set_label("case_2", partial)
    return project


def baseline() -> dict[str, str]:
    """The environment in which the same is computed on every processor of a kind."""
    steered = ("OMP_", "MKL_", "OPENBLAS_", "DNNL_", "ONEDNN_", "ATEN_", "NPY_", "KMP_")
    env = {key: text for key, text in os.environ.items() if not key.startswith(steered)}
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return env | {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "DNNL_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Prescott",
        "NPY_DISABLE_CPU_FEATURES": ",".join(extensions.get("found", ())),
        # The mathematics of the C library chooses by processor, too.
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-FMA,-FMA4",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
    }


def machine() -> str:
    """What decides which kernels there are."""
    from importlib.metadata import version

    release = version("torch").partition("+")[0]
    return f"torch {release}, {platform.system()} {platform.machine()}"


def test_weights_are_those_of_before(project: ss.Project, snapshots: Snapshots) -> None:
    words = [
        f"{name}={json.dumps(CONFIG | method)}" for name, method in METHODS.items()
    ]
    child = [sys.executable, HERE / "train_child.py", project.folder, *words]
    done = subprocess.run(
        [str(word) for word in child],
        env=baseline(),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    for name, values in found.items():
        assert values["step"] == len(values["losses"]) == CONFIG["steps"], name
    assert "pseudo_labels" in found["auto"]["losses"][-1]
    assert found["auto"]["losses"][-1]["pseudo_labels"] > 0
    known = snapshots.keys(FILE)
    if machine() not in known and not snapshots.renew:
        pytest.skip(f"weights are known of {known}, not of {machine()}")
    snapshots.check(FILE, machine(), found)
