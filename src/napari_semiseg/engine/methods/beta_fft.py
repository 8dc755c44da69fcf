"""Copy-paste by two students, on images with exchanged low frequencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from napari_semiseg.engine.lazy_torch import torch
from napari_semiseg.engine.methods.base import MethodParams, forward, register
from napari_semiseg.engine.methods.co_training import cross_labels
from napari_semiseg.engine.methods.copy_paste import (
    CopyPasteMethod,
    CopyPasteParams,
)
from napari_semiseg.engine.methods.dual_task import segmentation
from napari_semiseg.engine.methods.losses import soft_dice
from napari_semiseg.engine.methods.perturbations import beta, swap_low_frequencies

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.data.batch import Batch
    from napari_semiseg.engine.methods.base import Networks, Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


class BetaFFTParams(CopyPasteParams):
    """Parameters of `BetaFFT`."""

    cross_weight: float = Field(
        default=0.5, ge=0, description="Final weight of the other student's labels"
    )
    frequencies: float = Field(
        default=0.1, gt=0, le=1, description="Part of the frequencies that is exchanged"
    )


@register
class BetaFFT(CopyPasteMethod):
    """Two students label for each other what looks as if from a labelled scan.

    Hu et al., "beta-FFT: nonlinear interpolation and differentiated training strategies
    for semi-supervised medical image segmentation", CVPR 2025. Both students learn by
    copy-paste (`bcp`), with the mean of their averages as teacher. The low frequencies
    of an unlabelled crop u get the amplitudes of a labelled one, v, and with
    g ~ Beta(0.1, 0.1) and x = g u + (1 - g) v: L = L_BCP(1) + L_BCP(2)
    + lambda (Dice(p_1(x), argmax p_2(x)) + Dice(p_2(x), argmax p_1(x))). Departures:
    the students differ by their initial weights, and it is the two versions of a crop
    that are blended instead of two labelled images.
    """

    name = "beta_fft"
    title = "beta-FFT: copy-paste and exchanged frequencies"
    cite = "Hu et al., CVPR 2025"
    Params: ClassVar[type[MethodParams]] = BetaFFTParams
    params: BetaFFTParams

    def networks(self) -> dict[str, SegmentationNetwork]:
        """Both students."""
        return {"first": self.task.network(), "second": self.task.network()}

    def loss(self, nets: Networks, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Terms of copy-paste, and each other's labels."""
        terms = super().loss(nets, batch, t)
        if not self.takes_unlabelled(t):
            return terms
        image, inside = batch.image[batch.unlabelled], batch.inside[batch.unlabelled]
        partner = torch.arange(len(image), device=image.device) % batch.labelled
        styled = swap_low_frequencies(
            image, batch.image[partner], self.params.frequencies
        )
        share = beta(0.1, len(image)).to(image.device).view(-1, 1, 1, 1, 1)
        view = torch.where(inside, torch.lerp(styled, image, share), image)
        first, second = (
            segmentation(forward(student, view)) for student in nets.students.values()
        )
        crossed = cross_labels(soft_dice, first, second, inside[:, 0])
        weight = self.params.cross_weight * t.ramp(1.0)
        return {**terms, "cross_labels": weight * crossed}
