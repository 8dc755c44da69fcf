"""Uncertainty-aware temporal ensembling."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    segmentation,
)
from napari_semiseg.engine.methods.losses import consistency
from napari_semiseg.engine.methods.perturbations import entropy
from napari_semiseg.engine.methods.rounds import current_round, overwrite

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Inference, Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


class TemporalEnsemblingParams(ConsistencyParams):
    """Parameters of `TemporalEnsembling`."""

    rounds: int = Field(
        default=8, ge=2, description="Times that predictions are taken in the ensemble"
    )
    past: int = Field(
        default=3, ge=1, le=8, description="Last rounds that the ensemble remembers"
    )
    inertia: float = Field(
        default=0.6, gt=0, lt=1, description="Weight of a round over that of the next"
    )


@register
class TemporalEnsembling(DualTaskMethod):
    """Predictions follow the mean of those of earlier rounds, where that is certain.

    Cao et al., "Uncertainty aware temporal-ensembling model for semi-supervised ABUS
    mass segmentation", IEEE Trans. Med. Imaging 2021, after Laine and Aila, ICLR 2017.
    With P the mean of the predictions of earlier rounds, of which each weighs a times
    as much as the next, and U its entropy: L = L_sup + lambda e^(-U) (p - sg P)^2 on
    unlabelled crops. Departures: the last rounds are kept as copies of the averaged
    network and not as predictions, so that P is of the crop as it is seen; U is
    the entropy instead of the variance of dropout.
    """

    name = "temporal_ensembling"
    title = "Temporal ensembling, uncertainty-aware"
    cite = "Cao et al., IEEE TMI 2021"
    Params: ClassVar[type[MethodParams]] = TemporalEnsemblingParams
    params: TemporalEnsemblingParams

    def teachers(self) -> dict[str, str]:
        """The average, and copies of it from the last rounds."""
        past = {f"past_{index}": "student" for index in range(self.params.past)}
        return {"student": "student"} | past

    def followers(self, t: Progress) -> Collection[str]:
        """The average."""
        return ("student",)

    def clock_moves(self, nets: Networks, before: Progress, now: Progress) -> None:
        """Take the average in the ensemble in the place of the oldest, once a round."""
        first, last = (current_round(t, 0.0, self.params.rounds) for t in (before, now))
        for index in {ended % self.params.past for ended in range(first, last)}:
            overwrite(nets.teachers[f"past_{index}"], nets.teachers["student"])

    def ramped(self, t: Progress) -> float:
        """Nothing in the first round, which has none before it."""
        first = current_round(t, 0.0, self.params.rounds) == 0
        return 0.0 if first else super().ramped(t)

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and agreement with the ensemble."""
        output = forward(nets.students["student"], batch.image)
        unlabelled, past = batch.unlabelled, self.params.past
        turn = current_round(t, 0.0, self.params.rounds)
        with torch.no_grad():
            weighted = [
                self.params.inertia ** ((turn - 1 - index) % past)
                * segmentation(
                    forward(nets.teachers[f"past_{index}"], batch.image[unlabelled])
                )
                for index in range(min(past, turn))
            ]
            total = torch.stack(weighted).sum(dim=0)
            target = total / total.sum(dim=1, keepdim=True)
        weight = torch.exp(-entropy(target)) * batch.inside[unlabelled]
        return {
            **self.labelled(output, batch),
            "ensemble": self.params.weight(t)
            * consistency(segmentation(output)[unlabelled], target, weight),
        }

    def infer(
        self, teachers: dict[str, SegmentationNetwork], image: Tensor
    ) -> Inference:
        """Predict with the average alone."""
        return super().infer({"student": teachers["student"]}, image)
