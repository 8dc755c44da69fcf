"""Tiny nets and synthetic volumes for the engine."""

from __future__ import annotations

import pytest
import torch

from engine.volumes import LIMIT_MM
from napari_semiseg.core.plan import Intensity, Plan
from napari_semiseg.engine.methods.base import Task
from napari_semiseg.engine.planning import memory
from napari_semiseg.engine.training import trainer


@pytest.fixture(autouse=True)
def _threads():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _measured_briefly(request, monkeypatch):
    """Measure little for a plan, which takes half of a training of a few steps.

    All is measured in the tests of the planning.
    """
    if "planning" not in request.path.parts:
        small = memory.Footprint(fixed=1e6, per_voxel=1e3)
        monkeypatch.setattr(memory, "footprint", lambda trial, voxels: small)
        monkeypatch.setattr(trainer, "MEASURED_STEPS", 2)


@pytest.fixture
def plan() -> Plan:
    return Plan(
        spacing_mm=(1.0, 1.0, 1.0),
        patch_zyx=(16, 16, 16),
        strides=((2, 2, 2), (2, 2, 2)),
        width=4,
        labelled_batch=2,
        unlabelled_batch=2,
        sdm_limit_mm=LIMIT_MM,
        channels=("image",),
        intensities=(Intensity(kind="zscore", cut=(0.5, 99.5), mean_std=(0.0, 1.0)),),
        device="cpu",
        precision="fp32",
        threads=1,
        optimiser="muon",
        learning_rate=0.05,
        steps=12,
        validate_every=100,
        reasons={},
    )


@pytest.fixture
def task(plan: Plan) -> Task:
    return Task(
        classes=3,
        limit_voxels=plan.sdm_limit_mm,
        width=plan.width,
        strides=plan.strides,
    )
