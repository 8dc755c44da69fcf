"""Which devices are offered, and which one a model is used on."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine import api, devices
from napari_semiseg.engine.distributed import Ranks, place
from napari_semiseg.errors import EngineMissing
from napari_semiseg.project.runs.run import Run


def lacking(*_args, **_kwargs):
    raise NotImplementedError("not implemented for the MPS device")


def only_bilinear(image, grid, mode, *, align_corners, sample=functional.grid_sample):
    if mode != "bilinear":
        lacking()
    return sample(image, grid, mode, align_corners=align_corners)


@pytest.fixture
def apple(monkeypatch):
    """A Mac whose GPU is, for want of one, the processor."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    trains = devices._trains
    monkeypatch.setattr(devices, "_trains", lambda _: trains(torch.device("cpu")))


def test_an_apple_gpu_that_can_train_is_taken(apple):
    assert [one.name for one in devices.describe_devices()] == ["mps", "cpu"]
    assert devices.choose("auto").type == devices.choose("mps").type == "mps"


@pytest.mark.parametrize(
    ("owner", "name", "instead"),
    [
        (functional, "grid_sample", lacking),
        (functional, "grid_sample", only_bilinear),
        (nn.Conv3d, "forward", lacking),
        (nn.ConvTranspose3d, "forward", lacking),
        (nn.BatchNorm3d, "forward", lacking),
        (nn.AvgPool3d, "forward", lacking),
        (torch.Tensor, "backward", lacking),
    ],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_an_apple_gpu_that_lacks_a_part_of_a_step_is_not(
    apple, monkeypatch, owner, name, instead
):
    monkeypatch.setattr(owner, name, instead)
    assert [one.name for one in devices.describe_devices()] == ["cpu"]
    assert devices.choose("auto").type == "cpu"
    with pytest.raises(EngineMissing, match=r"newer PyTorch, or use --device cpu$"):
        devices.choose("mps")


def test_nothing_is_tried_where_there_is_no_apple_gpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(devices, "_trains", None)
    assert "mps" not in [one.name for one in devices.describe_devices()]


@pytest.mark.parametrize(
    ("asked", "sought"),
    [
        ("cpu", ["cpu"]),  # its owner knows why: the GPU may be full
        ("auto", ["auto"]),
        ("cuda", ["cuda", "auto"]),  # trained on another machine
    ],
)
def test_a_model_predicts_where_it_was_trained(
    ball_project, monkeypatch, asked, sought
):
    config = TrainingConfig(method="supervised", steps=1, width=4, precision="fp32")
    list(engine.train(ball_project, config))
    config = config.model_copy(update={"device": asked})
    monkeypatch.setattr(Run, "config", property(lambda _: config))
    asked_for = []

    def choose(name):
        asked_for.append(name)
        if name == "cuda":
            raise EngineMissing("no such device here")
        return torch.device("cpu")

    monkeypatch.setattr(devices, "choose", choose)
    api.load_predictor(ball_project, ball_project.latest_run())
    assert asked_for == sought


@pytest.mark.parametrize(
    ("local", "seen", "taken"),
    [(1, 4, "cuda:1"), (3, 4, "cuda:3"), (1, 1, "cuda:0"), (3, 1, "cuda:0")],
)
def test_a_rank_takes_its_own_gpu_of_those_that_it_sees(
    local, seen, taken, monkeypatch
):
    made, group = [], object()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    monkeypatch.setattr(torch.cuda, "set_device", made.append)
    monkeypatch.setattr(
        torch.distributed, "new_group", lambda **_: group, raising=False
    )
    ranks, device = place(Ranks(local, 4, local), torch.device("cuda"))
    assert device == torch.device(taken)
    assert made == [device]
    assert ranks.group is group


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({}, 8),
        ({"LOCAL_WORLD_SIZE": "2"}, 4),
        ({"LOCAL_WORLD_SIZE": "16"}, 1),
        ({"SLURM_CPUS_PER_TASK": "3"}, 3),
        ({"SLURM_CPUS_PER_TASK": "64"}, 8),
    ],
)
def test_each_rank_counts_its_own_cores(environment, part, monkeypatch):
    for name in ("LOCAL_WORLD_SIZE", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert devices.cores() == part
