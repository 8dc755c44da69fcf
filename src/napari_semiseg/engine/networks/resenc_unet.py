"""A U-Net with a residual encoder, as nnU-Net recommends it.

Isensee et al., "nnU-Net revisited: a call for rigorous validation in 3D medical image
segmentation", MICCAI 2024, with the residual blocks of He et al., CVPR 2016, in the
variant that averages before it projects (He et al., "Bag of tricks", CVPR 2019). Most
of the work is in the encoder; each level of the decoder has one convolution. Each crop
is normalised by itself. Departures: at most five levels, as many as the plan of a crop
has, and channel dropout at the coarsest, for methods with Monte Carlo passes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_semiseg.engine.networks.blocks import Decoder, around, assemble, upsampler
from napari_semiseg.engine.networks.registry import Architecture

if TYPE_CHECKING:
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork
    from napari_semiseg.engine.networks.spec import NetworkSpec, Stride, Upsampling

BLOCKS = (1, 3, 4, 6, 6)
"""Residual blocks per level, finest first, as of ResEnc L."""
MOST_MAPS = 320
DROPOUT = 0.2
"""Part of the coarsest maps that is dropped."""


def level_widths(spec: NetworkSpec) -> list[int]:
    """Count the feature maps of each level, finest first."""
    levels = range(len(spec.strides) + 1)
    return [min(spec.width * 2**level, MOST_MAPS) for level in levels]


def _convolution(
    source: int, target: int, kernel: Stride, stride: Stride = (1, 1, 1)
) -> nn.Sequential:
    """Convolution and instance norm."""
    return nn.Sequential(
        nn.Conv3d(source, target, kernel, stride, padding=around(kernel), bias=False),
        nn.InstanceNorm3d(target, affine=True),
    )


def _activation() -> nn.Module:
    return nn.LeakyReLU(0.01, inplace=True)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut that is averaged and projected as needed."""

    def __init__(
        self, source: int, target: int, kernel: Stride, stride: Stride = (1, 1, 1)
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(source, target, kernel, stride),
            _activation(),
            _convolution(target, target, kernel),
        )
        shortcut: list[nn.Module] = []
        if max(stride) > 1:
            shortcut.append(nn.AvgPool3d(stride, stride))
        if source != target:
            shortcut.append(_convolution(source, target, (1, 1, 1)))
        self.shortcut = nn.Sequential(*shortcut)
        self.activation = _activation()

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, source, Z, Y, X) to (B, target, Z / stride, ...)."""
        result: Tensor = self.activation(self.body(maps) + self.shortcut(maps))
        return result


class ResidualEncoder(nn.Module):
    """Image to feature maps of every level, finest first."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        widths = level_widths(spec)
        stem = _convolution(spec.channels, widths[0], spec.kernel(0))
        self.stem = nn.Sequential(stem, _activation())
        self.levels = nn.ModuleList()
        source = widths[0]
        every = ((1, 1, 1), *spec.strides)
        for level, (width, stride, count) in enumerate(
            zip(widths, every, BLOCKS, strict=False)
        ):
            kernel = spec.kernel(level)
            blocks = [ResidualBlock(source, width, kernel, stride)]
            blocks += [ResidualBlock(width, width, kernel) for _ in range(count - 1)]
            self.levels.append(nn.Sequential(*blocks))
            source = width
        self.dropout = nn.Dropout3d(DROPOUT)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Image (B, K, Z, Y, X) to one feature map per level."""
        features = [self.stem(image)]
        for level in self.levels:
            features.append(level(features[-1]))
        return [*features[1:-1], self.dropout(features[-1])]


class UNetDecoder(Decoder):
    """Feature maps of every level back to the finest, with concatenated skips."""

    def __init__(self, spec: NetworkSpec, how: Upsampling) -> None:
        super().__init__()
        *finer, source = level_widths(spec)
        self.widths = finer[::-1]
        self.ups = nn.ModuleList()
        self.levels = nn.ModuleList()
        levels = range(len(spec.strides) - 1, -1, -1)
        for level, width in zip(levels, self.widths, strict=True):
            up = upsampler(source, width, spec.strides[level], how)
            self.ups.append(nn.Sequential(*up))
            convolution = _convolution(2 * width, width, spec.kernel(level))
            self.levels.append(nn.Sequential(convolution, _activation()))
            source = width

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Decoded maps of every level but the coarsest, finest last."""
        decoded = [features[-1]]
        for up, level, skip in zip(
            self.ups, self.levels, features[-2::-1], strict=True
        ):
            decoded.append(level(torch.cat([up(decoded[-1]), skip], dim=1)))
        return decoded[1:]


def build(spec: NetworkSpec) -> SegmentationNetwork:
    """Make a residual-encoder U-Net with at most four strides."""
    return assemble(spec, ResidualEncoder(spec), partial(UNetDecoder, spec))


ARCHITECTURE = Architecture(
    title="Residual-encoder U-Net",
    cite="Isensee et al., MICCAI 2024",
    build=build,
    offers=frozenset({"several decoders", "output pyramid", "dropout"}),
)
