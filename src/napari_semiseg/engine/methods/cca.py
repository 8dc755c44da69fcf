"""Contrastive assignment of features to clusters of the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import functional, torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    ConsistencyParams,
    DualTaskMethod,
    decoded,
    segmentation,
)
from napari_semiseg.engine.methods.losses import cross_entropy
from napari_semiseg.engine.methods.perturbations import confident
from napari_semiseg.engine.methods.prototypes import balanced_assignment, similarity

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress

VOXELS = 512
"""Most voxels of a class that its clusters are made of."""
SHARPNESS = 20.0
"""Of the affinity of a voxel and a cluster, by their cosine."""


class CCAParams(ConsistencyParams):
    """Parameters of `CCA`."""

    clusters: int = Field(default=3, ge=1, le=16, description="Clusters of a class")
    temperature: float = Field(
        default=0.1, gt=0, le=1, description="Of the cosines with the clusters"
    )
    threshold: float = Field(
        default=0.8, ge=0, lt=1, description="Confidence that a label needs"
    )


@register
class CCA(DualTaskMethod):
    """Each voxel's features are nearest to one cluster of its class.

    The contrastive cluster assignment of CCA-Seg, whose public archive is for slices
    and has no unlabelled branch, by the means of Zhou et al., "Rethinking semantic
    segmentation: a prototype view", CVPR 2022. The averaged network's features of the
    labelled crops make K clusters of equal size in each class (Sinkhorn); with k the
    nearest one of the voxel's class y:
    L = L_sup + lambda (-ln exp(cos(f, c_yk) / tau) / sum_ij exp(cos(f, c_ij) / tau)) on
    labelled crops, and on unlabelled ones where p' is sure of y. Departures: clusters
    of each step instead of learned ones, in 3D, on decoded features.
    """

    name = "cca"
    title = "CCA: contrastive cluster assignment"
    cite = "Zhou et al., CVPR 2022"
    labelled_terms = DualTaskMethod.labelled_terms | {"clusters"}
    Params: ClassVar[type[MethodParams]] = CCAParams
    params: CCAParams

    def _clusters(self, features: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Centres (C K, F) of the labelled features, and which there are (C K,)."""
        places = functional.normalize(features, dim=1).movedim(1, -1)
        centres, known = [], []
        for index in range(self.task.classes):
            members = places[batch.valid & (batch.target == index)]
            known.append(len(members) >= self.params.clusters)
            picked = members[
                torch.randperm(len(members), device=members.device)[:VOXELS]
            ]
            middle = picked[: self.params.clusters]
            if not known[-1]:
                middle = places.new_zeros(self.params.clusters, places.shape[-1])
            for _ in range(3 if known[-1] else 0):
                share = balanced_assignment(SHARPNESS * picked @ middle.T)
                middle = functional.normalize(share.T @ picked, dim=1)
            centres.append(middle)
        are_known = torch.tensor(known, device=features.device)
        return torch.cat(centres), are_known.repeat_interleave(self.params.clusters)

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Labelled terms, and the clusters of labelled and unlabelled voxels."""
        count, unlabelled, many = batch.labelled, batch.unlabelled, self.params.clusters
        output = forward(nets.students["student"], batch.image)
        with torch.no_grad():
            teacher = forward(nets.teachers["student"], batch.image)
            centres, known = self._clusters(decoded(teacher)[:count], batch)
            taught = similarity(decoded(teacher), centres, known)
            target = segmentation(teacher)[unlabelled]
        learnt = similarity(decoded(output), centres, known) / self.params.temperature

        def assigned(part: slice, label: Tensor, where: Tensor) -> Tensor:
            """Loss of a part of the crops, whose voxels have a class."""
            own = torch.unflatten(taught[part], 1, (-1, many))
            chosen = label[:, None, None].expand(-1, -1, many, -1, -1, -1)
            nearest = own.gather(1, chosen)[:, 0].argmax(dim=1)
            index = label * many + nearest
            return cross_entropy(learnt[part], index, where & known[index])

        sure = confident(target, self.params.threshold) & batch.inside[unlabelled]
        weight = self.params.weight(t)
        return {
            **self.labelled(output, batch),
            "clusters": weight * assigned(slice(0, count), batch.target, batch.valid),
            "pseudo_clusters": weight
            * assigned(unlabelled, target.argmax(dim=1), sure[:, 0]),
        }
