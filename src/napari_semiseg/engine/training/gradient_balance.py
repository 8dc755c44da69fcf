"""Measure how much of a step unlabelled crops decide, and scale it where asked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

EVERY = 50
"""Steps between two measurements."""
INERTIA = 0.7
"""Of the logarithm of the ratio."""
LARGEST_SCALE = 100.0
"""Terms are not made larger or smaller by more than this."""


class GradientBalance:
    """Gradient of the terms on unlabelled crops over that of the labelled ones.

    Published weights fit the published number of steps and the published loss; at
    others a term can be inert, or drown the labels. The ratio of the two norms, at
    the full weight of the ramp, says which.

    Parameters
    ----------
    target : float, optional
        Ratio to which the terms on unlabelled crops are scaled; as they are without.
    ratio : float, optional
        What was measured so far, of terms that are not scaled.
    """

    def __init__(self, target: float | None, ratio: float | None = None) -> None:
        self._target = target
        self.ratio = ratio

    @property
    def scale(self) -> float:
        """Factor of the terms on unlabelled crops."""
        if self._target is None or not self.ratio:
            return 1.0
        scale = self._target / self.ratio
        return min(LARGEST_SCALE, max(1 / LARGEST_SCALE, scale))

    def backward(
        self,
        terms: Mapping[str, Tensor],
        labelled: Iterable[str],
        weights: Sequence[nn.Parameter],
        *,
        step: int,
    ) -> tuple[float, float]:
        """Add the gradient of the sum of all terms to the weights.

        Returns the norms of the gradients of the labelled terms and of the others for
        `learn`; zeros where they are not measured.

        Parameters
        ----------
        terms : dict
            By name.
        labelled : iterable of str
            Names of those that count labels alone; the others are scaled.
        step : int
            Measured every 50 steps, and at the first one that has other terms.
        """
        names, scale = set(labelled), self.scale
        own = [term for name, term in terms.items() if name in names]
        parts = [
            term if name in names else scale * term for name, term in terms.items()
        ]
        first: tuple[Tensor | None, ...] | None = None
        if own and len(own) < len(terms) and (self.ratio is None or step % EVERY == 0):
            first = torch.autograd.grad(
                torch.stack(own).sum(), weights, retain_graph=True, allow_unused=True
            )
        torch.stack(parts).sum().backward()  # type: ignore[no-untyped-call]
        return (0.0, 0.0) if first is None else _norms(first, weights)

    def learn(self, labelled: float, rest: float, ramped: float) -> None:
        """Take in the norms that `backward` gave; of several devices, their means.

        Parameters
        ----------
        labelled, rest : float
            Norms of the gradients.
        ramped : float
            Weight of the other terms over their final one, above 0.
        """
        if not (labelled > 0 and rest > 0 and math.isfinite(rest / labelled)):
            return
        found = rest / (self.scale * ramped * labelled)
        if self.ratio:
            found = self.ratio**INERTIA * found ** (1 - INERTIA)
        self.ratio = found


def _norms(
    first: Sequence[Tensor | None], weights: Sequence[nn.Parameter]
) -> tuple[float, float]:
    """Norms of a part of the gradients of the weights, and of the rest of them."""
    part, remainder = [], []
    for known, weight in zip(first, weights, strict=True):
        if weight.grad is None:
            continue
        known = torch.zeros_like(weight) if known is None else known
        part.append(known)
        remainder.append(weight.grad - known)
    labelled, rest = (
        float(nn.utils.get_total_norm(gradients)) for gradients in (part, remainder)
    )
    return labelled, rest
