"""Shape-aware semi-supervised segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.methods.adversarial import AdversarialMethod
from napari_semiseg.engine.methods.base import MethodParams, register
from napari_semiseg.engine.methods.dual_task import ConsistencyParams, distances

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.networks.spec import Output


class SASSNetParams(ConsistencyParams):
    """Parameters of `SASSNet`."""

    consistency_weight: float = Field(
        default=0.01, ge=0, description="Final weight of the adversarial term"
    )


@register
class SASSNet(AdversarialMethod):
    """A critic cannot tell signed distances of unlabelled crops from labelled ones.

    Li et al., "Shape-aware semi-supervised 3D semantic segmentation for medical
    images", MICCAI 2020: L = L_sup + 0.3 |d - phi| + lambda BCE(D(d, x), labelled).
    """

    name = "sassnet"
    title = "SASSNet: shape-aware adversary"
    cite = "Li et al., MICCAI 2020"
    Params: ClassVar[type[MethodParams]] = SASSNetParams

    def critic_input(self, output: Output) -> Tensor:
        """Signed distances of all classes."""
        return distances(output)
