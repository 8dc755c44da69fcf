"""Self-training of several networks in rounds."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    DualTaskMethod,
    DualTaskParams,
    logits,
    segmentation,
    summed_terms,
)
from napari_semiseg.engine.methods.losses import cross_entropy_dice
from napari_semiseg.engine.methods.perturbations import confident
from napari_semiseg.engine.methods.rounds import current_round, overwrite

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Inference, Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


class SelfTrainingParams(DualTaskParams):
    """Parameters of `SelfTraining`."""

    members: int = Field(
        default=2, ge=1, le=8, description="Networks that label together"
    )
    begin: float = Field(
        default=0.4, gt=0, lt=1, description="Fraction of training with labels alone"
    )
    rounds: int = Field(
        default=3, ge=1, description="Times that unlabelled scans are labelled anew"
    )
    weight: float = Field(default=0.5, ge=0, description="Weight of the pseudo labels")
    threshold: float = Field(
        default=0.8, ge=0, lt=1, description="Confidence that a label needs"
    )
    halves: bool = Field(
        default=False, description="Label a scan by members that never learn from it"
    )

    @model_validator(mode="after")
    def _several(self) -> Self:
        if self.halves and self.members < 2:
            raise ValueError("halves=true needs 2 members or more")
        return self


def owner(case: str, members: int) -> int:
    """Index of the member that a scan teaches, the same whichever scans there are."""
    return sha256(case.encode()).digest()[0] % members


@register
class SelfTraining(DualTaskMethod):
    """Networks label the unlabelled scans together, each learns from its share.

    Li and Auer, "Semi-supervised pixel-wise classification by ensembles of iterative
    self-training" (SS), 2020: all members learn from all labels; in each round copies
    of them from its beginning label the unlabelled crops by their mean q, and each crop
    teaches one member: L = sum_i L_sup(i) + lambda [max q >= tau] (CE + Dice) / 2
    (p_i, argmax q). The mean of the members predicts. Departures: members learn at the
    same time and go on in the next round instead of from scratch, their number stays,
    and shares are of crops and not of scans.

    With ``halves`` as Huo et al., "ATSO: asynchronous teacher-student optimization for
    semi-supervised image segmentation", CVPR 2021: each scan belongs to one member for
    the whole training, and q is the mean of the others, which never learned from it.
    """

    name = "self_training"
    title = "Self-training in rounds"
    cite = "Li & Auer, 2020"
    Params: ClassVar[type[MethodParams]] = SelfTrainingParams
    params: SelfTrainingParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """The members."""
        names = range(1, self.params.members + 1)
        return {f"member_{name}": self.task.network() for name in names}

    def teachers(self) -> dict[str, str]:
        """An average of each member, and a copy that labels for a round."""
        average = {name: name for name in self._names}
        return average | {f"labels_{name}": name for name in self._names}

    def followers(self, t: Progress) -> Collection[str]:
        """The averages."""
        return self._names

    def clock_moves(self, nets: Networks, before: Progress, now: Progress) -> None:
        """Let the averages label from here on, where a round begins."""
        if self._round(now) > self._round(before):
            for name in self._names:
                overwrite(nets.teachers[f"labels_{name}"], nets.teachers[name])

    def _round(self, t: Progress) -> int:
        return current_round(t, self.params.begin, self.params.rounds)

    def takes_unlabelled(self, t: Progress) -> bool:
        """From the first round on."""
        return self._round(t) >= 0

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms of all members, and the pseudo labels of each one's share."""
        if not self.takes_unlabelled(t):
            return self.labelled_loss(nets, batch)
        image, inside = batch.image[batch.unlabelled], batch.inside[batch.unlabelled]
        count, members = batch.labelled, len(nets.students)
        share = self._shares(batch.cases[batch.unlabelled])
        labellers = [nets.teachers[f"labels_{name}"] for name in self._names]
        with torch.no_grad():
            predictions = torch.stack(
                [segmentation(forward(each, image)) for each in labellers]
            )
        votes = torch.ones(members, len(image))
        if self.params.halves:
            votes[share, torch.arange(len(image))] = 0
        weight = (
            (votes / votes.sum(dim=0)).to(predictions).view(*votes.shape, 1, 1, 1, 1)
        )
        mean = (weight * predictions).sum(dim=0)
        label = mean.argmax(dim=1)
        sure = (confident(mean, self.params.threshold) & inside)[:, 0]
        own, taught = [], []
        for index, member in enumerate(nets.students.values()):
            chosen = (share == index).nonzero()[:, 0].to(image.device)
            output = forward(member, torch.cat([batch.image[:count], image[chosen]]))
            own.append(self.labelled(output, batch))
            if len(chosen):
                guess = logits(output)[count:]
                taught.append(cross_entropy_dice(guess, label[chosen], sure[chosen]))
        return {
            **summed_terms(own),
            "pseudo_labels": self.params.weight * torch.stack(taught).sum(),
        }

    def _shares(self, cases: Sequence[str]) -> Tensor:
        """Which member each unlabelled crop teaches."""
        members = self.params.members
        if self.params.halves:
            return torch.tensor([owner(case, members) for case in cases])
        return (torch.arange(len(cases)) + torch.randint(members, ())) % members

    def infer(
        self, teachers: dict[str, SegmentationNetwork], image: Tensor
    ) -> Inference:
        """Mean over the averaged members."""
        return super().infer({name: teachers[name] for name in self._names}, image)
