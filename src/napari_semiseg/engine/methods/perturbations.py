"""Pieces that several methods share: ramps, averaged copies, noise, transforms."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

from napari_semiseg.engine.lazy_torch import functional, torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from napari_semiseg.engine.networks.blocks import SegmentationNetwork

NOISE = 0.1
"""Standard deviation of what `add_noise` adds, in those of the image."""
AVERAGED = 0.1
"""EMA warm-up: fraction of past steps that sets the averaging window until `ema_decay`
takes over."""


def gaussian_ramp(fraction: float) -> float:
    """Weight exp(-5 (1 - t)^2) of Laine and Aila (2017), 1 from t = 1 on."""
    return math.exp(-5.0 * (1.0 - min(max(fraction, 0.0), 1.0)) ** 2)


def frozen_copy(module: SegmentationNetwork) -> SegmentationNetwork:
    """A copy in evaluation mode that no optimiser will move."""
    return copy.deepcopy(module).requires_grad_(requires_grad=False).eval()


def update_average(
    average: nn.Module, module: nn.Module, step: int, decay: float
) -> None:
    """Exponential moving average (Tarvainen and Valpola, 2017) over 1/(1-decay) steps.

    At first it is over a tenth of the ``step`` done, which count from 0. Over all of
    them, min(1 - 1/(t+1), decay), it lags in a short training: 60 steps with 8 atria
    had Dice 0.74 instead of 0.80. The statistics of the normalisation are averaged as
    the weights are.
    """
    alpha = min(1.0 - 1.0 / (1.0 + AVERAGED * step), decay)
    averages, values = _averaged(average), _averaged(module)
    with torch.no_grad():
        torch._foreach_mul_(averages, alpha)
        torch._foreach_add_(averages, values, alpha=1.0 - alpha)


def _averaged(module: nn.Module) -> list[Tensor]:
    """Weights and statistics, but not counters."""
    everything = (*module.parameters(), *module.buffers())
    return [tensor for tensor in everything if tensor.is_floating_point()]


def soft_mask(distance: Tensor, steepness: float) -> Tensor:
    """Class probabilities from signed distances: T(phi) = softmax(-k phi / 2).

    For two classes whose distances are each other's negative this is
    sigmoid(-k phi), the transform of DTC (Luo et al., 2021, Eq. 2) and DTML.

    Parameters
    ----------
    distance : Tensor (B, C, Z, Y, X)
        Signed distance per class over the plan's limit, negative inside.
    steepness : float
        k; 2 * limit / voxel size gives 0.88 one voxel inside.
    """
    return torch.softmax(-0.5 * steepness * distance.float(), dim=1)


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy over classes divided by ln C: (B, C, ...) to (B, 1, ...), in [0, 1]."""
    p = probabilities.float()
    total = -(p * torch.log(p.clamp_min(1e-8))).sum(dim=1, keepdim=True)
    return (total / math.log(p.shape[1])).clamp(0.0, 1.0)


def gap(first: Tensor, second: Tensor) -> Tensor:
    """Half the L1 distance of two class distributions: (B, 1, ...), in [0, 1]."""
    return 0.5 * (first.float() - second.float()).abs().sum(dim=1, keepdim=True)


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Soft Dice of the structures in two class distributions, () in [0, 1].

    2 sum(min(p, q)) / sum(p + q) over all classes but the background; near 1 where
    neither has any.
    """
    one, other = first.float()[:, 1:], second.float()[:, 1:]
    both = torch.minimum(one, other).sum()
    return (2.0 * both + 1.0) / (one.sum() + other.sum() + 1.0)


def add_noise(image: Tensor) -> Tensor:
    """Gaussian noise clipped at two sigma, the perturbation of UA-MT's teacher."""
    noise = torch.randn_like(image) * NOISE
    return image + noise.clamp(-2 * NOISE, 2 * NOISE)


def monte_carlo(
    network: SegmentationNetwork, passes: int, forward: Callable[[], Tensor]
) -> Tensor:
    """Mean of ``passes`` stochastic forwards with dropout active."""
    dropouts = network.dropout_layers()
    for part in dropouts:
        part.train()
    try:
        with torch.no_grad():
            mean = forward()
            for _ in range(passes - 1):
                mean = mean + forward()
    finally:
        for part in dropouts:
            part.eval()
    return mean / passes


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """p^(1/T) over its sum: the temperature sharpening of MC-Net (Wu et al., 2021)."""
    return torch.softmax(
        probabilities.float().clamp_min(1e-6).log() / temperature, dim=1
    )


def confident(probabilities: Tensor, threshold: float) -> Tensor:
    """Where the largest probability reaches a threshold: (B, 1, Z, Y, X), bool."""
    return probabilities.amax(dim=1, keepdim=True) >= threshold


def weak_to_strong(image: Tensor, where: Tensor, strength: float = 1.0) -> Tensor:
    """Contrast, brightness, noise and blur of normalised crops (B, K, Z, Y, X).

    The geometry stays, so that a prediction of the weak view is a target here. Each
    channel of a crop draws its own view from PyTorch's generator. Voxels that are not
    ``where`` (B, 1, Z, Y, X), such as padding, stay as they are. ``strength`` may be
    from 0, no change, to 2.
    """

    def draw(low: float, high: float) -> Tensor:
        shape = (*image.shape[:2], 1, 1, 1)
        return torch.empty(shape, device=image.device).uniform_(low, high)

    contrast = draw(1.0 - 0.4 * strength, 1.0 + 0.5 * strength)
    view = image * contrast + draw(-0.5 * strength, 0.5 * strength)
    blurred = functional.avg_pool3d(view, 3, 1, 1, count_include_pad=False)
    view = torch.lerp(
        view, blurred, draw(-1.0, 1.0).clamp_min(0.0) * min(strength, 1.0)
    )
    noise = draw(-0.3, 0.4).clamp_min(0.0) * strength
    view = view + noise * torch.randn_like(view)
    return torch.where(where, view, image)


def swap_low_frequencies(image: Tensor, other: Tensor, share: float) -> Tensor:
    """Give crops the slow changes in brightness of others (FDA, Yang & Soatto, 2020).

    Amplitudes of the lowest ``share`` of the frequencies along each axis come from
    ``other``, phases stay. Both are (B, K, Z, Y, X).
    """
    axes = (2, 3, 4)
    spectrum, source = (torch.fft.fftn(one.float(), dim=axes) for one in (image, other))
    low = torch.ones(image.shape[2:], dtype=torch.bool, device=image.device)
    for axis, edge in enumerate(image.shape[2:]):
        slow = torch.fft.fftfreq(edge, device=image.device).abs() <= 0.5 * share
        low &= slow.view([-1 if each == axis else 1 for each in range(3)])
    amplitude = torch.where(low, source.abs(), spectrum.abs())
    mixed: Tensor = torch.fft.ifftn(torch.polar(amplitude, spectrum.angle()), dim=axes)
    return mixed.real


def random_box(like: Tensor, side: float) -> Tensor:
    """True inside a box of ``side`` times each edge: (1, 1, Z, Y, X)."""
    box = torch.ones((1, 1, *like.shape[2:]), dtype=torch.bool, device=like.device)
    for axis, edge in enumerate(like.shape[2:], start=2):
        size = max(1, round(side * edge))
        first = int(torch.randint(edge - size + 1, ()))
        position = torch.arange(edge, device=like.device)
        within = (position >= first) & (position < first + size)
        box &= within.view([-1 if other == axis else 1 for other in range(5)])
    return box


def beta(concentration: float, count: int = 1) -> Tensor:
    """Draws (count,) from the symmetric beta distribution, with PyTorch's generator."""
    shape = torch.full((count, 2), concentration)
    return torch._sample_dirichlet(shape)[:, 0]


def adversarial(
    image: Tensor, disagree: Callable[[Tensor], Tensor], size: float
) -> Tensor:
    """Fast gradient sign step (Goodfellow et al., 2015) that raises a loss."""
    probe = image.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(disagree(probe), probe)
    return image + size * gradient.sign()


def feature_noise(features: Tensor, size: float = 0.3) -> Tensor:
    """Multiply by 1 + U(-size, size), one field for the batch (CCT)."""
    field = torch.empty_like(features[:1]).uniform_(-size, size)
    return features * (1.0 + field)


def attention_dropout(features: Tensor) -> Tensor:
    """Drop the most active places: a threshold of 0.7 to 0.9 of the largest (CCT)."""
    attention = features.detach().mean(dim=1, keepdim=True)
    largest = attention.amax(dim=(2, 3, 4), keepdim=True)
    share = torch.empty_like(largest).uniform_(0.7, 0.9)
    return features * (attention < largest * share)
