"""Scans of a few slices, from the plan to the prediction."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from engine.methods.test_methods import METHODS, trainer
from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.networks.registry import halve
from napari_semiseg.engine.planning.plan import choose_patch
from napari_semiseg.project.project import Project
from synthetic import save_nifti


def disc(number, slices):
    """Where it is (i, j, k): elsewhere in every scan."""
    grid = np.indices((32, 32, slices))
    return np.hypot(grid[0] - 13 - 2 * number, grid[1] - 16) < 7


def discs(tmp_path, slices):
    """A project of three scans with a bright disc; two are labelled."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    for number in range(3):
        inside = disc(number, slices)
        noise = np.random.default_rng(number).normal(0, 10, inside.shape)
        name = f"scan_{number}.nii.gz"
        save_nifti(images / name, (100 * inside + noise).astype(np.int16))
        save_nifti(masks / name, inside.astype(np.uint8))
    project = Project.create(tmp_path / "thin", {"disc": 1})
    project.add(images)
    for name in ("scan_0", "scan_1"):
        project.set_label(name, masks / f"{name}.nii.gz")
    return project


@pytest.mark.parametrize(("slices", "edge"), [(3, 8), (5, 8), (10, 12)])
def test_a_scan_of_a_few_slices_is_learned_and_predicted(tmp_path, slices, edge):
    project = discs(tmp_path, slices)
    config = TrainingConfig(
        method="mean_teacher", steps=60, width=4, precision="fp32", device="cpu"
    )
    list(engine.train(project, config))
    run = project.latest_run()
    assert run.plan.patch_zyx == (edge, 32, 32)
    (case,) = project.cases(state="unlabelled")
    prediction = engine.predict(project, run, case)
    assert prediction.labels.shape == case.geometry.shape_zyx
    assert np.isfinite(prediction.uncertainty).all()
    truth = case.geometry.to_canonical(disc(2, slices))
    said = prediction.labels == 1
    both = 2 * (said & truth).sum()
    assert both / (said.sum() + truth.sum()) > 0.7


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("slices", [3, 10])
def test_every_method_takes_thin_crops(name, slices, task, plan):
    patch = choose_patch((slices, 24, 24), 10_000)
    strides = halve(patch, (1.0, 1.0, 1.0))
    thin = plan.model_copy(update={"patch_zyx": patch, "strides": strides})
    made = trainer(name, dataclasses.replace(task, strides=strides), thin)
    for _ in made.rehearse():
        assert all(torch.isfinite(one).all() for one in made.weights)
