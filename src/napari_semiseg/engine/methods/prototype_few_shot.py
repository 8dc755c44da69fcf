"""Features from supervoxels, for one or two labelled scans."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import functional, torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.dual_task import (
    DualTaskMethod,
    DualTaskParams,
    decoded,
)
from napari_semiseg.engine.methods.losses import cross_entropy
from napari_semiseg.engine.methods.perturbations import weak_to_strong
from napari_semiseg.engine.methods.views import draw_view
from napari_semiseg.engine.networks.spec import Output

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress

COMPACTNESS = 2.0
"""Of supervoxels: weight of the place against the intensity."""
ROUNDS = 3
"""In which their centres move."""


class PrototypeFewShotParams(DualTaskParams):
    """Parameters of `PrototypeFewShot`."""

    pretraining: float = Field(
        default=0.3, ge=0, le=1, description="Fraction of training without labels"
    )
    weight: float = Field(
        default=0.1, ge=0, description="Weight of the supervoxels beside labels"
    )
    seeds: int = Field(
        default=4, ge=2, le=8, description="Supervoxels along each edge of a crop"
    )
    temperature: float = Field(
        default=0.05, gt=0, le=1, description="Of the cosines with the prototypes"
    )


def supervoxels(image: Tensor, seeds: int) -> Tensor:
    """Group voxels by place and intensity, as SLIC does (Achanta et al., 2012).

    Parameters
    ----------
    image : Tensor (B, K, Z, Y, X)
        Normalised crops.
    seeds : int
        Supervoxels along each edge to begin with.

    Returns
    -------
    Tensor (B, 1, Z, Y, X), int64
        Index of each voxel's supervoxel.
    """
    smooth = functional.avg_pool3d(image, 3, 1, 1, count_include_pad=False)
    axes = [
        torch.linspace(0, seeds, edge, device=image.device) for edge in image.shape[2:]
    ]
    place = torch.stack(torch.meshgrid(axes, indexing="ij"))
    place = COMPACTNESS * place.expand(len(image), -1, -1, -1, -1)
    points = torch.cat([place, smooth], dim=1)
    centres = functional.interpolate(points, [seeds] * 3).flatten(2).transpose(1, 2)
    every = points.flatten(2).transpose(1, 2)
    index = torch.cdist(every, centres).argmin(dim=2)
    for _ in range(ROUNDS):
        share = functional.one_hot(index, seeds**3).to(every.dtype)
        size = share.sum(dim=1).clamp_min(1.0).unsqueeze(2)
        centres = share.transpose(1, 2) @ every / size
        index = torch.cdist(every, centres).argmin(dim=2)
    return index.view(len(image), 1, *image.shape[2:])


def against_background(
    support: Tensor, mask: Tensor, query: Tensor, blocks: int
) -> Tensor:
    """Cosines (B, 2, Z, Y, X) of a query with a mask's background and its mean.

    The background has a prototype for each block of the crop, the more alike the
    heavier (ALPNet). ``support``, ``query`` are (B, F, Z, Y, X), ``mask`` (B, 1, ...).
    """
    size = [max(1, edge // blocks) for edge in support.shape[2:]]
    inner = (support * mask).sum(dim=(2, 3, 4)) / mask.sum(dim=(2, 3, 4)).clamp_min(1)
    outer = functional.avg_pool3d(support * (1 - mask), size).flatten(2)
    unit = functional.normalize(query, dim=1)
    near = torch.einsum("bfzyx,bfn->bnzyx", unit, functional.normalize(outer, dim=1))
    background = (torch.softmax(10.0 * near, dim=1) * near).sum(dim=1)
    foreground = torch.einsum(
        "bfzyx,bf->bzyx", unit, functional.normalize(inner, dim=1)
    )
    return torch.stack([background, foreground], dim=1)


@register
class PrototypeFewShot(DualTaskMethod):
    """A supervoxel is found again in another view, before and beside the labels.

    Ouyang et al., "Self-supervision with superpixels: training few-shot medical image
    segmentation without annotation", ECCV 2020. A random supervoxel m of a crop has a
    prototype, its surroundings one for each block; by the cosines q with both it is
    segmented in a turned, mirrored, strong view g: at first L = CE(q / tau, g m), then
    L_sup + lambda CE(q / tau, g m). Weights so pre-trained serve any other method
    (``semiseg train --from RUN``). Departures: in 3D, and the mask head that labels
    teach on these features segments, since there are scans to learn from and not a
    single slice to compare with.
    """

    name = "prototype_few_shot"
    title = "Prototypes of supervoxels for few labels"
    cite = "Ouyang et al., ECCV 2020"
    Params: ClassVar[type[MethodParams]] = PrototypeFewShotParams
    params: PrototypeFewShotParams

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Find a supervoxel again; labelled terms, once it is time for them."""
        image, inside = batch.image[batch.unlabelled], batch.inside[batch.unlabelled]
        student, count = nets.students["student"], len(batch.image[batch.unlabelled])
        index = supervoxels(image, self.params.seeds)
        places = index.flatten(1)
        chosen = places.gather(1, torch.randint_like(places[:, :1], places.shape[1]))
        mask = (index == chosen.view(-1, 1, 1, 1, 1)) & inside
        view = draw_view(self.task, image.shape[2:], 1.2)
        shown = view.shown(inside)
        query = weak_to_strong(view(image), shown)
        taught = t.fraction >= self.params.pretraining
        known = batch.image[: batch.labelled if taught else 0]
        output = forward(student, torch.cat([image, query, known]))
        maps = decoded(output)
        scores = against_background(
            maps[:count], mask.float(), maps[count : 2 * count], self.params.seeds
        )
        found = cross_entropy(
            scores / self.params.temperature,
            (view(mask.float()) > 0.5)[:, 0].long(),
            shown[:, 0],
        )
        if not taught:
            return {"supervoxels": found}
        last = Output(*(part if part is None else part[2 * count :] for part in output))
        return {
            **self.labelled(last, batch),
            "supervoxels": self.params.weight * found,
        }
