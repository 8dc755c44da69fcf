"""The V-Net of the semi-supervised literature (Milletari et al., 2016).

As in UA-MT (Yu et al., 2019) and its successors, with batch normalisation and additive
skips; with several decoders as in MC-Net+ (Wu et al., 2022).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from napari_semiseg.engine.networks.blocks import Decoder, assemble, upsampler
from napari_semiseg.engine.networks.registry import Architecture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.engine.networks.blocks import SegmentationNetwork
    from napari_semiseg.engine.networks.spec import NetworkSpec, Stride, Upsampling

CONVOLUTIONS_DOWN = (1, 2, 3, 3, 3)
CONVOLUTIONS_UP = (1, 2, 3, 3)
"""Convolutions per level, finest first."""
DROPOUT = 0.2
"""Part of the coarsest maps that is dropped."""


def _convolutions(channels_in: int, channels: int, count: int) -> nn.Sequential:
    """``count`` times convolution 3^3, batch norm and ReLU."""
    layers: list[nn.Module] = []
    for index in range(count):
        source = channels_in if index == 0 else channels
        layers += [
            nn.Conv3d(source, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _down(channels: int, stride: Stride) -> nn.Sequential:
    """Strided convolution that doubles the feature maps."""
    return nn.Sequential(
        nn.Conv3d(channels, 2 * channels, stride, stride=stride, bias=False),
        nn.BatchNorm3d(2 * channels),
        nn.ReLU(inplace=True),
    )


def _up(channels: int, stride: Stride, how: Upsampling) -> nn.Sequential:
    """Up-sampling that halves the feature maps."""
    half = channels // 2
    layers = upsampler(channels, half, stride, how)
    return nn.Sequential(*layers, nn.BatchNorm3d(half), nn.ReLU(inplace=True))


class VNetEncoder(nn.Module):
    """Image to feature maps of every level, finest first."""

    def __init__(self, width: int, strides: Sequence[Stride], channels: int) -> None:
        super().__init__()
        counts = CONVOLUTIONS_DOWN[: len(strides) + 1]
        self.levels = nn.ModuleList([_convolutions(channels, width, counts[0])])
        self.downs = nn.ModuleList()
        for level, stride in enumerate(strides):
            maps = width * 2**level
            self.downs.append(_down(maps, stride))
            self.levels.append(_convolutions(2 * maps, 2 * maps, counts[level + 1]))
        self.dropout = nn.Dropout3d(DROPOUT)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Image (B, K, Z, Y, X) to one feature map per level."""
        features = [self.levels[0](image)]
        for down, level in zip(self.downs, self.levels[1:], strict=True):
            features.append(level(down(features[-1])))
        features[-1] = self.dropout(features[-1])
        return features


class VNetDecoder(Decoder):
    """Feature maps of every level back to the finest, with additive skips."""

    def __init__(self, width: int, strides: Sequence[Stride], how: Upsampling) -> None:
        super().__init__()
        self.ups = nn.ModuleList()
        self.levels = nn.ModuleList()
        self.widths = [width * 2**level for level in reversed(range(len(strides)))]
        for level, channels in zip(
            reversed(range(len(strides))), self.widths, strict=True
        ):
            self.ups.append(_up(2 * channels, strides[level], how))
            count = CONVOLUTIONS_UP[level]
            self.levels.append(_convolutions(channels, channels, count))

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Decoded maps of every level but the coarsest, finest last."""
        decoded = [features[-1]]
        for up, level, skip in zip(
            self.ups, self.levels, features[-2::-1], strict=True
        ):
            decoded.append(level(up(decoded[-1]) + skip))
        return decoded[1:]


def build(spec: NetworkSpec) -> SegmentationNetwork:
    """Make a V-Net with at most four strides; its maps double per level."""
    encoder = VNetEncoder(spec.width, spec.strides, spec.channels)
    return assemble(spec, encoder, partial(VNetDecoder, spec.width, spec.strides))


ARCHITECTURE = Architecture(
    title="V-Net",
    cite="Milletari et al., 3DV 2016",
    build=build,
    offers=frozenset({"several decoders", "output pyramid", "dropout"}),
)
