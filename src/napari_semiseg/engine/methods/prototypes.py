"""Classes as points in the space of decoded features, compared by their angle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.engine.lazy_torch import functional, torch

if TYPE_CHECKING:
    from torch import Tensor

FAR = -1e4
"""Score of a prototype that there is not."""


def class_means(features: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean features of each class.

    Parameters
    ----------
    features : Tensor (B, F, Z, Y, X)
        Decoded maps.
    maps : Tensor (B, C, Z, Y, X)
        Weight of each voxel for each class.

    Returns
    -------
    Tensor (C, F)
        The means; 0 for a class without a voxel.
    Tensor (C,), bool
        Whether a class has any.
    """
    total = torch.einsum("bfv,bcv->cf", features.flatten(2), maps.flatten(2).float())
    size = maps.float().sum(dim=(0, 2, 3, 4))
    return total / size.clamp_min(1.0).unsqueeze(1), size > 0


def similarity(features: Tensor, points: Tensor, is_known: Tensor) -> Tensor:
    """Cosines (B, K, Z, Y, X) of features and points (K, F); far where not known."""
    cosine = torch.einsum(
        "bfzyx,kf->bkzyx",
        functional.normalize(features, dim=1),
        functional.normalize(points, dim=1),
    )
    return torch.where(is_known.view(1, -1, 1, 1, 1), cosine, FAR)


def balanced_assignment(scores: Tensor, rounds: int = 3) -> Tensor:
    """Share N points among K clusters of equal size (Sinkhorn and Knopp, 1967).

    Parameters
    ----------
    scores : Tensor (N, K)
        Logarithms of the affinities.

    Returns
    -------
    Tensor (N, K)
        Shares of each point, which sum to 1.
    """
    shares = torch.softmax(scores.flatten(), dim=0).view_as(scores)
    for _ in range(rounds):
        shares = shares / shares.sum(dim=0, keepdim=True).clamp_min(1e-12)
        shares = shares / shares.sum(dim=1, keepdim=True).clamp_min(1e-12)
    return shares
