"""Which devices are offered, and which one a model is used on."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine import api, devices
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
