"""A U-Net whose coarsest maps attend to each other.

After TransBTS (Wang et al., "TransBTS: multimodal brain tumor segmentation using
transformer", MICCAI 2021): convolutions down, a transformer on what they leave, a
decoder with skips. Departures: each level is a single residual block; the two coarsest
levels have transformer blocks; positions come from a depth-wise convolution (Chu et
al., "Conditional positional encodings", ICLR 2023), so that crops of any size will do.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from napari_semiseg.engine.networks.blocks import assemble
from napari_semiseg.engine.networks.registry import Architecture
from napari_semiseg.engine.networks.resenc_unet import (
    ResidualBlock,
    UNetDecoder,
    level_widths,
)

if TYPE_CHECKING:
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork
    from napari_semiseg.engine.networks.spec import NetworkSpec

ATTENTIVE = 2
"""Coarsest levels with attention."""
BLOCKS = 2
"""Transformer blocks of such a level."""
HEAD_WIDTH = 32
"""Maps of an attention head, or more: narrower ones cost far more than they see."""
DROPOUT = 0.2


class TransformerBlock(nn.Module):
    """Self-attention over all places of the maps, then a perceptron at each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = math.gcd(width, max(1, width // HEAD_WIDTH))
        self.position = nn.Conv3d(width, width, 3, padding=1, groups=width)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.projection = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, width, Z, Y, X) to maps of the same size."""
        maps = maps + self.position(maps)
        places = maps.flatten(2).transpose(1, 2)
        batch, count, width = places.shape
        parts = self.projection(self.norms[0](places)).view(
            batch, count, 3, self.heads, width // self.heads
        )
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value)
        places = places + self.output(seen.transpose(1, 2).flatten(2))
        places = places + self.perceptron(self.norms[1](places))
        result: Tensor = places.transpose(1, 2).reshape(maps.shape)
        return result


class HybridEncoder(nn.Module):
    """Image to feature maps of every level, finest first."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        widths = level_widths(spec)
        self.levels = nn.ModuleList()
        source = spec.channels
        convolutional = max(1, len(widths) - ATTENTIVE)
        for level, (width, stride) in enumerate(
            zip(widths, ((1, 1, 1), *spec.strides), strict=True)
        ):
            first = ResidualBlock(source, width, spec.kernel(level), stride)
            parts: list[nn.Module] = [first]
            if level >= convolutional:
                parts += [TransformerBlock(width) for _ in range(BLOCKS)]
            self.levels.append(nn.Sequential(*parts))
            source = width
        self.dropout = nn.Dropout3d(DROPOUT)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Image (B, K, Z, Y, X) to one feature map per level."""
        features = [image]
        for level in self.levels:
            features.append(level(features[-1]))
        return [*features[1:-1], self.dropout(features[-1])]


def build(spec: NetworkSpec) -> SegmentationNetwork:
    """Make a hybrid network with at most four strides."""
    return assemble(spec, HybridEncoder(spec), partial(UNetDecoder, spec))


ARCHITECTURE = Architecture(
    title="Hybrid transformer U-Net",
    cite="after Wang et al., TransBTS, MICCAI 2021",
    build=build,
    offers=frozenset({"several decoders", "output pyramid", "dropout"}),
)
