"""What an encoder says of a scan, averaged over windows."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_semiseg.engine.networks.blocks import SegmentationNetwork
from napari_semiseg.engine.networks.embedding import Encoded


class Said(SegmentationNetwork):
    """Stands for a network whose encoder says these maps."""

    def __init__(self, maps: torch.Tensor) -> None:
        super().__init__()
        self.encoder = nn.Identity()
        self.maps = maps

    def forward(self, _image: torch.Tensor) -> list[torch.Tensor]:
        said: list[torch.Tensor] = self.encoder([self.maps])
        return said


def take(encoded, maps, probabilities):
    network = Said(maps)
    with encoded.of(network):
        network(probabilities)
    encoded.take(probabilities)


@pytest.mark.parametrize("places", [(2, 4, 3), (1, 8, 24), (8, 16, 1)])
def test_places_weigh_as_adaptive_pooling_says(places):
    """Which is not there on every device."""
    torch.manual_seed(0)
    encoded = Encoded()
    total, weights = torch.zeros(5), 0.0
    for _ in range(3):
        maps, said = torch.randn(1, 5, *places), torch.rand(1, 2, 8, 16, 24)
        take(encoded, maps, said)
        weight = functional.adaptive_avg_pool3d(1 - said[:, :1], places) + Encoded.FLOOR
        total += (maps * weight).sum(dim=(0, 2, 3, 4))
        weights += float(weight.sum())
    torch.testing.assert_close(encoded.mean, total / weights)


def test_a_window_waits_for_no_device_and_needs_no_adaptive_pooling(monkeypatch):
    def lacking(*_args):
        raise NotImplementedError("adaptive pooling")

    monkeypatch.setattr(functional, "adaptive_avg_pool3d", lacking)
    encoded = Encoded()
    # Tensors without values: to look at one is an error.
    maps, said = torch.empty(1, 5, 1, 2, 2), torch.empty(1, 2, 8, 16, 16)
    take(encoded, maps.to("meta"), said.to("meta"))
    take(encoded, maps.to("meta"), said.to("meta"))
