"""The V-Net of the semi-supervised literature (Milletari et al., 2016).

As in UA-MT (Yu et al., 2019) and its successors, with batch normalisation and additive
skips; with several decoders as in MC-Net+ (Wu et al., 2022).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from napari_semiseg.engine.networks.blocks import Decoder, around, assemble, upsampler
from napari_semiseg.engine.networks.registry import Architecture

if TYPE_CHECKING:
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork
    from napari_semiseg.engine.networks.spec import NetworkSpec, Stride, Upsampling

CONVOLUTIONS_DOWN = (1, 2, 3, 3, 3)
CONVOLUTIONS_UP = (1, 2, 3, 3)
"""Convolutions per level, finest first."""
DROPOUT = 0.2
"""Part of the coarsest maps that is dropped."""


def _convolutions(
    channels_in: int, channels: int, count: int, kernel: Stride
) -> nn.Sequential:
    """``count`` times convolution, batch norm and ReLU."""
    layers: list[nn.Module] = []
    for index in range(count):
        source = channels_in if index == 0 else channels
        layers += [
            nn.Conv3d(source, channels, kernel, padding=around(kernel), bias=False),
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

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        width = spec.width
        first = _convolutions(
            spec.channels, width, CONVOLUTIONS_DOWN[0], spec.kernel(0)
        )
        self.levels = nn.ModuleList([first])
        self.downs = nn.ModuleList()
        for level, stride in enumerate(spec.strides):
            maps, below = width * 2**level, level + 1
            self.downs.append(_down(maps, stride))
            count, kernel = CONVOLUTIONS_DOWN[below], spec.kernel(below)
            self.levels.append(_convolutions(2 * maps, 2 * maps, count, kernel))
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

    def __init__(self, spec: NetworkSpec, how: Upsampling) -> None:
        super().__init__()
        self.ups = nn.ModuleList()
        self.levels = nn.ModuleList()
        levels = range(len(spec.strides) - 1, -1, -1)
        self.widths = [spec.width * 2**level for level in levels]
        for level, channels in zip(levels, self.widths, strict=True):
            self.ups.append(_up(2 * channels, spec.strides[level], how))
            count, kernel = CONVOLUTIONS_UP[level], spec.kernel(level)
            self.levels.append(_convolutions(channels, channels, count, kernel))

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
    return assemble(spec, VNetEncoder(spec), partial(VNetDecoder, spec))


ARCHITECTURE = Architecture(
    title="V-Net",
    cite="Milletari et al., 3DV 2016",
    build=build,
    offers=frozenset({"several decoders", "output pyramid", "dropout"}),
)
