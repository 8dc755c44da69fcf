"""Uncertainty-guided mutual consistency learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import softmax

from napari_semiseg.engine.dual_task import dual_task_inference, dual_task_loss
from napari_semiseg.engine.losses import consistency
from napari_semiseg.engine.method import Method, MethodParams, forward, register
from napari_semiseg.engine.ops import add_noise, entropy, monte_carlo, soft_mask

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_semiseg.engine.method import Batch, Inference, Networks, Progress


class UGMCLParams(MethodParams):
    """Parameters of `UGMCL`."""

    consistency_weight: float = Field(
        default=0.1, ge=0, description="Final weight of the consistency terms"
    )
    ramp: float = Field(
        default=1.0, gt=0, le=1, description="Fraction of training to reach it"
    )
    passes: int = Field(
        default=2, ge=1, le=16, description="Stochastic passes for the uncertainty"
    )
    distance_weight: float = Field(
        default=0.3, ge=0, description="Weight of the signed distance regression"
    )


@register
class UGMCL(Method):
    """Student and averaged teacher agree where the teacher is certain.

    Zhang et al., "Uncertainty-guided mutual consistency learning for
    semi-supervised medical image segmentation", Artif. Intell. Med. 2023. With p, d
    the student's heads, p' the mean of the teacher's Monte Carlo passes, U its
    entropy, M = [U < H(t)] and H(t) = 0.75 + 0.25 ramp(t) of the largest entropy:

    L = L_sup(p, y) + Dice(T(d), y) + |d - phi|
        + lambda (M (p - p')^2 + M (T(d) - sg p)^2 + M (p - sg T(d))^2)

    the intra-task and the two cross-task consistencies on all crops. Departures
    from the public code, which differs from the paper: the distance head is a head
    of its own and regressed, the cross-task terms are gated by M as the paper says,
    2 passes instead of 8, T is soft.
    """

    name = "ug_mcl"
    title = "UG-MCL: uncertainty-guided mutual consistency"
    cite = "Zhang et al., Artif. Intell. Med. 2023"
    Params: ClassVar[type[MethodParams]] = UGMCLParams
    params: UGMCLParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, then intra-task and cross-task consistency."""
        student, teacher = nets.students["student"], nets.teachers["student"]
        output = forward(student, batch.image)
        assert output.logits is not None
        assert output.distance is not None
        probabilities = softmax(output.logits, dim=1)
        mask = soft_mask(output.distance, self.task.steepness)
        terms = dual_task_loss(
            output, batch, self.task.steepness, self.params.distance_weight
        )

        def stochastic() -> Tensor:
            logits = forward(teacher, add_noise(batch.image)).logits
            assert logits is not None
            return softmax(logits, dim=1)

        target = monte_carlo(teacher, self.params.passes, stochastic)
        ramp = t.ramp(self.params.ramp)
        certain = (entropy(target) < 0.75 + 0.25 * ramp) & batch.inside
        weight = self.params.consistency_weight * ramp
        terms["intra_task"] = weight * consistency(probabilities, target, certain)
        terms["cross_task"] = weight * (
            consistency(mask, probabilities, certain)
            + consistency(probabilities, mask, certain)
        )
        return terms

    def infer(self, teachers: dict[str, nn.Module], image: Tensor) -> Inference:
        """Mean of both heads of the teacher."""
        output = forward(teachers["student"], image)
        assert output.logits is not None
        assert output.distance is not None
        probabilities = softmax(output.logits, dim=1)
        mask = soft_mask(output.distance, self.task.steepness)
        inference = dual_task_inference(output, probabilities, self.task.steepness)
        return inference._replace(probabilities=torch.lerp(probabilities, mask, 0.5))
