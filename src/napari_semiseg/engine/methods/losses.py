"""Losses that know which voxels count; with no such voxel they are 0, never NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.engine.lazy_torch import functional, torch

if TYPE_CHECKING:
    from torch import Tensor


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of (B, K, ...) under a weight (B, 1, ...); 0 where the weight is 0."""
    weight = weight.float()
    return (values * weight).sum() / (weight.sum() * values.shape[1]).clamp_min(1.0)


def soft_dice(probabilities: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """1 - Dice over the whole batch, mean over the foreground classes present.

    Parameters
    ----------
    probabilities : Tensor (B, C, Z, Y, X)
        Class probabilities.
    target : Tensor (B, Z, Y, X), int64
        Class indices; any value where not valid.
    valid : Tensor (B, Z, Y, X)
        Voxels that count, or their weights.
    """
    p, classes = probabilities.float().flatten(2), probabilities.shape[1]
    label = target.clamp(0, classes - 1).flatten(1)
    inside = valid.flatten(1).float()
    predicted = (p * inside.unsqueeze(1)).sum(dim=(0, 2))
    # Without a one-hot map: with many classes it would cost more than the network.
    correct = p.gather(1, label.unsqueeze(1))[:, 0] * inside
    both = torch.zeros_like(predicted).index_add(0, label.flatten(), correct.flatten())
    size = torch.zeros_like(predicted).index_add(0, label.flatten(), inside.flatten())
    dice = (2.0 * both + 1e-5) / (predicted + size + 1e-5)
    present = (size > 0).float()[1:]
    return ((1.0 - dice[1:]) * present).sum() / present.sum().clamp_min(1.0)


def one_hot(label: Tensor, classes: int) -> Tensor:
    """Class indices (B, Z, Y, X) to maps (B, C, Z, Y, X) of 0 and 1, float32."""
    return functional.one_hot(label, classes).movedim(-1, 1).float()


def mutual_information(p: Tensor, q: Tensor, weight: Tensor) -> Tensor:
    """Information in nats that classes of two views share (IIC, Ji et al., 2019).

    ``weight`` is (B, 1, Z, Y, X); the joint distribution over all voxels is symmetric.
    """
    first, second = ((one.float()).transpose(0, 1).flatten(1) for one in (p, q))
    counted = weight.float().transpose(0, 1).flatten(1)
    joint = (first * counted) @ second.T / counted.sum().clamp_min(1.0)
    joint = (0.5 * (joint + joint.T)).clamp_min(1e-8)
    margin = joint.sum(dim=1, keepdim=True)
    return (joint * (joint / (margin * margin.T)).log()).sum()


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(p || q) per voxel: (B, 1, Z, Y, X)."""
    first, second = p.float().clamp_min(1e-6), q.float().clamp_min(1e-6)
    return (first * (first / second).log()).sum(dim=1, keepdim=True)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence per voxel: (B, 1, Z, Y, X), at most ln 2."""
    middle = 0.5 * (p + q)
    return 0.5 * (divergence(p, middle) + divergence(q, middle))


def cross_entropy(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean cross-entropy of class indices (B, Z, Y, X) on the valid voxels."""
    picked = functional.cross_entropy(
        logits.float(), torch.where(valid, target, -1), ignore_index=-1, reduction="sum"
    )
    return picked / valid.sum().clamp_min(1)


def soft_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean cross-entropy of probabilities, which get no gradient.

    ``weight`` is (B, 1, Z, Y, X).
    """
    surprise = -functional.log_softmax(logits.float(), dim=1)
    error = (surprise * target.detach()).sum(dim=1, keepdim=True)
    return weighted_mean(error, weight)


def cross_entropy_dice(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """(CE + Dice) / 2 on the valid voxels, the supervised loss of the family."""
    probabilities = torch.softmax(logits.float(), dim=1)
    return 0.5 * (
        cross_entropy(logits, target, valid) + soft_dice(probabilities, target, valid)
    )


def distance_interval(
    distance: Tensor, low: Tensor, high: Tensor, valid: Tensor
) -> Tensor:
    """Smooth L1 distance of a prediction from the interval it must lie in.

    Where the label is complete ``low == high`` and this is plain regression; next
    to unannotated voxels only the sign and a bound of the distance are known.

    Parameters
    ----------
    distance, low, high : Tensor (B, C, Z, Y, X)
        Predicted signed distance and its interval, over the plan's limit.
    valid : Tensor (B, Z, Y, X), bool
        Annotated voxels.
    """
    nearest = torch.clamp(distance.detach(), low, high)
    error = functional.smooth_l1_loss(distance, nearest, beta=0.1, reduction="none")
    return weighted_mean(error, valid.unsqueeze(1))


def consistency(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean squared difference; ``target`` gets no gradient.

    ``weight`` is (B, 1, Z, Y, X).
    """
    return weighted_mean((prediction - target.detach()).square(), weight)
