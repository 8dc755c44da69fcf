"""The V-Net of the semi-supervised literature, with heads for mask and distance."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

Head = Literal["segmentation", "distance"]
Upsampling = Literal["transposed", "linear", "nearest"]
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
    """Up-sampling that halves the feature maps, in one of three ways."""

    def __init__(self, channels: int, stride: Stride, how: Upsampling) -> None:
        half = channels // 2
        layers: list[nn.Module]
        if how == "transposed":
            layers = [nn.ConvTranspose3d(channels, half, stride, stride=stride)]
        else:
            mode = "trilinear" if how == "linear" else "nearest"
            layers = [
                nn.Conv3d(channels, half, 1),
                nn.Upsample(scale_factor=tuple(map(float, stride)), mode=mode),
            ]
        super().__init__(*layers, nn.BatchNorm3d(half), nn.ReLU(inplace=True))


class Encoder(nn.Module):
    """Image to feature maps of every level, finest first."""

    def __init__(
        self, width: int, strides: Sequence[Stride], dropout: float, channels: int
    ) -> None:
        super().__init__()
        counts = CONVOLUTIONS_DOWN[: len(strides) + 1]
        self.levels = nn.ModuleList([convolutions(channels, width, counts[0])])
        self.downs = nn.ModuleList()
        for level, stride in enumerate(strides):
            maps = width * 2**level
            self.downs.append(Down(maps, stride))
            self.levels.append(convolutions(2 * maps, 2 * maps, counts[level + 1]))
        self.dropout = nn.Dropout3d(dropout)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Image (B, K, Z, Y, X) to one feature map per level."""
        features = [self.levels[0](image)]
        for down, level in zip(self.downs, self.levels[1:], strict=True):
            features.append(level(down(features[-1])))
        features[-1] = self.dropout(features[-1])
        return features


class Decoder(nn.Module):
    """Feature maps of every level back to the finest, with additive skips."""

    def __init__(
        self, width: int, strides: Sequence[Stride], how: Upsampling = "transposed"
    ) -> None:
        super().__init__()
        self.ups = nn.ModuleList()
        self.levels = nn.ModuleList()
        for level in reversed(range(len(strides))):
            channels = width * 2**level
            self.ups.append(Up(2 * channels, strides[level], how))
            self.levels.append(convolutions(channels, channels, CONVOLUTIONS_UP[level]))

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Decoded maps of every level but the coarsest, finest last."""
        current = features[-1]
        skips = features[-2::-1]
        decoded = []
        for up, level, skip in zip(self.ups, self.levels, skips, strict=True):
            current = level(up(current) + skip)
            decoded.append(current)
        return decoded

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first, to (B, width, Z, Y, X)."""
        return self.pyramid(features)[-1]


class Heads(nn.Module):
    """Decoded maps to class scores and signed distances, returned in float32."""

    def __init__(self, width: int, classes: int, names: tuple[Head, ...]) -> None:
        super().__init__()
        self.classes = classes
        self.names = names
        self.head = nn.Conv3d(width, classes * len(names), 1)

    def forward(self, decoded: Tensor) -> Output:
        """Maps (B, width, Z, Y, X) to an output of the same size."""
        # A class behind the other, as targets are: losses mix them voxel by voxel.
        maps = self.head(decoded).float().contiguous().split(self.classes, dim=1)
        values: dict[str, Tensor] = dict(zip(self.names, maps, strict=True))
        distance = values.get("distance")
        return Output(
            logits=values.get("segmentation"),
            distance=None if distance is None else torch.tanh(distance),
        )


def initialise(network: nn.Module) -> None:
    """He initialisation of convolutions, small weights in the heads."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    for module in network.modules():
        if isinstance(module, Heads):
            nn.init.normal_(module.head.weight, std=0.05)


class VNet(nn.Module):
    """V-Net (Milletari et al., 2016) as in UA-MT (Yu et al., 2019), dual-task heads.

    With several ways of up-sampling it has as many decoders behind one encoder, as
    MC-Net+ (Wu et al., 2022) has; the first of them answers.

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
    upsampling : tuple of {"transposed", "linear", "nearest"}
        One decoder each.
    channels : int
        Number of images K of a case.
    """

    def __init__(
        self,
        classes: int,
        width: int,
        strides: Sequence[Stride],
        heads: tuple[Head, ...] = ("segmentation", "distance"),
        dropout: float = 0.2,
        upsampling: tuple[Upsampling, ...] = ("transposed",),
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(width, strides, dropout, channels)
        self.decoders = nn.ModuleList(
            Decoder(width, strides, how) for how in upsampling
        )
        self.heads = nn.ModuleList(Heads(width, classes, heads) for _ in upsampling)
        initialise(self)

    def decode(self, features: list[Tensor], decoder: int = 0) -> Output:
        """One decoder and its heads on the encoder's feature maps."""
        output: Output = self.heads[decoder](self.decoders[decoder](features))
        return output

    def forward(self, image: Tensor) -> Output:
        """Image (B, K, Z, Y, X), each size a multiple of the product of strides."""
        return self.decode(self.encoder(image))

    def outputs(self, image: Tensor) -> list[Output]:
        """What each decoder says of an image."""
        features = self.encoder(image)
        return [self.decode(features, index) for index in range(len(self.decoders))]


class PyramidVNet(nn.Module):
    """V-Net with heads at the finest levels of the decoder (URPC, Luo et al., 2021).

    Parameters are those of `VNet`.
    """

    def __init__(
        self,
        classes: int,
        width: int,
        strides: Sequence[Stride],
        dropout: float = 0.2,
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(width, strides, dropout, channels)
        self.decoder = Decoder(width, strides)
        names: tuple[Head, ...] = ("segmentation", "distance")
        self.heads = nn.ModuleList(
            Heads(width * 2**level, classes, names)
            for level in reversed(range(len(strides)))
        )
        initialise(self)

    def forward(self, image: Tensor) -> Output:
        """The finest output."""
        output: Output = self.heads[-1](self.decoder(self.encoder(image)))
        return output

    def outputs(self, image: Tensor) -> list[Output]:
        """Outputs of all levels, up-sampled to the image's size, finest last."""
        decoded = self.decoder.pyramid(self.encoder(image))
        found = []
        for heads, maps in zip(self.heads, decoded, strict=True):
            output: Output = heads(maps)
            assert output.logits is not None
            assert output.distance is not None
            found.append(
                Output(
                    _enlarged(output.logits, image), _enlarged(output.distance, image)
                )
            )
        return found


def _enlarged(maps: Tensor, like: Tensor) -> Tensor:
    if maps.shape[2:] == like.shape[2:]:
        return maps
    return functional.interpolate(maps, like.shape[2:], mode="trilinear")


class Critic(nn.Module):
    """Tells labelled from unlabelled outputs (DAN, Zhang et al., 2017; SASSNet).

    Strided convolutions and a global mean, so that any crop size will do.

    Parameters
    ----------
    channels : int
        Of the maps and the image together.
    width : int
        Feature maps after the first convolution; they double twice.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sizes = (channels, width, 2 * width, 4 * width)
        for source, target in itertools.pairwise(sizes):
            layers += [
                nn.Conv3d(source, target, 4, stride=2, padding=1),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.answer = nn.Linear(sizes[-1], 1)

    def forward(self, maps: Tensor, image: Tensor) -> Tensor:
        """Logit (B,) that the maps belong to a labelled crop."""
        features = self.features(torch.cat([maps, image], dim=1))
        score: Tensor = self.answer(features.float().mean(dim=(2, 3, 4)))[:, 0]
        return score
