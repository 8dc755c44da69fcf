"""Double-uncertainty weighted mean teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    DualTaskMethod,
    MonteCarloParams,
    decoded,
    segmentation,
)
from napari_semiseg.engine.methods.losses import consistency
from napari_semiseg.engine.methods.perturbations import add_noise, entropy, monte_carlo

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


class DoubleUncertaintyParams(MonteCarloParams):
    """Parameters of `DoubleUncertainty`."""

    feature_weight: float = Field(
        default=0.1, ge=0, description="Weight of the features, over the other"
    )


@register
class DoubleUncertainty(DualTaskMethod):
    """Predictions and features follow the teacher's, the less the more it varies.

    Wang et al., "Double-uncertainty weighted method for semi-supervised learning",
    MICCAI 2020. With p', f' the means of the teacher's Monte Carlo passes, U_s the
    entropy of p' and U_f the variance of the features over the passes:
    L = L_sup + lambda (e^(-U_s) (p - p')^2 + a e^(-U_f) (f - f')^2) on unlabelled
    crops. Departures: 2 passes, decoded features only, and a fixed weight a instead of
    learned ones.
    """

    name = "double_uncertainty"
    title = "Double-uncertainty weighting"
    cite = "Wang et al., MICCAI 2020"
    needs = frozenset({"dropout"})
    Params: ClassVar[type[MethodParams]] = DoubleUncertaintyParams
    params: DoubleUncertaintyParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and agreement of predictions and of features."""
        output = forward(nets.students["student"], batch.image)
        teacher, unlabelled = nets.teachers["student"], batch.unlabelled
        image, inside = batch.image[unlabelled], batch.inside[unlabelled]

        def moments() -> Tensor:
            noisy = forward(teacher, add_noise(image))
            maps = decoded(noisy)
            return torch.cat([segmentation(noisy), maps, maps.square()], dim=1)

        means = monte_carlo(teacher, self.params.passes, moments)
        prediction, maps = segmentation(output)[unlabelled], decoded(output)[unlabelled]
        target, features, squares = torch.split(
            means, [prediction.shape[1], maps.shape[1], maps.shape[1]], dim=1
        )
        spread = (squares - features.square()).clamp_min(0).mean(dim=1, keepdim=True)
        weight = self.params.weight(t)
        return {
            **self.labelled(output, batch),
            "consistency": weight
            * consistency(prediction, target, torch.exp(-entropy(target)) * inside),
            "features": weight
            * self.params.feature_weight
            * consistency(maps, features, torch.exp(-spread) * inside),
        }
