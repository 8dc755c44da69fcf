"""Deep adversarial network."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from napari_semiseg.engine.methods.adversarial import AdversarialMethod
from napari_semiseg.engine.methods.base import MethodParams, register
from napari_semiseg.engine.methods.dual_task import ConsistencyParams, segmentation

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.networks.spec import Output


@register
class DAN(AdversarialMethod):
    """A critic cannot tell masks of unlabelled crops from those of labelled ones.

    Zhang et al., "Deep adversarial networks for biomedical image segmentation
    utilizing unannotated images", MICCAI 2017. The critic sees the image and the
    probabilities; L = L_sup + lambda BCE(D(p, x), labelled) on unlabelled crops.
    """

    name = "dan"
    title = "DAN: deep adversarial network"
    cite = "Zhang et al., MICCAI 2017"
    Params: ClassVar[type[MethodParams]] = ConsistencyParams

    def critic_input(self, output: Output) -> Tensor:
        """Class probabilities."""
        return segmentation(output)
