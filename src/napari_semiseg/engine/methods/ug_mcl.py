"""Uncertainty-guided mutual consistency learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    DualTaskMethod,
    MonteCarloParams,
    segmentation,
)
from napari_semiseg.engine.methods.losses import consistency
from napari_semiseg.engine.methods.perturbations import add_noise, monte_carlo

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Inference, Networks, Progress
    from napari_semiseg.engine.networks.spec import Output


@register
class UGMCL(DualTaskMethod):
    """Student and averaged teacher agree where the teacher is certain.

    Zhang et al., "Uncertainty-guided mutual consistency learning for
    semi-supervised medical image segmentation", Artif. Intell. Med. 2023. With p, d
    the student's heads, p' the mean of the teacher's Monte Carlo passes, U its
    entropy, M = [U < H(t)] and H(t) = 0.75 + 0.25 ramp(t) of the largest entropy:

    L = L_sup(p, y) + Dice(T(d), y) + w |d - phi|
        + lambda (M (p - p')^2 + M (T(d) - sg p)^2 + M (p - sg T(d))^2)

    the intra-task and the two cross-task consistencies on all crops. Departures
    from the public code, which differs from the paper: the distance head is a head
    of its own and regressed, the cross-task terms are gated by M as the paper says,
    2 passes instead of 8, T is soft.
    """

    name = "ug_mcl"
    title = "UG-MCL: uncertainty-guided mutual consistency"
    cite = "Zhang et al., Artif. Intell. Med. 2023"
    needs = frozenset({"dropout"})
    Params: ClassVar[type[MethodParams]] = MonteCarloParams
    params: MonteCarloParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, then intra-task and cross-task consistency."""
        teacher = nets.teachers["student"]
        output = forward(nets.students["student"], batch.image)
        probabilities, mask = segmentation(output), self.mask(output)
        target = monte_carlo(
            teacher,
            self.params.passes,
            lambda: segmentation(forward(teacher, add_noise(batch.image))),
        )
        certain = self.params.certain(target, t) & batch.inside
        weight = self.params.weight(t)
        return {
            **self.labelled(output, batch),
            "intra_task": weight * consistency(probabilities, target, certain),
            "cross_task": weight
            * (
                consistency(mask, probabilities, certain)
                + consistency(probabilities, mask, certain)
            ),
        }

    def inference(self, output: Output) -> Inference:
        """Mean of both heads."""
        both = torch.lerp(segmentation(output), self.mask(output), 0.5)
        return super().inference(output)._replace(probabilities=both)
