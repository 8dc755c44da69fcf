"""Encoder features, averaged over the windows of a scan."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_semiseg.engine.networks.blocks import SegmentationNetwork
from napari_semiseg.engine.networks.embedding import EmbeddingAccumulator


class Fixed(SegmentationNetwork):
    """A network whose encoder gives these maps."""

    def __init__(self, maps: torch.Tensor) -> None:
        super().__init__()
        self.encoder = nn.Identity()
        self.maps = maps

    def forward(self, _image: torch.Tensor) -> list[torch.Tensor]:
        features: list[torch.Tensor] = self.encoder([self.maps])
        return features


def add(embedding, maps, probabilities):
    network = Fixed(maps)
    with embedding.recording(network):
        network(probabilities)
    embedding.add(probabilities)


@pytest.mark.parametrize("places", [(2, 4, 3), (1, 8, 24), (8, 16, 1)])
def test_places_weigh_as_adaptive_pooling_says(places):
    """Which is not there on every device."""
    torch.manual_seed(0)
    embedding = EmbeddingAccumulator()
    total, weights = torch.zeros(5), 0.0
    for _ in range(3):
        maps, probabilities = torch.randn(1, 5, *places), torch.rand(1, 2, 8, 16, 24)
        add(embedding, maps, probabilities)
        weight = (
            functional.adaptive_avg_pool3d(1 - probabilities[:, :1], places)
            + EmbeddingAccumulator.FLOOR
        )
        total += (maps * weight).sum(dim=(0, 2, 3, 4))
        weights += float(weight.sum())
    torch.testing.assert_close(embedding.mean, total / weights)


def test_a_window_waits_for_no_device_and_needs_no_adaptive_pooling(monkeypatch):
    def lacking(*_args):
        raise NotImplementedError("adaptive pooling")

    monkeypatch.setattr(functional, "adaptive_avg_pool3d", lacking)
    embedding = EmbeddingAccumulator()
    # Tensors without values: to look at one is an error.
    maps, probabilities = torch.empty(1, 5, 1, 2, 2), torch.empty(1, 2, 8, 16, 16)
    add(embedding, maps.to("meta"), probabilities.to("meta"))
    add(embedding, maps.to("meta"), probabilities.to("meta"))
