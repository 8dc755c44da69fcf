"""Parts that architectures share: heads, decoders behind one encoder, the critic."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_semiseg.engine.networks.spec import Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_semiseg.engine.networks.spec import (
        Head,
        NetworkSpec,
        Stride,
        Upsampling,
    )

Module = TypeVar("Module", bound=nn.Module)

DROPOUT = (nn.Dropout, nn.Dropout3d)
NORMALISATION = (nn.BatchNorm3d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm)


class SegmentationNetwork(nn.Module):
    """What methods, warm start and prediction ask of a network.

    Attributes
    ----------
    encoder : Module
        Image (B, K, Z, Y, X) to a list of feature maps, finest first; the last of them
        describe a scan when scans are compared.
    """

    encoder: nn.Module

    def decode(self, features: list[Tensor], decoder: int = 0) -> Output:
        """Output of one decoder for the encoder's feature maps."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Output:
        """Image (B, K, Z, Y, X), each size a multiple of the product of strides."""
        return self.decode(self.encoder(image))

    def outputs(self, image: Tensor) -> list[Output]:
        """Output of each decoder, or of each level of a pyramid, finest last."""
        return [self(image)]

    def decoder_weights(self, decoder: int) -> list[nn.Parameter]:
        """Weights of one of several decoders, in the same order for each of them."""
        raise NotImplementedError

    def dropout_layers(self) -> list[nn.Module]:
        """Layers that are active in Monte Carlo passes."""
        return [part for part in self.modules() if isinstance(part, DROPOUT)]

    def norm_layers(self) -> list[nn.Module]:
        """Layers whose scales a warm start keeps."""
        return [part for part in self.modules() if isinstance(part, NORMALISATION)]


class Decoder(nn.Module):
    """Base of decoders.

    Attributes
    ----------
    widths : list of int
        Number of the maps of each level that `pyramid` returns.
    """

    widths: list[int]

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:
        """Decoded maps of every level but the coarsest, finest last."""
        raise NotImplementedError

    def forward(self, features: list[Tensor]) -> Tensor:
        """Feature maps, finest first, to the decoded maps of the finest level."""
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
            features=decoded,
        )


class EncoderDecoder(SegmentationNetwork):
    """One encoder, and a decoder with heads for each way of up-sampling."""

    def __init__(
        self,
        spec: NetworkSpec,
        encoder: nn.Module,
        decoder: Callable[[Upsampling], Decoder],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        decoders = [decoder(how) for how in spec.decoders]
        self.decoders = nn.ModuleList(decoders)
        self.heads = nn.ModuleList(
            Heads(one.widths[-1], spec.classes, spec.heads) for one in decoders
        )
        _initialise(self)

    def decode(self, features: list[Tensor], decoder: int = 0) -> Output:
        """One decoder and its heads on the encoder's feature maps."""
        output: Output = self.heads[decoder](self.decoders[decoder](features))
        return output

    def outputs(self, image: Tensor) -> list[Output]:
        """Output of each decoder."""
        features = self.encoder(image)
        return [self.decode(features, index) for index in range(len(self.decoders))]

    def decoder_weights(self, decoder: int) -> list[nn.Parameter]:
        """Weights of one decoder and its heads."""
        both = self.decoders[decoder], self.heads[decoder]
        return [weight for part in both for weight in part.parameters()]


class PyramidNetwork(SegmentationNetwork):
    """One encoder, and a decoder with heads at every level (URPC, Luo et al., 2021)."""

    def __init__(self, spec: NetworkSpec, encoder: nn.Module, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.heads = nn.ModuleList(
            Heads(width, spec.classes, spec.heads) for width in decoder.widths
        )
        _initialise(self)

    def decode(self, features: list[Tensor], decoder: int = 0) -> Output:
        """Output of the finest level."""
        output: Output = self.heads[-1](self.decoder(features))
        return output

    def outputs(self, image: Tensor) -> list[Output]:
        """Outputs of all levels, up-sampled to the image's size, finest last."""
        decoded = self.decoder.pyramid(self.encoder(image))
        found = []
        for heads, maps in zip(self.heads, decoded, strict=True):
            found.append(Output(*(_enlarged(part, image) for part in heads(maps)[:2])))
        return found


def _enlarged(maps: Tensor | None, like: Tensor) -> Tensor | None:
    if maps is None or maps.shape[2:] == like.shape[2:]:
        return maps
    return functional.interpolate(maps, like.shape[2:], mode="trilinear")


def assemble(
    spec: NetworkSpec, encoder: nn.Module, decoder: Callable[[Upsampling], Decoder]
) -> SegmentationNetwork:
    """Put a network together from an encoder and a maker of decoders."""
    if spec.pyramid:
        return PyramidNetwork(spec, encoder, decoder(spec.decoders[0]))
    return EncoderDecoder(spec, encoder, decoder)


def placed(network: Module, device: torch.device) -> Module:
    """Move a network to a device, in the memory layout that its crops have."""
    layout = torch.channels_last_3d
    return network.to(device, memory_format=layout)  # type: ignore[call-overload,no-any-return]


def _initialise(network: nn.Module) -> None:
    """He initialisation of convolutions, small weights in the heads."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    for module in network.modules():
        if isinstance(module, Heads):
            nn.init.normal_(module.head.weight, std=0.05)


def around(kernel: Stride) -> Stride:
    """Padding that keeps the size of maps under a kernel of odd sizes."""
    z, y, x = (size // 2 for size in kernel)
    return z, y, x


def upsampler(
    channels: int, target: int, stride: Stride, how: Upsampling
) -> list[nn.Module]:
    """Layers that up-sample ``channels`` maps to ``target`` ones."""
    if how == "transposed":
        return [nn.ConvTranspose3d(channels, target, stride, stride=stride)]
    mode = "trilinear" if how == "linear" else "nearest"
    scale = tuple(map(float, stride))
    return [nn.Conv3d(channels, target, 1), nn.Upsample(scale_factor=scale, mode=mode)]


class Critic(nn.Module):
    """Judges a crop as a whole: whether it is labelled (DAN, SASSNet), or how full.

    Strided convolutions and a global mean, so that any crop size will do.

    Parameters
    ----------
    channels : int
        Of all maps together.
    width : int
        Feature maps after the first convolution; they double twice.
    answers : int
        Number of its answers.
    """

    def __init__(self, channels: int, width: int, answers: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sizes = (channels, width, 2 * width, 4 * width)
        for source, target in itertools.pairwise(sizes):
            layers += [
                nn.Conv3d(source, target, 4, stride=2, padding=1),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.answer = nn.Linear(sizes[-1], answers)

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (B, ..., Z, Y, X) of a crop to logits (B, answers)."""
        features = self.features(torch.cat(maps, dim=1))
        score: Tensor = self.answer(features.float().mean(dim=(2, 3, 4)))
        return score


class Bottleneck(nn.Module):
    """Reads maps through a quarter of their resolution, without any skip.

    What it says of a voxel comes from the surroundings: a voxel-wise critic of
    predictions, or an autoencoder of labels.

    Parameters
    ----------
    channels, answers : int
        Maps that it reads and gives.
    width : int
        Feature maps at half the resolution; twice as many at a quarter.
    """

    def __init__(self, channels: int, width: int, answers: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for source, target, stride in (
            (channels, width, 2),
            (width, 2 * width, 2),
            (2 * width, 2 * width, 1),
        ):
            layers += [
                nn.Conv3d(source, target, 3, stride=stride, padding=1),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.answer = nn.Conv3d(2 * width, answers, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, channels, Z, Y, X) to scores (B, answers, Z, Y, X), float32."""
        coarse = self.answer(self.features(maps)).float()
        return functional.interpolate(coarse, maps.shape[2:], mode="trilinear")
