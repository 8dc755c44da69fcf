"""Statistics that batch normalisation predicts with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_semiseg.engine.inference.own_statistics import (
    batch_norm_layers,
    own_statistics,
)

pytestmark = pytest.mark.engine


@pytest.fixture
def layer() -> nn.BatchNorm3d:
    layer = nn.BatchNorm3d(3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0, 0.5]))
        layer.bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
        layer.running_mean.copy_(torch.tensor([0.5, -1.0, 2.0]))
        layer.running_var.copy_(torch.tensor([1.0, 4.0, 0.25]))
    return layer.eval()


def view(values: torch.Tensor) -> torch.Tensor:
    return values.view(1, -1, 1, 1, 1)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mean_and_variance_are_mixed(layer, share) -> None:
    crop = 3 * torch.randn(1, 3, 4, 5, 6) + 1
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    usual = layer(crop)
    with own_statistics([layer], share) as apart:
        found = layer(crop)
    variance, mean = torch.var_mean(crop, (0, 2, 3, 4))
    far = ((mean - layer.running_mean).abs() / layer.running_var.sqrt()).mean()
    torch.testing.assert_close(torch.stack(apart), far[None], rtol=1e-4, atol=0)
    mean = (1 - share) * layer.running_mean + share * mean
    variance = (1 - share) * layer.running_var + share * variance
    wanted = (crop - view(mean)) / view(variance + layer.eps).sqrt()
    wanted = wanted * view(layer.weight) + view(layer.bias)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(layer(crop), usual)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


class Adaptive(nn.Module):
    def __init__(self, layer: nn.BatchNorm3d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, crop, share):
        with own_statistics([self.layer], share) as apart:
            return self.layer(crop), torch.stack(apart).mean()


def test_an_exported_layer_does_the_same_with_any_share(layer) -> None:
    crop = torch.randn(1, 3, 4, 5, 6)
    network = Adaptive(layer).eval()
    exported = torch.export.export(network, (crop, torch.tensor(0.1))).module()
    for share in (torch.tensor(0.0), torch.tensor(0.4)):
        for mine, theirs in zip(
            exported(crop, share), network(crop, share), strict=True
        ):
            torch.testing.assert_close(mine, theirs)


def test_layers_that_know_no_statistics_are_left_alone(layer) -> None:
    network = nn.Sequential(nn.InstanceNorm3d(3), layer, nn.GroupNorm(1, 3))
    assert batch_norm_layers([network, nn.ReLU()]) == [layer]
