"""The V-Net of the semi-supervised literature, with heads for mask and distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

Head = Literal["segmentation", "distance"]
Stride = tuple[int, int, int]

CONVOLUTIONS_DOWN = (1, 2, 3, 3, 3)
CONVOLUTIONS_UP = (1, 2, 3, 3)
"""Convolutions per level, finest first, of the V-Net of UA-MT and its successors."""


class Output(NamedTuple):
    """What a network says of a batch; a head that it lacks is None.

    Attributes
    ----------
    logits : Tensor (B, C, Z, Y, X)
        Segmentation scores before softmax; channel 0 is background.
    distance : Tensor (B, C, Z, Y, X)
        Signed distance per class, divided by the plan's limit, in [-1, 1],
        negative inside.
    """

    logits: Tensor | None
    distance: Tensor | None


def convolutions(channels_in: int, channels: int, count: int) -> nn.Sequential:
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


class Down(nn.Sequential):
    """Strided convolution that doubles the feature maps."""

    def __init__(self, channels: int, stride: Stride) -> None:
        super().__init__(
            nn.Conv3d(channels, 2 * channels, stride, stride=stride, bias=False),
            nn.BatchNorm3d(2 * channels),
            nn.ReLU(inplace=True),
        )


class Up(nn.Sequential):
    """Transposed convolution that halves the feature maps."""

    def __init__(self, channels: int, stride: Stride) -> None:
        super().__init__(
            nn.ConvTranspose3d(channels, channels // 2, stride, stride=stride),
            nn.BatchNorm3d(channels // 2),
            nn.ReLU(inplace=True),
        )


class Encoder(nn.Module):
    """Image to feature maps of every level, finest first."""

    def __init__(self, width: int, strides: Sequence[Stride], dropout: float) -> None:
        super().__init__()
        counts = CONVOLUTIONS_DOWN[: len(strides) + 1]
        self.levels = nn.ModuleList([convolutions(1, width, counts[0])])
        self.downs = nn.ModuleList()
        for level, stride in enumerate(strides):
            channels = width * 2**level
            self.downs.append(Down(channels, stride))
            self.levels.append(
                convolutions(2 * channels, 2 * channels, counts[level + 1])
            )
        self.dropout = nn.Dropout3d(dropout)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Image (B, 1, Z, Y, X) to one feature map per level."""
        features = [self.levels[0](image)]
        for down, level in zip(self.downs, self.levels[1:], strict=True):
            features.append(level(down(features[-1])))
        features[-1] = self.dropout(features[-1])
        return features


class Decoder(nn.Module):
    """Feature maps of every level back to the finest, with additive skips."""

    def __init__(self, width: int, strides: Sequence[Stride]) -> None:
        super().__init__()
        self.ups = nn.ModuleList()
        self.levels = nn.ModuleList()
        for level in reversed(range(len(strides))):
            channels = width * 2**level
            self.ups.append(Up(2 * channels, strides[level]))
            self.levels.append(convolutions(channels, channels, CONVOLUTIONS_UP[level]))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first, to (B, width, Z, Y, X)."""
        current = features[-1]
        skips = features[-2::-1]
        for up, level, skip in zip(self.ups, self.levels, skips, strict=True):
            current = level(up(current) + skip)
        return current


class VNet(nn.Module):
    """V-Net (Milletari et al., 2016) as in UA-MT (Yu et al., 2019), dual-task heads.

    Parameters
    ----------
    classes : int
        Number of classes C, background included.
    width : int
        Feature maps at the finest level; they double per level.
    strides : sequence of (z, y, x)
        Down-sampling between levels; at most four.
    heads : tuple of {"segmentation", "distance"}
        Which outputs to compute.
    dropout : float
        Channel dropout at the bottleneck (training and Monte Carlo passes only).
    """

    def __init__(
        self,
        classes: int,
        width: int,
        strides: Sequence[Stride],
        heads: tuple[Head, ...] = ("segmentation", "distance"),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.names = heads
        self.encoder = Encoder(width, strides, dropout)
        self.decoder = Decoder(width, strides)
        self.head = nn.Conv3d(width, classes * len(heads), 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.05)

    def decode(self, features: list[Tensor]) -> Output:
        """Heads on top of the encoder's feature maps; outputs are float32."""
        maps = self.head(self.decoder(features)).float().split(self.classes, dim=1)
        values: dict[str, Tensor] = dict(zip(self.names, maps, strict=True))
        distance = values.get("distance")
        return Output(
            logits=values.get("segmentation"),
            distance=None if distance is None else torch.tanh(distance),
        )

    def forward(self, image: Tensor) -> Output:
        """Image (B, 1, Z, Y, X), each size a multiple of the product of strides."""
        return self.decode(self.encoder(image))
