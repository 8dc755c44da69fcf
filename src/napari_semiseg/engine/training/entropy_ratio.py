"""Measure how much less sure the networks are where nothing is annotated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_semiseg.engine.methods.perturbations import entropy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Progress

SET_POINTS = (0.3, 0.5, 0.7)
"""Parts of a training after which the ratio is fixed anew."""
STEPS = 50
"""Before each of them whose crops are looked at."""
LARGEST_SHARE = 0.1
"""Of a training that they take up at most, for each set point."""


class EntropyRatio:
    """Entropy of what is not annotated over that of what is.

    Each of the two is the sum of the voxels' entropies over the sum of their
    probabilities of a structure, so that it does not count how large structures are.
    Near 1 the labelled scans have nothing that the others have not; far above it the
    networks know their own labels by heart, or the other scans are unlike them.

    Attributes
    ----------
    value : float, optional
        As of the last set point; None before the first.
    """

    def __init__(self) -> None:
        self.value: float | None = None
        self._sums = [0.0] * 4

    def is_due(self, t: Progress) -> bool:
        """Whether a step comes shortly before a set point."""
        steps = min(STEPS, max(1.0, LARGEST_SHARE * t.total))
        return any(0 < point * t.total - t.step <= steps for point in SET_POINTS)

    def learn(self, sums: Sequence[float], now: Progress) -> None:
        """Take in the `entropy_sums` of a step; fix the ratio after the last one.

        Parameters
        ----------
        sums : sequence of float
            Of several devices, their means.
        now : Progress
            After the step.
        """
        self._sums = [known + new for known, new in zip(self._sums, sums, strict=True)]
        if not self.is_due(now):
            known, structure, unknown, other = self._sums
            if min(known, structure, other) > 0:
                self.value = (unknown / other) / (known / structure)
            self._sums = [0.0] * 4

    def state(self) -> dict[str, Any]:
        """Give all that the next measurement depends on."""
        return {"value": self.value, "sums": self._sums}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.value, self._sums = state["value"], list(state["sums"])


@torch.no_grad()
def entropy_sums(probabilities: Tensor, batch: Batch) -> list[float]:
    """Sum entropy and probability of a structure over annotated voxels and others.

    Parameters
    ----------
    probabilities : Tensor (L + U, C, Z, Y, X)
        Of the crops of a batch.
    batch : Batch
        Says which voxels are annotated, and which are inside a scan.

    Returns
    -------
    list of float
        Entropy and probability where annotated, then where not.
    """
    inside = batch.inside[:, 0]
    annotated = torch.zeros_like(inside)
    annotated[: batch.labelled] = batch.valid
    maps = entropy(probabilities)[:, 0], 1.0 - probabilities[:, 0].float()
    return [
        float(values[where].sum())
        for where in (annotated & inside, ~annotated & inside)
        for values in maps
    ]
