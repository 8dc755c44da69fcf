"""R-Drop: two dropout passes agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    mean_terms,
    segmentation,
)
from napari_semiseg.engine.methods.losses import divergence, weighted_mean

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


@register
class RDrop(DualTaskMethod):
    """Two passes of one network under different dropout agree on all crops.

    Liang et al., "R-Drop: regularized dropout for neural networks", NeurIPS 2021:
    L = mean L_sup(p_i) + lambda (KL(p_1 || p_2) + KL(p_2 || p_1)) / 2. The two
    passes share one network, as in the paper and unlike the public code of the
    family, which trains two.
    """

    name = "r_drop"
    title = "R-Drop"
    cite = "Liang et al., NeurIPS 2021"
    needs = frozenset({"dropout"})
    Params: ClassVar[type[MethodParams]] = ConsistencyParams
    params: ConsistencyParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms of both passes, and their agreement."""
        outputs = [forward(nets.students["student"], batch.image) for _ in range(2)]
        first, second = (segmentation(output) for output in outputs)
        both = 0.5 * (divergence(first, second) + divergence(second, first))
        return {
            **mean_terms([self.labelled(output, batch) for output in outputs]),
            "agreement": self.params.weight(t) * weighted_mean(both, batch.inside),
        }
