"""The decoder's maps that are stored with a prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_semiseg.core.prediction import LOWEST_LOG
from napari_semiseg.engine.inference import feature_maps
from napari_semiseg.engine.inference.predictor import Predictor
from napari_semiseg.engine.methods import base as plugin
from napari_semiseg.engine.methods import registry
from napari_semiseg.engine.methods.base import Inference
from napari_semiseg.engine.networks.blocks import Decoder, SegmentationNetwork

CPU = torch.device("cpu")


class LocalDecoder(Decoder):
    """Levels that depend on what is right below each voxel of them, and no more."""

    widths = (2, 1)

    def __init__(self):
        super().__init__()
        self.levels = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])

    def pyramid(self, features):
        coarse = functional.avg_pool3d(features[0], 4)
        coarse = self.levels[0](torch.cat([coarse, -coarse], dim=1))
        return [coarse, self.levels[1](features[0])]


class LocalNetwork(SegmentationNetwork):
    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Identity()
        self.decoder = LocalDecoder()


class Local:
    name = "local"

    def __init__(self, task):
        self.task = task

    def infer(self, teachers, image):
        for net in teachers.values():
            net.decoder.pyramid([image])
        p = torch.sigmoid(2 * image)
        both = torch.cat([1 - p, p], 1)
        return Inference(both, both, p * 0)


@pytest.fixture
def predictor(plan, task):
    two = plugin.Task(2, task.limit_voxels, task.width, task.strides)
    nets = {"one": LocalNetwork(), "other": LocalNetwork()}
    return Predictor(Local(two), nets, plan, CPU, feature_maps=True)


def smooth(shape: tuple[int, ...]) -> torch.Tensor:
    """A field that varies slowly, as windows of any offset must give it back."""
    grid = np.indices(shape).astype(np.float32)
    return torch.from_numpy(np.sin(grid[0] / 9) + np.cos(grid[1] / 11) + grid[2] / 20)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("shape", [(16, 16, 16), (24, 40, 20), (8, 30, 12)])
def test_every_level_is_that_of_the_whole_volume(predictor, shape) -> None:
    image = smooth(shape)
    predictor.maps(image[None].numpy())
    found = predictor._features.result()
    assert found.strides == ((4.0, 4.0, 4.0), (1.0, 1.0, 1.0))
    coarse, fine = found.levels
    assert fine.dtype == coarse.dtype == np.uint8
    assert fine.shape == (1, *shape)
    assert correlation(fine[0], image.numpy()) > 0.9999
    padding = [edge for size in shape[::-1] for edge in (0, -size % 4)]
    wide = functional.pad(image[None, None], padding, mode="replicate")
    whole = functional.avg_pool3d(wide, 4)[0, 0].numpy()
    assert coarse.shape == (2, *whole.shape)
    assert correlation(coarse[0], whole) > 0.98
    assert correlation(coarse[1], whole) < -0.98
    logs = LOWEST_LOG * (1 - found.log_probabilities / 255)
    p = torch.sigmoid(2 * image).numpy()
    assert np.allclose(np.exp(logs[1]), p, atol=0.03)


def test_a_large_volume_is_kept_on_a_coarser_grid(predictor, monkeypatch) -> None:
    shape = (24, 40, 20)
    monkeypatch.setattr(feature_maps, "MOST_BYTES", 12_000)
    image = smooth(shape)
    predictor.maps(image[None].numpy())
    found = predictor._features.result()
    arrays = (found.log_probabilities, *found.levels)
    assert sum(array.nbytes for array in arrays) <= 12_000
    assert found.log_probabilities.shape == (2, 12, 20, 10)
    assert found.strides == ((2.0, 2.0, 2.0), (1.0, 1.0, 1.0))
    whole = functional.avg_pool3d(image[None, None], 2)[0, 0].numpy()
    assert correlation(found.levels[1][0], whole) > 0.99


@pytest.mark.parametrize("architecture", ["vnet", "resenc_unet"])
def test_all_levels_of_our_networks_are_kept_and_nothing_else_changes(
    plan, task, architecture
) -> None:
    torch.manual_seed(0)
    method = registry.build(
        "supervised",
        {},
        plugin.Task(3, task.limit_voxels, 4, task.strides, architecture=architecture),
    )
    nets = method.networks()
    image = torch.randn(1, 20, 18, 16)
    with_maps = Predictor(method, nets, plan, CPU, feature_maps=True)
    without = Predictor(method, nets, plan, CPU)
    assert torch.equal(
        with_maps.maps(image.numpy()).probabilities,
        without.maps(image.numpy()).probabilities,
    )
    assert without._features is None
    levels = with_maps._features.result().levels
    assert [len(level) for level in levels] == [8, 4]
    assert levels[1].shape[1:] == image.shape[1:]
    (decoder,) = (
        m for net in nets.values() for m in net.modules() if isinstance(m, Decoder)
    )
    assert not any(level._forward_hooks for level in decoder.levels)
