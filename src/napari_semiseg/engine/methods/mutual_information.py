"""Mutual information of the classes in two views."""

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
from napari_semiseg.engine.methods.losses import mutual_information
from napari_semiseg.engine.methods.views import draw_view

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress


class MutualInformationParams(ConsistencyParams):
    """Parameters of `MutualInformation`."""

    zoom: float = Field(
        default=1.2, ge=1, le=2, description="Largest enlargement or reduction"
    )


@register
class MutualInformation(DualTaskMethod):
    """The class of a voxel tells as much as it can of its class in another view.

    Peng et al., "Boosting semi-supervised image segmentation with global and local
    mutual information regularization", MELBA 2021, after IIC (Ji et al., ICCV 2019).
    With P the mean of p(gx) (g p(x))^T over voxels, symmetrised, and P_i its margins:
    L = L_sup - lambda sum P ln(P / (P_i P_j)) on unlabelled crops, both views with a
    gradient. Departure: the information at the output alone, which needs no clusters
    beyond the classes.
    """

    name = "mutual_information"
    title = "Mutual information of views"
    cite = "Peng et al., MELBA 2021"
    Params: ClassVar[type[MethodParams]] = MutualInformationParams
    params: MutualInformationParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and the information that the views share."""
        unlabelled = batch.unlabelled
        view = draw_view(self.task, batch.image.shape[2:], self.params.zoom)
        crops = torch.cat([batch.image, view(batch.image[unlabelled])])
        output = forward(nets.students["student"], crops)
        predictions, count = segmentation(output), len(batch.image)
        inside = view.shown(batch.inside[unlabelled])
        shared = mutual_information(
            predictions[count:], view(predictions[:count][unlabelled]), inside
        )
        return {
            **self.labelled(output, batch),
            "information": -self.params.weight(t) * shared,
        }
